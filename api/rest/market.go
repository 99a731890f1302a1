package rest

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	gen "github.com/emet-node/emet/api/gen/market"
	"github.com/emet-node/emet/api/rest/dto"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/demand"
	"github.com/emet-node/emet/domain/market/inbox"
	"github.com/emet-node/emet/domain/market/negotiation"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/peer"
	"github.com/emet-node/emet/projections"
)

// Market is what the market's handlers ask.
type Market struct {
	Demands      Aggregate[demand.Command, demand.State]
	Offers       Aggregate[offer.Command, offer.State]
	Inboxes      Aggregate[inbox.Command, inbox.State]
	Negotiations Aggregate[negotiation.Command, negotiation.State]
	Agreements   Aggregate[agreement.Command, agreement.State]
	Views        MarketViews
	Book         Book
	// TTL is the life of demands and offers, 0 = [market.DefaultTTL].
	TTL time.Duration
}

// ttl is the life of what is published.
func (m Market) ttl() time.Duration {
	if m.TTL <= 0 {
		return market.DefaultTTL
	}
	return m.TTL
}

// MarketViews answer what is not in one stream; *projections.Market does.
type MarketViews interface {
	Subscriptions(ctx context.Context, kind projections.SubscriptionKind, owner identity.NodeID) ([]projections.SubscriptionRow, error)
	SubscriptionBegun(ctx context.Context, owner identity.NodeID, prefix string) (projections.SubscriptionRow, bool, error)
	Proposal(ctx context.Context, side identity.Side, proposalID string) (projections.ProposalPlace, bool, error)
	Negotiations(ctx context.Context, subscription string) ([]projections.NegotiationRow, error)
	Agreements(ctx context.Context, f projections.AgreementFilter) ([]projections.AgreementRow, error)
	AgreementEvents(ctx context.Context, f projections.AgreementEventFilter) ([]projections.AgreementEventRow, error)
}

// Book is the index of live offers.
type Book interface {
	// Open follows the offers that match a demand of owner.
	Open(properties, constraints string, owner identity.NodeID) Cursor
	// Scan follows all offers over which the constraints are true.
	Scan(constraints string) (Cursor, error)
}

// Cursor yields each offer once; *offerbook.Cursor is one.
type Cursor interface {
	Take(n int, skip func(offerID string) bool) []peer.Offer
	// Return makes offers available again.
	Return(offerIDs ...string)
	// Wake yields a value when offers came.
	Wake() <-chan struct{}
	Close()
}

const (
	defaultWait      = 5 * time.Second
	defaultMaxEvents = 20
	peerPatience     = 60 * time.Second // for what only the peer can decide
	noticePatience   = 5 * time.Second  // for telling the peer what we decided
)

// marketAPI answers market-api.
type marketAPI struct {
	*server
	Market
	mail  *postOffice
	scans *scans
}

func newMarketAPI(s *server) *marketAPI {
	return &marketAPI{server: s, Market: s.Deps.Market, mail: newPostOffice(s.Deps.Market.Book), scans: newScans(s.Deps.Market.Book)}
}

var marketFamily = family{text: asItIs, jsonBodies: true, status: func(err error) int {
	var state *market.StateError
	if errors.As(err, &state) {
		if state.From == string(agreement.PhaseProposal) {
			return http.StatusConflict
		}
		return http.StatusGone
	}
	return statusIn(err, marketStatuses)
}}

// statusRow is a line of a table of errors and statuses.
type statusRow struct {
	err    error
	status int
}

func statusIn(err error, table []statusRow) int {
	for _, row := range table {
		if errors.Is(err, row.err) {
			return row.status
		}
	}
	return 0
}

var marketStatuses = []statusRow{
	{identity.ErrForbidden, http.StatusForbidden},
	{market.ErrMalformedID, http.StatusBadRequest},
	{market.ErrInvalidID, http.StatusBadRequest},
	{market.ErrBadText, http.StatusBadRequest},
	{market.ErrMaxEvents, http.StatusBadRequest},
	{market.ErrNotMatching, http.StatusBadRequest},
	{market.ErrOwnProposal, http.StatusBadRequest},
	{market.ErrNoNegotiations, http.StatusBadRequest},
	{market.ErrRejected, http.StatusBadRequest},
	{market.ErrTooManyRounds, http.StatusBadRequest},
	{market.ErrNotTerminated, http.StatusBadRequest},
	{market.ErrNotFound, http.StatusNotFound},
	{market.ErrNoSubscription, http.StatusNotFound},
	{market.ErrUnsubscribed, http.StatusGone},
	{market.ErrExpired, http.StatusGone},
	{market.ErrAlreadyCountered, http.StatusGone},
	{market.ErrAlreadyPromoted, http.StatusConflict},
	{market.ErrExists, http.StatusConflict},
	{market.ErrBusy, http.StatusServiceUnavailable},
}

// restate gives some errors another status than the table does, since routes
// of the reference disagree about the same error.
func restate(err error, rows ...statusRow) error {
	if err == nil {
		return nil
	}
	if s := statusIn(err, rows); s != 0 {
		return problem(s, "%s", err.Error())
	}
	return err
}

// proposalOf is a proposal as REST shows it at a moment.
func proposalOf(n negotiation.State, p negotiation.Step, now time.Time) gen.Proposal {
	out := gen.Proposal{
		Properties: gen.Properties(p.Properties), Constraints: p.Constraints, ProposalId: market.ProposalID(n.Side, p.ProposalID),
		IssuerId: string(n.IssuerID(p)), State: gen.ProposalState(p.Phase), Timestamp: dto.At(p.Created),
	}
	if p.Prev != "" {
		out.PrevProposalId = market.ProposalID(n.Side, p.Prev)
	}
	if (p.Phase == negotiation.Initial || p.Phase == negotiation.Draft) && !p.Expires.After(now) {
		out.State = gen.ProposalStateExpired
	}
	return out
}

// agreementOf is an agreement as REST shows it at a moment.
func agreementOf(a agreement.State, now time.Time) gen.Agreement {
	t, at := a.Terms, dto.At(a.Terms.Created)
	out := gen.Agreement{
		AgreementId: a.AgreementID, ValidTo: dto.At(t.ValidTo), State: gen.AgreementState(shown(a, now)), Timestamp: at, AppSessionId: a.Session,
		Demand: gen.Demand{
			Properties: gen.Properties(t.DemandProperties), Constraints: t.DemandConstraints,
			DemandId: t.DemandID, RequestorId: string(t.Requestor), Timestamp: at,
		},
		Offer: gen.Offer{
			Properties: gen.Properties(t.OfferProperties), Constraints: t.OfferConstraints,
			OfferId: t.OfferID, ProviderId: string(t.Provider), Timestamp: at,
		},
		ProposedSignature: a.ProposedSignature, ApprovedSignature: a.ApprovedSignature, CommittedSignature: a.CommittedSignature,
	}
	if !a.ApprovedAt.IsZero() {
		out.ApprovedDate = dto.At(a.ApprovedAt)
	}
	return out
}

// shown is the state of an agreement. One whose time is over is expired, also
// in the moment before that is recorded.
func shown(a agreement.State, now time.Time) string {
	switch a.Phase {
	case agreement.PhaseProposal, agreement.PhasePending, agreement.PhaseApproving:
		if !a.Committing && !a.Terms.ValidTo.After(now) {
			return string(agreement.PhaseExpired)
		}
	}
	return a.Shown()
}

// readTerms reads the body of a subscription or counter. Properties come back
// flat.
func readTerms(c echo.Context, flatten func([]byte) (string, error)) (properties, constraints string, err error) {
	var in struct {
		Properties  *jsonText `json:"properties"`
		Constraints *string   `json:"constraints"`
	}
	if err := readJSON(c, &in); err != nil {
		return "", "", err
	}
	switch {
	case in.Properties == nil:
		return "", "", badBody(c, "Json deserialize error: missing field `properties`")
	case in.Constraints == nil:
		return "", "", badBody(c, "Json deserialize error: missing field `constraints`")
	}
	flat, err := flatten(*in.Properties)
	if err != nil {
		return "", "", problem(http.StatusBadRequest, "Properties: %v", err)
	}
	return flat, *in.Constraints, nil
}

// jsonText is JSON kept as it came; unlike json.RawMessage a pointer to it is
// not nil for null.
type jsonText []byte

// UnmarshalJSON keeps the text.
func (j *jsonText) UnmarshalJSON(b []byte) error {
	*j = append((*j)[:0], b...)
	return nil
}
