package negotiation

import (
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
)

// Command is an order to a negotiation.
type Command interface{ command() }

type (
	// Open begins a thread at the requestor: a match is handed out to its
	// client. Initial has the offer's texts, an id that is market.PairHash and
	// an expiry not later than either subscription's. A thread that exists is
	// left alone.
	Open struct {
		After             string
		By                identity.Caller
		DemandConstraints string
		DemandExpires     time.Time
		DemandID          string
		DemandProperties  string
		Initial           Proposal
		NegotiationID     string // MatchID
		OfferID           string
		Provider          identity.NodeID
		Raw               []byte
		Requestor         identity.NodeID
	}
	// ReceiveOpening begins a thread at the provider: a requestor's first
	// counter arrived. Initial is our own offer under an id of our own. The
	// caller has looked up that the offer lives and is ours. It results in
	// [Opened] and [CounterReceived]; the same message again is silence.
	ReceiveOpening struct {
		At            time.Time
		By            identity.Caller // the requestor
		DemandExpires time.Time
		DemandID      string
		Initial       Proposal
		NegotiationID string // ThreadID
		OfferID       string
		Proposal      Proposal
		Provider      identity.NodeID
		Raw           []byte
	}
	// Counter answers the peer's proposal Prev. ProposalID must be
	// market.PairHash of the pair and At. Refused with market.ErrNotFound,
	// ErrOwnProposal, ErrAlreadyCountered, ErrExpired, ErrUnsubscribed (the
	// thread is closed), ErrNotMatching, ErrTooManyRounds, ErrInvalidID,
	// ErrBadText or identity.ErrForbidden.
	Counter struct {
		At          time.Time
		By          identity.Caller
		Constraints string
		Prev        string
		Properties  string // flat
		ProposalID  string
	}
	// FinishCounter is the outcome of [CounterRequested]: delivered, or why
	// not. While the counter awaits its outcome it makes exactly one fact.
	FinishCounter struct {
		Failure    market.Failure
		ProposalID string
	}
	// ReceiveCounter is the peer's answer to our proposal Prev. The same again
	// is silence. Refused like [Counter].
	ReceiveCounter struct {
		At       time.Time
		By       identity.Caller
		Prev     string
		Proposal Proposal
		Raw      []byte
	}
	// Reject turns the peer's proposal down; final here at once. A second time
	// is silence. Refused with market.ErrNotFound, ErrOwnProposal, ErrExpired,
	// ErrUnsubscribed, ErrAlreadyCountered, *StateError (it has an agreement) or identity.ErrForbidden.
	Reject struct {
		At         time.Time
		By         identity.Caller
		ProposalID string
		Reason     string // JSON object, "" = none given
	}
	// FinishRejection is the outcome of [RejectionRequested]: delivered, or
	// why it was given up. Exactly one fact while it awaits its outcome.
	FinishRejection struct {
		Failure    market.Failure
		ProposalID string
	}
	// ReceiveRejection is the peer's no to our proposal. The same again is
	// silence. Refused with market.ErrNotFound, ErrOwnProposal, *StateError or
	// identity.ErrForbidden.
	ReceiveRejection struct {
		By         identity.Caller
		ProposalID string
		Raw        []byte
		Reason     string
	}
	// RecordDecision keeps what a policy said about a received proposal.
	RecordDecision struct {
		By         identity.Caller
		Components []Verdict
		Outcome    string
		Postponed  bool
		ProposalID string
	}
	// Promote makes the provider's draft into an agreement. At the requestor
	// its client asks for it; at the provider the requestor's proposal of an
	// agreement does. Refused with market.ErrNotFound, ErrOwnProposal,
	// ErrNoNegotiations, ErrRejected, ErrAlreadyCountered, ErrAlreadyPromoted,
	// ErrExpired or identity.ErrForbidden; the same agreement again is silence.
	Promote struct {
		AgreementID string
		At          time.Time
		By          identity.Caller
		ProposalID  string
	}
	// Close ends the thread. A second time is silence.
	Close struct {
		By  identity.Caller
		Why string
	}
)

func (Open) command()             {}
func (ReceiveOpening) command()   {}
func (Counter) command()          {}
func (FinishCounter) command()    {}
func (ReceiveCounter) command()   {}
func (Reject) command()           {}
func (FinishRejection) command()  {}
func (ReceiveRejection) command() {}
func (RecordDecision) command()   {}
func (Promote) command()          {}
func (Close) command()            {}
