package agreement

import (
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/peer"
)

// Rules of an agreement.
var Rules = es.Decider[Command, Event, State]{Decide: decide, Evolve: evolve}

func decide(s State, c Command) ([]Event, error) {
	switch c := c.(type) {
	case Create:
		return create(s, c)
	case Receive:
		return receive(s, c)
	}
	if !s.Exists() {
		return nil, market.Errorf(market.ErrNotFound, "Agreement not found.")
	}
	switch c := c.(type) {
	case Reject, ReceiveRejection, Cancel, ReceiveCancellation, Terminate, ReceiveTermination, FinishNotice, Expire:
		return decideEnd(s, c)
	}
	if s.Side == identity.Requestor {
		return decideRequestor(s, c)
	}
	return decideProvider(s, c)
}

func decideRequestor(s State, c Command) ([]Event, error) {
	switch c := c.(type) {
	case Confirm:
		return confirm(s, c)
	case FinishConfirmation:
		return finishConfirmation(s, c), nil
	case ReceiveApproval:
		return receiveApproval(s, c)
	case RequestCommit:
		if s.Phase != PhaseApproving || s.Committing {
			return nil, nil
		}
		return []Event{CommitRequested{AgreementID: s.AgreementID, Side: s.Side, Signature: c.Signature}}, nil
	case FinishCommit:
		return finishCommit(s, c), nil
	}
	return nil, s.wrongSide()
}

func decideProvider(s State, c Command) ([]Event, error) {
	switch c := c.(type) {
	case Approve:
		return approve(s, c)
	case FinishApproval:
		return finishApproval(s, c), nil
	case TimeoutApproval:
		return timeoutApproval(s, c), nil
	case ReceiveCommit:
		return receiveCommit(s, c)
	}
	return nil, s.wrongSide()
}

// wrongSide: clients and peers who ask the other side's question look for an
// agreement that does not exist on this side.
func (s State) wrongSide() error { return market.AgreementNotFound(s.AgreementID) }

// cannot is the refusal of a transition.
func (s State) cannot(to Phase) error {
	return &market.StateError{What: "Agreement", From: string(s.Phase), To: string(to)}
}

func (s State) expired(at time.Time) bool { return !s.Terms.ValidTo.After(at) }

func (s State) expiredError() error {
	return market.Errorf(market.ErrExpired, "Agreement [%s] expired.", s.AgreementID)
}

func create(s State, c Create) ([]Event, error) {
	if err := c.By.MayAct(c.Terms.Requestor, identity.Requestor); err != nil {
		return nil, err
	}
	if s.Exists() {
		if s.Side == identity.Requestor && s.Terms.same(c.Terms) {
			return nil, nil
		}
		return nil, market.Errorf(market.ErrExists, "Agreement [%s] exists already.", c.AgreementID)
	}
	if err := checkTerms(c.AgreementID, c.Terms); err != nil {
		return nil, err
	}
	return []Event{Created{AgreementID: c.AgreementID, Side: identity.Requestor, Terms: c.Terms.utc()}}, nil
}

func receive(s State, c Receive) ([]Event, error) {
	if err := c.By.IsPeer(c.Terms.Requestor); err != nil {
		return nil, err
	}
	if s.Exists() {
		if s.Side == identity.Provider && s.Terms.same(c.Terms) {
			return nil, nil
		}
		return nil, market.Errorf(market.ErrInvalidID, "Agreement id [%s] is invalid.", c.AgreementID)
	}
	if err := checkTerms(c.AgreementID, c.Terms); err != nil {
		return nil, err
	}
	if !c.Terms.ValidTo.After(c.At) {
		return nil, market.Errorf(market.ErrExpired, "Agreement [%s] expired.", c.AgreementID)
	}
	return []Event{Received{
		AgreementID: c.AgreementID, Raw: market.KeepRaw(c.Raw), Side: identity.Provider, Signature: c.Signature, Terms: c.Terms.utc(),
	}}, nil
}

func checkTerms(id string, t Terms) error {
	if id != market.PairHash(t.OfferID, t.DemandID, t.Created) {
		return market.Errorf(market.ErrInvalidID, "Agreement id [%s] is invalid.", id)
	}
	return nil
}

func (t Terms) utc() Terms {
	t.Created, t.ValidTo = t.Created.UTC(), t.ValidTo.UTC()
	return t
}

func (t Terms) same(u Terms) bool {
	sameTimes := t.Created.Equal(u.Created) && t.ValidTo.Equal(u.ValidTo)
	u.Created, u.ValidTo = t.Created, t.ValidTo
	return sameTimes && t == u
}

func confirm(s State, c Confirm) ([]Event, error) {
	if err := c.By.MayAct(s.Owner(), s.Side); err != nil {
		return nil, err
	}
	if s.Phase != PhaseProposal || s.Confirming {
		return nil, s.cannot(PhasePending)
	}
	if s.expired(c.At) {
		return nil, s.expiredError()
	}
	return []Event{ConfirmationRequested{AgreementID: s.AgreementID, Session: c.Session, Side: s.Side, Signature: c.Signature}}, nil
}

// finishConfirmation: the provider's approval shows that it has the agreement,
// whatever became of the reply; an agreement that ended meanwhile was not
// confirmed.
func finishConfirmation(s State, c FinishConfirmation) []Event {
	if !s.Confirming {
		return nil
	}
	f := c.Failure
	switch s.Phase {
	case PhaseProposal:
	case PhaseCancelled, PhaseExpired:
		if !f.Failed() {
			f = s.superseded()
		}
	default:
		f = market.Failure{}
	}
	if f.Failed() {
		return []Event{ConfirmationFailed{AgreementID: s.AgreementID, Failure: f, Side: s.Side}}
	}
	return []Event{Confirmed{AgreementID: s.AgreementID, Side: s.Side, Signature: c.Signature}}
}

func (s State) superseded() market.Failure {
	return market.Failure{Code: market.Superseded, State: string(s.Phase), Text: "the agreement ended meanwhile"}
}

func receiveApproval(s State, c ReceiveApproval) ([]Event, error) {
	if err := c.By.IsPeer(s.Peer()); err != nil {
		return nil, err
	}
	switch {
	case s.Phase == PhaseApproving || s.Phase == PhaseApproved:
		return nil, nil
	case s.Phase != PhasePending && (s.Phase != PhaseProposal || !s.Confirming):
		return nil, s.cannot(PhaseApproving)
	case s.expired(c.At.Add(market.ApprovalMargin)):
		return nil, s.expiredError()
	}
	return []Event{ApprovalReceived{
		AgreementID: s.AgreementID, ApprovedAt: c.ApprovedAt.UTC(), Raw: market.KeepRaw(c.Raw), Side: s.Side, Signature: c.Signature,
	}}, nil
}

// finishCommit: a provider that refuses because it is past the commit has had it.
func finishCommit(s State, c FinishCommit) []Event {
	if !s.Committing {
		return nil
	}
	f := c.Failure
	if f.Code == string(peer.InvalidState) && (f.State == string(PhaseApproved) || f.State == string(PhaseTerminated)) {
		f = market.Failure{}
	}
	if s.Over() && !f.Failed() {
		f = s.superseded()
	}
	if f.Failed() {
		return []Event{CommitFailed{AgreementID: s.AgreementID, Failure: f, Side: s.Side}}
	}
	return []Event{Approved{AgreementID: s.AgreementID, Side: s.Side, Signature: c.Signature}}
}

func approve(s State, c Approve) ([]Event, error) {
	if err := c.By.MayAct(s.Owner(), s.Side); err != nil {
		return nil, err
	}
	if s.Phase != PhasePending || s.ApprovalOpen {
		return nil, s.cannot(PhaseApproving)
	}
	if s.expired(c.At) {
		return nil, s.expiredError()
	}
	return []Event{ApprovalRequested{
		AgreementID: s.AgreementID, ApprovedAt: c.At.UTC(), Deadline: c.Deadline.UTC(), Session: c.Session, Side: s.Side, Signature: c.Signature,
	}}, nil
}

// finishApproval: a commit shows that the approval arrived, whatever became of
// the reply.
func finishApproval(s State, c FinishApproval) []Event {
	if !s.ApprovalOpen {
		return nil
	}
	f := c.Failure
	switch s.Phase {
	case PhaseApproving:
	case PhaseApproved, PhaseTerminated:
		f = market.Failure{}
	default:
		if !f.Failed() {
			f = s.superseded()
		}
	}
	if f.Failed() {
		return []Event{ApprovalFailed{AgreementID: s.AgreementID, Failure: f, Side: s.Side}}
	}
	return []Event{ApprovalDelivered{AgreementID: s.AgreementID, Side: s.Side, Signature: c.Signature}}
}

func timeoutApproval(s State, c TimeoutApproval) []Event {
	if s.Phase != PhaseApproving || s.ApprovalOpen || s.Deadline.After(c.At) {
		return nil
	}
	f := market.Failure{Code: market.Timeout, Text: "the requestor did not commit in time"}
	return []Event{ApprovalFailed{AgreementID: s.AgreementID, Failure: f, Side: s.Side}}
}

func receiveCommit(s State, c ReceiveCommit) ([]Event, error) {
	if err := c.By.IsPeer(s.Peer()); err != nil {
		return nil, err
	}
	switch s.Phase {
	case PhaseApproved, PhaseTerminated:
		return nil, nil
	case PhaseApproving:
		return []Event{Approved{AgreementID: s.AgreementID, Raw: market.KeepRaw(c.Raw), Side: s.Side, Signature: c.Signature}}, nil
	case PhaseExpired:
		return nil, s.expiredError()
	}
	return nil, s.cannot(PhaseApproved)
}
