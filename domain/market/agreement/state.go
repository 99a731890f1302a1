package agreement

import (
	"maps"
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
)

// Phase of an agreement.
type Phase string

// The phases. Approving is shown to clients as Pending ([State.Shown]).
const (
	PhaseProposal   Phase = "Proposal"
	PhasePending    Phase = "Pending"
	PhaseApproving  Phase = "Approving"
	PhaseApproved   Phase = "Approved"
	PhaseRejected   Phase = "Rejected"
	PhaseCancelled  Phase = "Cancelled"
	PhaseExpired    Phase = "Expired"
	PhaseTerminated Phase = "Terminated"
)

// State is an agreement as one side's facts tell it. The zero State is none.
type State struct {
	AgreementID string
	Side        identity.Side
	Terms       Terms
	Phase       Phase
	Session     string    // appSessionId of this side's client, "" = none
	ApprovedAt  time.Time // the provider's clock; set by the approval
	Deadline    time.Time // of the requestor's commit, at the provider

	// Signatures as they were given, "" = none yet.
	ProposedSignature, ApprovedSignature, CommittedSignature string

	// EndedBy and Reason are set when it was rejected, cancelled or terminated.
	EndedBy identity.Side
	Reason  string // JSON object

	// Failure of the last attempt to confirm, approve or commit.
	Failure market.Failure

	// What of ours awaits its outcome.
	Confirming, Committing, ApprovalOpen bool
	Notices                              map[Phase]NoticeState

	known bool // the peer may have seen it
}

// NoticeState is how far the telling of one end of the agreement has come.
type NoticeState string

// The stages.
const (
	NoticeOpen      NoticeState = "open"
	NoticeDone      NoticeState = "delivered"
	NoticeForgotten NoticeState = "abandoned"
)

// Exists says whether there is such an agreement.
func (s State) Exists() bool { return s.AgreementID != "" }

// Shown is the phase as REST spells it: Approving is Pending.
func (s State) Shown() string {
	if s.Phase == PhaseApproving {
		return string(PhasePending)
	}
	return string(s.Phase)
}

// Owner is the identity on whose behalf this side acts.
func (s State) Owner() identity.NodeID { return s.Terms.Party(s.Side) }

// Peer is the other side's identity.
func (s State) Peer() identity.NodeID { return s.Terms.Party(s.Side.Other()) }

// Party is the identity that plays a side.
func (t Terms) Party(side identity.Side) identity.NodeID {
	if side == identity.Provider {
		return t.Provider
	}
	return t.Requestor
}

// Over says whether nothing can happen to the agreement any more.
func (s State) Over() bool {
	switch s.Phase {
	case PhaseRejected, PhaseCancelled, PhaseExpired, PhaseTerminated:
		return true
	}
	return false
}

// Notice is how far the telling of that end has come, "" = nothing to tell.
func (s State) Notice(p Phase) NoticeState { return s.Notices[p] }

func (s State) notice(p Phase, n NoticeState) State {
	m := make(map[Phase]NoticeState, len(s.Notices)+1)
	maps.Copy(m, s.Notices) // states are shared: never changed in place
	m[p] = n
	s.Notices = m
	return s
}

func (s State) end(p Phase, by identity.Side, reason string, notify bool) State {
	s.Phase, s.EndedBy, s.Reason = p, by, reason
	if notify {
		return s.notice(p, NoticeOpen)
	}
	return s
}

// to moves on unless the agreement is over: an outcome that comes late does
// not bring it back.
func (s State) to(p Phase) State {
	if !s.Over() {
		s.Phase = p
	}
	return s
}

func evolve(s State, e Event) State {
	switch e := e.(type) {
	case Created:
		return State{AgreementID: e.AgreementID, Side: e.Side, Terms: e.Terms, Phase: PhaseProposal}
	case Received:
		return State{AgreementID: e.AgreementID, Side: e.Side, Terms: e.Terms, Phase: PhasePending, ProposedSignature: e.Signature}
	case ConfirmationRequested, Confirmed, ConfirmationFailed:
		return evolveConfirmation(s, e)
	case ApprovalReceived:
		s.ApprovedAt, s.ApprovedSignature, s.Failure = e.ApprovedAt, e.Signature, market.Failure{}
		return s.to(PhaseApproving)
	case CommitRequested:
		s.Committing, s.CommittedSignature = true, e.Signature
	case CommitFailed:
		s.Committing, s.CommittedSignature, s.Failure = false, "", e.Failure
		s.ApprovedAt, s.ApprovedSignature = time.Time{}, ""
		return s.to(PhasePending)
	case ApprovalRequested, ApprovalDelivered, ApprovalFailed:
		return evolveApproval(s, e)
	case Approved:
		s.Committing, s.CommittedSignature = false, either(e.Signature, s.CommittedSignature)
		return s.to(PhaseApproved)
	default:
		return evolveEnd(s, e)
	}
	return s
}

func evolveConfirmation(s State, e Event) State {
	switch e := e.(type) {
	case ConfirmationRequested:
		s.Confirming, s.known, s.Failure = true, true, market.Failure{}
		s.Session, s.ProposedSignature = e.Session, e.Signature
	case Confirmed:
		s.Confirming, s.ProposedSignature = false, either(e.Signature, s.ProposedSignature)
		if s.Phase == PhaseProposal {
			s.Phase = PhasePending
		}
	case ConfirmationFailed:
		s.Confirming, s.Failure = false, e.Failure
	}
	return s
}

func evolveApproval(s State, e Event) State {
	switch e := e.(type) {
	case ApprovalRequested:
		s.ApprovalOpen, s.Failure = true, market.Failure{}
		s.ApprovedAt, s.Deadline, s.Session, s.ApprovedSignature = e.ApprovedAt, e.Deadline, e.Session, e.Signature
		s.Phase = PhaseApproving
	case ApprovalDelivered:
		s.ApprovalOpen, s.ApprovedSignature = false, either(e.Signature, s.ApprovedSignature)
	case ApprovalFailed:
		s.ApprovalOpen, s.Failure = false, e.Failure
		if s.Phase == PhaseApproving {
			s.Phase, s.ApprovedAt, s.ApprovedSignature = PhasePending, time.Time{}, ""
		}
	}
	return s
}

func evolveEnd(s State, e Event) State {
	switch e := e.(type) {
	case Rejected:
		return s.end(PhaseRejected, e.By, e.Reason, e.Notify)
	case Cancelled:
		return s.end(PhaseCancelled, e.By, e.Reason, e.Notify)
	case Terminated:
		return s.end(PhaseTerminated, e.By, e.Reason, e.Notify)
	case NoticeDelivered:
		return s.notice(e.Notice, NoticeDone)
	case NoticeAbandoned:
		return s.notice(e.Notice, NoticeForgotten)
	case Expired:
		s.Phase = PhaseExpired
	}
	return s
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
