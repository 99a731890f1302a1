package rest

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	gen "github.com/emet-node/emet/api/gen/market"
	"github.com/emet-node/emet/api/rest/dto"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/deal"
	"github.com/emet-node/emet/domain/market/negotiation"
	"github.com/emet-node/emet/projections"
)

// CreateAgreement makes an agreement of the provider's draft.
func (m *marketAPI) CreateAgreement(c echo.Context) error {
	ctx := c.Request().Context()
	var in gen.AgreementProposal
	if err := readJSON(c, &in); err != nil {
		return err
	}
	if in.ProposalId == "" || in.ValidTo.IsZero() {
		return badBody(c, "Json deserialize error: proposalId and validTo are needed")
	}
	side, proposal, err := market.ParseProposalID(in.ProposalId)
	if err != nil {
		return err
	}
	place, found, err := m.Views.Proposal(ctx, identity.Requestor, proposal)
	if err != nil {
		return err
	}
	if !found || side != identity.Requestor || place.Owner != keyOf(ctx).Identity {
		return problem(http.StatusBadRequest, "Proposal [%s] not found.", in.ProposalId)
	}
	id, err := m.promote(c, place.Negotiation, proposal, in.ValidTo.Time)
	if err != nil {
		return restate(err, statusRow{market.ErrAlreadyPromoted, http.StatusConflict}, statusRow{market.ErrExpired, http.StatusBadRequest},
			statusRow{market.ErrAlreadyCountered, http.StatusBadRequest}, statusRow{market.ErrNotFound, http.StatusBadRequest})
	}
	return answer(c, http.StatusOK, id)
}

// promote marks the draft and creates the agreement in one append.
func (m *marketAPI) promote(c echo.Context, thread, proposal string, validTo time.Time) (string, error) {
	ctx := c.Request().Context()
	now, caller := time.Now().UTC(), callerOf(ctx)
	n, _, err := m.Negotiations.Load(ctx, thread)
	if err != nil {
		return "", err
	}
	id := market.PairHash(n.OfferID, n.DemandID, now)
	_, err = m.Log.Atomically(ctx, metaOf(c, id, ""), func(t *es.Tx) error {
		n, err = m.Negotiations.In(t, thread, negotiation.Promote{AgreementID: id, At: now, By: caller, ProposalID: proposal})
		if err != nil {
			return err
		}
		if p, _ := n.Find(proposal); p.Agreement != id { // the same request again
			return nil
		}
		terms, err := deal.Terms(n, proposal)
		if err != nil {
			return err
		}
		terms.Created, terms.ValidTo = now, validTo
		_, err = m.Agreements.In(t, agreement.StreamID(identity.Requestor, id), agreement.Create{AgreementID: id, By: caller, Terms: terms})
		return err
	})
	if err != nil {
		return "", err
	}
	p, _ := n.Find(proposal)
	return p.Agreement, nil
}

// find loads the caller's agreement that a path names. side "" takes the side
// that the caller plays, and the requestor's if it plays both.
func (m *marketAPI) find(c echo.Context, side identity.Side) (agreement.State, error) {
	id, err := market.ParseAgreementID(c.Param("agreementId"))
	if err != nil {
		return agreement.State{}, err
	}
	ctx := c.Request().Context()
	for _, s := range []identity.Side{identity.Requestor, identity.Provider} {
		if side != "" && s != side {
			continue
		}
		a, _, err := m.Agreements.Load(ctx, agreement.StreamID(s, id))
		if err != nil {
			return a, err
		}
		if a.Exists() && a.Owner() == keyOf(ctx).Identity {
			return a, nil
		}
	}
	return agreement.State{}, market.AgreementNotFound(id)
}

func streamOf(a agreement.State) string { return agreement.StreamID(a.Side, a.AgreementID) }

// GetAgreement shows an agreement.
func (m *marketAPI) GetAgreement(c echo.Context) error {
	a, err := m.find(c, "")
	if err != nil {
		return err
	}
	return ok(c, agreementOf(a, m.now()))
}

// ListAgreements lists the caller's agreements.
func (m *marketAPI) ListAgreements(c echo.Context) error {
	ctx := c.Request().Context()
	q := queryOf(c)
	f := projections.AgreementFilter{
		Owner: keyOf(ctx).Identity, State: q.text("state"), Session: q.text("appSessionId"), After: q.date("afterDate"), Before: q.date("beforeDate"),
	}
	if f.State != "" && !gen.AgreementState(f.State).Valid() {
		q.fail("state", "unknown variant `"+f.State+"`")
	}
	if q.err != nil {
		return q.err
	}
	rows, err := m.Views.Agreements(ctx, f)
	if err != nil {
		return err
	}
	out := make([]gen.AgreementListEntry, len(rows))
	for i, r := range rows {
		role := gen.AgreementListEntryRoleRequestor
		if r.Side == identity.Provider {
			role = gen.AgreementListEntryRoleProvider
		}
		out[i] = gen.AgreementListEntry{Id: r.ID, Timestamp: dto.At(r.Created), ApprovedDate: dto.AtOrNull(r.Approved), Role: role}
	}
	return list(c, out)
}

// ConfirmAgreement sends the agreement to the provider and waits until it is
// there.
func (m *marketAPI) ConfirmAgreement(c echo.Context) error {
	q := queryOf(c)
	session := q.text("appSessionId")
	if q.err != nil {
		return q.err
	}
	a, err := m.find(c, identity.Requestor)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	cmd := agreement.Confirm{At: time.Now().UTC(), By: callerOf(ctx), Session: session}
	if _, err := m.Agreements.Do(ctx, streamOf(a), cmd, metaOf(c, a.AgreementID, session)); err != nil {
		return restate(err, statusRow{market.ErrState, http.StatusGone})
	}
	ctx, cancel := context.WithTimeout(ctx, peerPatience)
	defer cancel()
	a, err = m.Agreements.Await(ctx, streamOf(a), func(a agreement.State) bool { return !a.Confirming })
	switch {
	case err != nil:
		return unanswered(c, err)
	case a.Over():
		return problem(http.StatusGone, "%s", a.Phase)
	case a.Phase == agreement.PhaseProposal:
		return problem(http.StatusInternalServerError, "Agreement [%s] could not be delivered to the provider: %s", a.AgreementID, a.Failure.Text)
	}
	return nothing(c)
}

// WaitForApproval waits for the provider's word.
func (m *marketAPI) WaitForApproval(c echo.Context) error {
	q := queryOf(c)
	wait := q.wait("timeout", defaultWait)
	if q.err != nil {
		return q.err
	}
	a, err := m.find(c, identity.Requestor)
	if err != nil {
		return err
	}
	if !decided(a) && wait > 0 {
		ctx, cancel := context.WithTimeout(c.Request().Context(), wait)
		defer cancel()
		last, err := m.Agreements.Await(ctx, streamOf(a), decided)
		switch {
		case err == nil:
			a = last
		case c.Request().Context().Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return err
		}
	}
	over, err := verdict(a)
	switch {
	case !over:
		return problem(http.StatusRequestTimeout, "Timeout while waiting for Agreement [%s] approval.", a.AgreementID)
	case err != nil:
		return err
	}
	return nothing(c)
}

func decided(a agreement.State) bool {
	over, _ := verdict(a)
	return over
}

// verdict says whether waiting is over, and with which answer.
func verdict(a agreement.State) (bool, error) {
	switch shown(a, time.Now()) {
	case string(agreement.PhaseApproved):
		return true, nil
	case string(agreement.PhaseRejected), string(agreement.PhaseCancelled):
		return true, problem(http.StatusGone, "%s", a.Phase)
	case string(agreement.PhaseExpired):
		return true, problem(http.StatusGone, "Agreement [%s] expired.", a.AgreementID)
	case string(agreement.PhaseProposal):
		if !a.Confirming {
			return true, problem(http.StatusBadRequest, "Agreement [%s] should be confirmed, before waiting for approval.", a.AgreementID)
		}
	case string(agreement.PhaseTerminated):
		return true, problem(http.StatusBadRequest, "Agreement [%s] was terminated.", a.AgreementID)
	}
	return false, nil
}

// ApproveAgreement tells the requestor that we approve, and waits for its
// commit.
func (m *marketAPI) ApproveAgreement(c echo.Context) error {
	q := queryOf(c)
	session, wait := q.text("appSessionId"), q.wait("timeout", defaultWait)
	if q.err != nil {
		return q.err
	}
	a, err := m.find(c, identity.Provider)
	if err != nil {
		return err
	}
	ctx, now := c.Request().Context(), time.Now().UTC()
	cmd := agreement.Approve{At: now, By: callerOf(ctx), Deadline: now.Add(wait), Session: session}
	if _, err := m.Agreements.Do(ctx, streamOf(a), cmd, metaOf(c, a.AgreementID, session)); err != nil {
		return restate(err, statusRow{market.ErrState, http.StatusGone})
	}
	ctx, cancel := context.WithTimeout(ctx, wait+time.Second)
	defer cancel()
	a, err = m.Agreements.Await(ctx, streamOf(a), func(a agreement.State) bool { return a.Phase != agreement.PhaseApproving })
	switch {
	case err != nil:
		return unanswered(c, err)
	case a.Phase == agreement.PhaseApproved, a.Phase == agreement.PhaseTerminated:
		return nothing(c)
	case a.Over():
		return problem(http.StatusGone, "%s", a.Phase)
	}
	return problem(http.StatusInternalServerError, "Agreement [%s] was not approved: %s", a.AgreementID, a.Failure.Text)
}

// CancelAgreement takes the requestor's proposal back.
func (m *marketAPI) CancelAgreement(c echo.Context) error {
	return m.end(c, identity.Requestor, agreement.PhaseCancelled, func(by identity.Caller, reason string) agreement.Command {
		return agreement.Cancel{By: by, Reason: reason}
	})
}

// RejectAgreement is the provider's no.
func (m *marketAPI) RejectAgreement(c echo.Context) error {
	return m.end(c, identity.Provider, agreement.PhaseRejected, func(by identity.Caller, reason string) agreement.Command {
		return agreement.Reject{By: by, Reason: reason}
	})
}

// TerminateAgreement ends a running agreement, from either side.
func (m *marketAPI) TerminateAgreement(c echo.Context) error {
	return m.end(c, "", agreement.PhaseTerminated, func(by identity.Caller, reason string) agreement.Command {
		return agreement.Terminate{By: by, Reason: reason}
	})
}

// end records the end, which is final at once, and waits a little for the other
// side to know.
func (m *marketAPI) end(c echo.Context, side identity.Side, phase agreement.Phase, command func(identity.Caller, string) agreement.Command) error {
	reason, err := readReason(c)
	if err != nil {
		return err
	}
	a, err := m.find(c, side)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	if _, err := m.Agreements.Do(ctx, streamOf(a), command(callerOf(ctx), reason), metaOf(c, a.AgreementID, "")); err != nil {
		return err
	}
	m.patiently(ctx, func(ctx context.Context) error {
		_, err := m.Agreements.Await(ctx, streamOf(a), func(a agreement.State) bool { return a.Notice(phase) != agreement.NoticeOpen })
		return err
	})
	return empty(c)
}

// agreementNews are the facts that clients hear of as agreement events.
var agreementNews = es.Filter{Types: []string{"agreement.approved.v1", "agreement.rejected.v1", "agreement.cancelled.v1", "agreement.terminated.v1"}}

// farPast is where cursors begin that were not given.
var farPast = time.Date(2016, 11, 11, 15, 12, 0, 0, time.UTC)

// CollectAgreementEvents waits for events later than a date.
func (m *marketAPI) CollectAgreementEvents(c echo.Context) error {
	ctx := c.Request().Context()
	q := queryOf(c)
	wait, most := q.wait("timeout", defaultWait), int(q.number("maxEvents", defaultMaxEvents))
	f := projections.AgreementEventFilter{Owner: keyOf(ctx).Identity, Session: q.text("appSessionId"), After: q.date("afterTimestamp"), Limit: most}
	if q.err != nil {
		return q.err
	}
	if err := market.CheckMaxEvents(most); err != nil {
		return err
	}
	if f.After.IsZero() {
		f.After = farPast
	}
	if f.Session != "" {
		// Clients with a session lose all but the last of several that come at once.
		f.Limit = 1
	}
	rows, err := poll(ctx, logNews{m.Log}, agreementNews, wait, func(ctx context.Context) ([]projections.AgreementEventRow, bool, error) {
		rows, err := m.Views.AgreementEvents(ctx, f)
		return rows, len(rows) > 0, err
	})
	if err != nil {
		return err
	}
	out := make([]gen.AgreementEvent, len(rows))
	for i, r := range rows {
		out[i] = agreementEventOf(r)
	}
	return list(c, out)
}

func agreementEventOf(r projections.AgreementEventRow) gen.AgreementEvent {
	e := gen.AgreementEvent{EventDate: dto.At(r.Time), AgreementId: r.AgreementID, EventType: gen.AgreementEventEventType(r.Type)}
	if e.EventType != gen.AgreementApprovedEvent {
		e.Reason = reasonObject(r.Reason)
	}
	if e.EventType == gen.AgreementTerminatedEvent {
		e.Terminator, e.Signature = gen.AgreementEventTerminatorRequestor, &r.Signature
		if r.Terminator == identity.Provider {
			e.Terminator = gen.AgreementEventTerminatorProvider
		}
	}
	return e
}

// GetTerminationReason tells who ended an agreement and why.
func (m *marketAPI) GetTerminationReason(c echo.Context) error {
	a, err := m.find(c, "")
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	rows, err := m.Views.AgreementEvents(ctx, projections.AgreementEventFilter{
		Owner: keyOf(ctx).Identity, Side: a.Side, After: farPast, AgreementID: a.AgreementID,
	})
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.Type == string(gen.AgreementTerminatedEvent) {
			return ok(c, agreementEventOf(r))
		}
	}
	return problem(http.StatusBadRequest, "Agreement [%s] not terminated yet.", a.AgreementID)
}

// PostTerminationReason is the same under the method that older documents name.
func (m *marketAPI) PostTerminationReason(c echo.Context) error { return m.GetTerminationReason(c) }
