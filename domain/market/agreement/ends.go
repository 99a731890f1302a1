package agreement

import (
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/peer"
)

// decideEnd decides how an agreement ends. No rule here waits for the other
// side: what is ours to say is final at once, what the other says while we say
// the same is taken for a yes.
func decideEnd(s State, c Command) ([]Event, error) {
	switch c := c.(type) {
	case Reject:
		return reject(s, c)
	case ReceiveRejection:
		return receiveRejection(s, c)
	case Cancel:
		return cancel(s, c)
	case ReceiveCancellation:
		return receiveCancellation(s, c)
	case Terminate:
		return terminate(s, c)
	case ReceiveTermination:
		return receiveTermination(s, c)
	case FinishNotice:
		return finishNotice(s, c), nil
	case Expire:
		return expire(s, c), nil
	}
	return nil, es.ErrWrongCommand
}

func reject(s State, c Reject) ([]Event, error) {
	reason, err := s.ours(c.By, identity.Provider, c.Reason)
	if err != nil {
		return nil, err
	}
	if s.Phase != PhasePending {
		return nil, s.cannot(PhaseRejected)
	}
	return []Event{Rejected{AgreementID: s.AgreementID, By: s.Side, Notify: true, Reason: reason, Side: s.Side}}, nil
}

// ours checks what all ends that we decide have in common. only is the side
// that may, "" = either.
func (s State) ours(by identity.Caller, only identity.Side, reason string) (string, error) {
	if err := by.MayAct(s.Owner(), s.Side); err != nil {
		return "", err
	}
	if only != "" && s.Side != only {
		return "", s.wrongSide()
	}
	return market.ParseReason([]byte(reason))
}

// theirs checks the same of ends that the peer decides.
func (s State) theirs(by identity.Caller, only identity.Side) error {
	if err := by.IsPeer(s.Peer()); err != nil {
		return err
	}
	if only != "" && s.Side.Other() != only {
		return s.wrongSide()
	}
	return nil
}

// receiveRejection: of a rejection and a cancellation at the same time the
// provider's decision stands, on both sides.
func receiveRejection(s State, c ReceiveRejection) ([]Event, error) {
	if err := s.theirs(c.By, identity.Provider); err != nil {
		return nil, err
	}
	switch {
	case s.Phase == PhaseRejected:
		return nil, nil
	case s.Phase == PhaseProposal && !s.Confirming, s.Committing:
		return nil, s.cannot(PhaseRejected)
	case s.Phase != PhaseProposal && s.Phase != PhasePending && s.Phase != PhaseApproving && s.Phase != PhaseCancelled:
		return nil, s.cannot(PhaseRejected)
	}
	return []Event{Rejected{
		AgreementID: s.AgreementID, By: identity.Provider, Raw: market.KeepRaw(c.Raw),
		Reason: market.ForeignReason(c.Reason), Side: s.Side,
	}}, nil
}

// cancel: once the commit was asked for only the provider's answer decides.
func cancel(s State, c Cancel) ([]Event, error) {
	reason, err := s.ours(c.By, identity.Requestor, c.Reason)
	if err != nil {
		return nil, err
	}
	switch s.Phase {
	case PhaseProposal, PhasePending, PhaseApproving:
		if !s.Committing {
			return []Event{Cancelled{AgreementID: s.AgreementID, By: s.Side, Notify: s.known, Reason: reason, Side: s.Side}}, nil
		}
	}
	return nil, s.cannot(PhaseCancelled)
}

func receiveCancellation(s State, c ReceiveCancellation) ([]Event, error) {
	if err := s.theirs(c.By, identity.Requestor); err != nil {
		return nil, err
	}
	switch s.Phase {
	case PhaseCancelled, PhaseRejected:
		return nil, nil
	case PhasePending, PhaseApproving:
		return []Event{Cancelled{
			AgreementID: s.AgreementID, By: identity.Requestor, Raw: market.KeepRaw(c.Raw),
			Reason: market.ForeignReason(c.Reason), Side: s.Side,
		}}, nil
	}
	return nil, s.cannot(PhaseCancelled)
}

func terminate(s State, c Terminate) ([]Event, error) {
	reason, err := s.ours(c.By, "", c.Reason)
	if err != nil {
		return nil, err
	}
	if s.Phase != PhaseApproved {
		return nil, s.cannot(PhaseTerminated)
	}
	return []Event{Terminated{AgreementID: s.AgreementID, By: s.Side, Notify: true, Reason: reason, Side: s.Side}}, nil
}

func receiveTermination(s State, c ReceiveTermination) ([]Event, error) {
	if err := s.theirs(c.By, ""); err != nil {
		return nil, err
	}
	switch {
	case s.Phase == PhaseTerminated:
		return nil, nil
	case s.Committing:
		return nil, market.Errorf(market.ErrBusy, "Agreement [%s]: the answer to our commit is awaited.", s.AgreementID)
	case s.Phase != PhaseApproved:
		return nil, s.cannot(PhaseTerminated)
	}
	return []Event{Terminated{
		AgreementID: s.AgreementID, By: s.Side.Other(), Raw: market.KeepRaw(c.Raw),
		Reason: market.ForeignReason(c.Reason), Side: s.Side, Signature: c.Signature,
	}}, nil
}

// finishNotice: a peer that refuses because the agreement is over at its side
// too knows what we wanted to tell.
func finishNotice(s State, c FinishNotice) []Event {
	notice := c.Notice
	if notice == "" {
		notice = s.openNotice()
	}
	if s.Notices[notice] != NoticeOpen {
		return nil
	}
	f := c.Failure
	if f.Code == string(peer.InvalidState) && f.State == string(notice) {
		f = market.Failure{}
	}
	if f.Failed() {
		return []Event{NoticeAbandoned{AgreementID: s.AgreementID, Failure: f, Notice: notice, Side: s.Side}}
	}
	return []Event{NoticeDelivered{AgreementID: s.AgreementID, Notice: notice, Side: s.Side}}
}

func (s State) openNotice() Phase {
	for _, p := range []Phase{PhaseRejected, PhaseCancelled, PhaseTerminated} {
		if s.Notices[p] == NoticeOpen {
			return p
		}
	}
	return ""
}

func expire(s State, c Expire) []Event {
	if s.Committing || !s.expired(c.At) {
		return nil
	}
	switch s.Phase {
	case PhaseProposal, PhasePending, PhaseApproving:
		return []Event{Expired{AgreementID: s.AgreementID, Side: s.Side}}
	}
	return nil
}
