package agreement

import (
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
)

// Command is an order to an agreement. Unless another error is named, a
// refusal is market.ErrNotFound (there is no such agreement), *market.StateError
// (from "Proposal" REST answers 409, else 410), market.ErrExpired (410) or
// identity.ErrForbidden.
type Command interface{ command() }

// Commands of the requestor's side.
type (
	// Create makes an agreement of the provider's draft; negotiation.Promote
	// goes with it in one append. AgreementID is market.PairHash of the pair
	// and Terms.Created, else market.ErrInvalidID. market.ErrExists when there
	// is one with other terms.
	Create struct {
		AgreementID string
		By          identity.Caller
		Terms       Terms
	}
	// Confirm asks to propose it to the provider.
	Confirm struct {
		At        time.Time
		By        identity.Caller
		Session   string
		Signature string
	}
	// FinishConfirmation is the outcome of [ConfirmationRequested]. While that
	// is open it makes exactly one fact.
	FinishConfirmation struct {
		Failure   market.Failure
		Signature string // if it was made on sending
	}
	// ReceiveApproval is the provider's yes. The same again is silence.
	ReceiveApproval struct {
		ApprovedAt time.Time
		At         time.Time
		By         identity.Caller // the provider
		Raw        []byte
		Signature  string
	}
	// RequestCommit asks to tell the provider that the agreement holds.
	// Silence when that was asked already or the agreement is not Approving.
	RequestCommit struct {
		Signature string
	}
	// FinishCommit is the provider's answer to [CommitRequested]. A refusal
	// for the state "Approved" or "Terminated" means that the commit had
	// arrived before. To be sent only when there is an answer: what got lost
	// is sent again.
	FinishCommit struct {
		Failure   market.Failure
		Signature string // if it was made on sending
	}
)

// Commands of the provider's side.
type (
	// Receive is a requestor's proposal of an agreement; negotiation.Promote
	// goes with it in one append. Refused with market.ErrInvalidID or
	// ErrExpired. The same again is silence.
	Receive struct {
		AgreementID string
		At          time.Time
		By          identity.Caller // the requestor
		Raw         []byte
		Signature   string
		Terms       Terms
	}
	// Approve asks to tell the requestor that we approve. At is the approval's
	// date, Deadline the last moment for the requestor's commit.
	Approve struct {
		At        time.Time
		By        identity.Caller
		Deadline  time.Time
		Session   string
		Signature string
	}
	// FinishApproval is the outcome of [ApprovalRequested]: the requestor took
	// it, or why not. While that is open it makes exactly one fact.
	FinishApproval struct {
		Failure   market.Failure
		Signature string // if it was made on sending
	}
	// TimeoutApproval takes a delivered approval back when no commit came
	// until its deadline. Silence before that, or when there is none.
	TimeoutApproval struct {
		At time.Time
	}
	// ReceiveCommit is the requestor's word that the agreement holds. Again is
	// silence, also after the agreement was terminated.
	ReceiveCommit struct {
		At        time.Time
		By        identity.Caller // the requestor
		Raw       []byte
		Signature string
	}
)

// Commands of both sides. The Receive… ones come from the peer; said again, or
// when both sides ended it at once, they are silence, which the peer may take
// for a yes.
type (
	// Reject is the provider's no to a Pending agreement. Final at once.
	Reject struct {
		By     identity.Caller
		Reason string // JSON object, "" = none given
	}
	// ReceiveRejection arrives at the requestor. It wins over a cancellation
	// of ours: when both happen at once both sides end at Rejected.
	ReceiveRejection struct {
		By     identity.Caller
		Raw    []byte
		Reason string
	}
	// Cancel takes the requestor's proposal back, until it asked for the commit.
	Cancel struct {
		By     identity.Caller
		Reason string
	}
	// ReceiveCancellation arrives at the provider.
	ReceiveCancellation struct {
		By     identity.Caller
		Raw    []byte
		Reason string
	}
	// Terminate ends an Approved agreement, from either side. Final at once.
	Terminate struct {
		By     identity.Caller
		Reason string
	}
	// ReceiveTermination is the other side's end of it. Refused with
	// market.ErrBusy while the answer to our commit is awaited.
	ReceiveTermination struct {
		By        identity.Caller
		Raw       []byte
		Reason    string
		Signature string
	}
	// FinishNotice is the outcome of [Rejected], [Cancelled] or [Terminated]
	// with Notify: the peer knows, or why telling was given up. A refusal that
	// shows that the peer knows counts as delivered. While the notice is open
	// it makes exactly one fact.
	FinishNotice struct {
		Failure market.Failure
		Notice  Phase // which one; "" = the one that is open
	}
	// Expire ends the agreement if validTo passed at At before it was
	// approved. Silence otherwise, and while the answer to a commit is awaited.
	Expire struct {
		At time.Time
	}
)

func (Create) command()              {}
func (Confirm) command()             {}
func (FinishConfirmation) command()  {}
func (ReceiveApproval) command()     {}
func (RequestCommit) command()       {}
func (FinishCommit) command()        {}
func (Receive) command()             {}
func (Approve) command()             {}
func (FinishApproval) command()      {}
func (TimeoutApproval) command()     {}
func (ReceiveCommit) command()       {}
func (Reject) command()              {}
func (ReceiveRejection) command()    {}
func (Cancel) command()              {}
func (ReceiveCancellation) command() {}
func (Terminate) command()           {}
func (ReceiveTermination) command()  {}
func (FinishNotice) command()        {}
func (Expire) command()              {}
