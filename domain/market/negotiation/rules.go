package negotiation

import (
	"crypto/sha3"
	"encoding/hex"
	"strings"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/props"
)

// Rules of a negotiation.
var Rules = es.Decider[Command, Event, State]{Decide: decide, Evolve: evolve}

// MatchID is the id of the requestor's thread about a pair. After is the
// agreement whose end made the pair free again, "" the first time: so a match
// opens one thread however often it is handed out.
func MatchID(demandID, offerID, after string) string {
	return threadID("match", demandID, offerID, after)
}

// ThreadID is the id of the provider's thread that a requestor's first counter
// opens: the same message opens one thread.
func ThreadID(requestor identity.NodeID, proposalID string) string {
	return threadID("thread", string(requestor), proposalID)
}

func threadID(parts ...string) string {
	h := sha3.Sum256([]byte("emet/negotiation\x00" + strings.Join(parts, "\x00")))
	return hex.EncodeToString(h[:16])
}

func decide(s State, c Command) ([]Event, error) {
	switch c := c.(type) {
	case Open:
		return open(s, c)
	case ReceiveOpening:
		return receiveOpening(s, c)
	}
	if !s.Exists() {
		return nil, market.Errorf(market.ErrNotFound, "Negotiation not found.")
	}
	switch c := c.(type) {
	case Counter:
		return counter(s, c)
	case FinishCounter:
		return finishCounter(s, c), nil
	case ReceiveCounter:
		return receiveCounter(s, c)
	case Reject:
		return reject(s, c)
	case FinishRejection:
		return finishRejection(s, c), nil
	case ReceiveRejection:
		return receiveRejection(s, c)
	case RecordDecision:
		return recordDecision(s, c)
	case Promote:
		return promote(s, c)
	case Close:
		return closeThread(s, c)
	}
	return nil, es.ErrWrongCommand
}

func open(s State, c Open) ([]Event, error) {
	if err := c.By.MayAct(c.Requestor, identity.Requestor); err != nil {
		return nil, err
	}
	if s.Exists() {
		return nil, nil
	}
	if err := checkID(c.OfferID, c.DemandID, c.Initial); err != nil {
		return nil, err
	}
	return []Event{Opened{
		After: c.After, DemandConstraints: c.DemandConstraints, DemandExpires: c.DemandExpires.UTC(), DemandID: c.DemandID,
		DemandProperties: c.DemandProperties, Initial: c.Initial.utc(), NegotiationID: c.NegotiationID, OfferID: c.OfferID,
		Provider: c.Provider, Raw: market.KeepRaw(c.Raw), Requestor: c.Requestor, Side: identity.Requestor,
	}}, nil
}

func receiveOpening(s State, c ReceiveOpening) ([]Event, error) {
	if s.Exists() {
		return receiveCounter(s, ReceiveCounter{At: c.At, By: c.By, Prev: s.Steps[0].ProposalID, Proposal: c.Proposal, Raw: c.Raw})
	}
	opened := Opened{
		DemandExpires: c.DemandExpires.UTC(), DemandID: c.DemandID, Initial: c.Initial.utc(), NegotiationID: c.NegotiationID,
		OfferID: c.OfferID, Provider: c.Provider, Requestor: c.By.Node, Side: identity.Provider,
	}
	if _, err := market.ParseSubscriptionID(c.DemandID); err != nil {
		return nil, err
	}
	if err := checkID(c.OfferID, c.DemandID, c.Initial); err != nil {
		return nil, err
	}
	counters, err := receiveCounter(evolve(State{}, opened), ReceiveCounter{
		At: c.At, By: c.By, Prev: c.Initial.ProposalID, Proposal: c.Proposal, Raw: c.Raw,
	})
	if err != nil {
		return nil, err
	}
	return append([]Event{opened}, counters...), nil
}

func (p Proposal) utc() Proposal {
	p.Created, p.Expires = p.Created.UTC(), p.Expires.UTC()
	return p
}

func checkID(offerID, demandID string, p Proposal) error {
	if want := market.PairHash(offerID, demandID, p.Created); p.ProposalID != want {
		return market.Errorf(market.ErrInvalidID, "Proposal id [%s] has unexpected hash [%s].", p.ProposalID, want)
	}
	return nil
}

// answerable is what both kinds of counter have in common: prev can be
// answered, at that time, by that text.
func answerable(s State, prev Step, at time.Time, properties, constraints string) error {
	switch {
	case s.Closed != "":
		return market.Unsubscribed(s.Subscription())
	case prev.Counter != "":
		return market.Errorf(market.ErrAlreadyCountered, "Proposal [%s] already has counter proposal. Can't counter for the second time.", s.shown(prev))
	case !prev.Expires.After(at):
		return market.SubscriptionExpired(s.Subscription())
	case len(s.Steps) >= market.MaxRounds:
		return market.Errorf(market.ErrTooManyRounds, "Negotiation has %d proposals already, which is the most there may be.", len(s.Steps))
	}
	if err := market.CheckTexts(properties, constraints); err != nil {
		return err
	}
	return matches(properties, constraints, prev, s.shown(prev))
}

func matches(properties, constraints string, prev Step, shown string) error {
	err := props.CheckCounter(properties, constraints, prev.Properties, prev.Constraints, shown)
	if err != nil {
		return market.Errorf(market.ErrNotMatching, "%s", err)
	}
	return nil
}

func (s State) shown(p Step) string { return market.ProposalID(s.Side, p.ProposalID) }

func (s State) notFound(proposalID string) error {
	return market.ProposalNotFound(market.ProposalID(s.Side, proposalID), s.Subscription())
}

func (s State) own(p Step) error {
	return market.Errorf(market.ErrOwnProposal, "Can't react to own Proposal [%s].", s.shown(p))
}

func counter(s State, c Counter) ([]Event, error) {
	if err := c.By.MayAct(s.Owner(), s.Side); err != nil {
		return nil, err
	}
	prev, ok := s.Find(c.Prev)
	if !ok {
		return nil, s.notFound(c.Prev)
	}
	if prev.Issuer == s.Side {
		return nil, s.own(prev)
	}
	if err := answerable(s, prev, c.At, c.Properties, c.Constraints); err != nil {
		return nil, err
	}
	p := Proposal{Constraints: c.Constraints, Created: c.At, Expires: prev.Expires, Properties: c.Properties, ProposalID: c.ProposalID}
	if err := s.fresh(p); err != nil {
		return nil, err
	}
	return []Event{CounterRequested{NegotiationID: s.NegotiationID, Prev: c.Prev, Proposal: p.utc()}}, nil
}

// fresh says whether the proposal has the id that it must have, and no other
// has it: ids leave out the seconds of their time.
func (s State) fresh(p Proposal) error {
	if err := checkID(s.OfferID, s.DemandID, p); err != nil {
		return err
	}
	if s.index(p.ProposalID) >= 0 {
		return market.Errorf(market.ErrInvalidID, "Proposal id [%s] is taken by an earlier proposal.", p.ProposalID)
	}
	return nil
}

// finishCounter: an answer of the peer to our counter shows that it arrived,
// whatever became of the reply.
func finishCounter(s State, c FinishCounter) []Event {
	p, ok := s.Find(c.ProposalID)
	if !ok || p.Sending != Pending {
		return nil
	}
	if !c.Failure.Failed() || p.Counter != "" || p.Phase != Draft {
		return []Event{CounterDelivered{NegotiationID: s.NegotiationID, ProposalID: c.ProposalID}}
	}
	return []Event{CounterFailed{Failure: c.Failure, NegotiationID: s.NegotiationID, ProposalID: c.ProposalID}}
}

func receiveCounter(s State, c ReceiveCounter) ([]Event, error) {
	if err := c.By.IsPeer(s.Peer()); err != nil {
		return nil, err
	}
	if known, ok := s.Find(c.Proposal.ProposalID); ok && known.Issuer != s.Side && known.Prev == c.Prev && sameText(known.Proposal, c.Proposal) {
		return nil, nil
	}
	prev, ok := s.Find(c.Prev)
	if !ok {
		return nil, s.notFound(c.Prev)
	}
	if prev.Issuer != s.Side {
		return nil, s.own(prev)
	}
	if prev.Sending == Failed && s.superseded(prev) {
		return nil, s.notFound(c.Prev)
	}
	if err := answerable(s, prev, c.At, c.Proposal.Properties, c.Proposal.Constraints); err != nil {
		return nil, err
	}
	if err := s.fresh(c.Proposal); err != nil {
		return nil, err
	}
	p := c.Proposal.utc()
	if p.Expires.After(prev.Expires) {
		p.Expires = prev.Expires // nobody prolongs what a subscription bounds
	}
	return []Event{CounterReceived{NegotiationID: s.NegotiationID, Prev: c.Prev, Proposal: p, Raw: market.KeepRaw(c.Raw)}}, nil
}

func sameText(a, b Proposal) bool {
	return a.Properties == b.Properties && a.Constraints == b.Constraints && a.Created.Equal(b.Created)
}

// superseded says whether the proposal that a lost counter answered was
// countered again since.
func (s State) superseded(lost Step) bool {
	prev, ok := s.Find(lost.Prev)
	return ok && prev.Counter != ""
}

func reject(s State, c Reject) ([]Event, error) {
	if err := c.By.MayAct(s.Owner(), s.Side); err != nil {
		return nil, err
	}
	p, ok := s.Find(c.ProposalID)
	if !ok {
		return nil, s.notFound(c.ProposalID)
	}
	reason, err := market.ParseReason([]byte(c.Reason))
	switch {
	case p.Issuer == s.Side:
		return nil, s.own(p)
	case p.Phase == Rejected:
		return nil, nil
	case s.Closed != "":
		return nil, market.Unsubscribed(s.Subscription())
	case p.Phase == Accepted:
		return nil, &market.StateError{What: "Proposal", From: string(Accepted), To: string(Rejected)}
	case p.Counter != "":
		return nil, market.Errorf(market.ErrAlreadyCountered, "Proposal [%s] already has counter proposal. Can't reject it any more.", s.shown(p))
	case !p.Expires.After(c.At):
		return nil, market.SubscriptionExpired(s.Subscription())
	case err != nil:
		return nil, err
	}
	return []Event{RejectionRequested{Initial: p.Prev == "", NegotiationID: s.NegotiationID, ProposalID: c.ProposalID, Reason: reason}}, nil
}

func finishRejection(s State, c FinishRejection) []Event {
	p, ok := s.Find(c.ProposalID)
	if !ok || p.Untold == 0 {
		return nil
	}
	if c.Failure.Failed() {
		return []Event{RejectionAbandoned{Failure: c.Failure, NegotiationID: s.NegotiationID, ProposalID: c.ProposalID}}
	}
	return []Event{RejectionDelivered{NegotiationID: s.NegotiationID, ProposalID: c.ProposalID}}
}

func receiveRejection(s State, c ReceiveRejection) ([]Event, error) {
	if err := c.By.IsPeer(s.Peer()); err != nil {
		return nil, err
	}
	p, ok := s.Find(c.ProposalID)
	switch {
	case !ok:
		return nil, s.notFound(c.ProposalID)
	case p.Issuer != s.Side:
		return nil, s.own(p)
	case p.Phase == Rejected:
		return nil, nil
	case p.Phase == Accepted:
		return nil, &market.StateError{What: "Proposal", From: string(Accepted), To: string(Rejected)}
	}
	return []Event{RejectionReceived{
		NegotiationID: s.NegotiationID, ProposalID: c.ProposalID,
		Raw: market.KeepRaw(c.Raw), Reason: market.ForeignReason(c.Reason),
	}}, nil
}

func recordDecision(s State, c RecordDecision) ([]Event, error) {
	if err := c.By.MayAct(s.Owner(), s.Side); err != nil {
		return nil, err
	}
	if s.index(c.ProposalID) < 0 {
		return nil, s.notFound(c.ProposalID)
	}
	return []Event{Decided{
		Components: c.Components, NegotiationID: s.NegotiationID, Outcome: c.Outcome,
		Postponed: c.Postponed, ProposalID: c.ProposalID,
	}}, nil
}

// promote: the client of the requestor asks for it, or the requestor itself
// asks the provider.
func promote(s State, c Promote) ([]Event, error) {
	if err := s.mayPromote(c.By); err != nil {
		return nil, err
	}
	p, ok := s.Find(c.ProposalID)
	if !ok {
		return nil, s.notFound(c.ProposalID)
	}
	if p.Agreement == c.AgreementID && p.Agreement != "" {
		return nil, nil
	}
	if err := promotable(s, p, c.At); err != nil {
		return nil, err
	}
	return []Event{Promoted{AgreementID: c.AgreementID, NegotiationID: s.NegotiationID, ProposalID: c.ProposalID}}, nil
}

func (s State) mayPromote(by identity.Caller) error {
	if s.Side == identity.Provider {
		return by.IsPeer(s.Peer())
	}
	return by.MayAct(s.Owner(), s.Side)
}

func promotable(s State, p Step, at time.Time) error {
	shown := s.shown(p)
	switch {
	case p.Prev == "":
		return market.Errorf(market.ErrNoNegotiations, "Proposal [%s] was not negotiated: it is the initial one.", shown)
	case p.Issuer != identity.Provider:
		return market.Errorf(market.ErrOwnProposal, "Can't create Agreement for own Proposal [%s].", shown)
	case p.Agreement != "":
		return market.Errorf(market.ErrAlreadyPromoted, "Agreement for Proposal [%s] already exists.", shown)
	case p.Phase == Rejected:
		return market.Errorf(market.ErrRejected, "Proposal [%s] was rejected.", shown)
	case p.Counter != "":
		return market.Errorf(market.ErrAlreadyCountered, "Proposal [%s] was already countered. Can't create Agreement.", shown)
	case p.Sending == Failed && s.superseded(p):
		return s.notFound(p.ProposalID)
	case !p.Expires.After(at):
		return market.SubscriptionExpired(s.Subscription())
	}
	return nil
}

func closeThread(s State, c Close) ([]Event, error) {
	if err := c.By.MayAct(s.Owner(), s.Side); err != nil {
		return nil, err
	}
	if s.Closed != "" {
		return nil, nil
	}
	why := c.Why
	if why == "" {
		why = "closed"
	}
	return []Event{Closed{NegotiationID: s.NegotiationID, Why: why}}, nil
}
