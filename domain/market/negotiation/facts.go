// Package negotiation is one thread of proposals between a requestor and a
// provider about one offer and one demand, as one side sees it. Both sides
// share the ids of all proposals but the first: the match itself has another
// id on each.
package negotiation

import (
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
)

// Category of the streams; the id is 32 hexadecimal digits of this node's own
// ([MatchID], [ThreadID]).
const Category = "negotiation"

// Event is a fact of a negotiation.
type Event interface{ event() }

// Proposal is one step. ProposalID is 64 hexadecimal digits, the hash of both
// subscription ids and Created.
type Proposal struct {
	Constraints string    `json:"constraints"`
	Created     time.Time `json:"created"`
	Expires     time.Time `json:"expires"`
	Properties  string    `json:"properties"` // flat JSON text, as its author wrote it
	ProposalID  string    `json:"proposalId"`
}

// Verdict is what one component of a provider's policy said.
type Verdict struct {
	Component string `json:"component"`
	Final     bool   `json:"final,omitzero"`
	Message   string `json:"message,omitzero"`
	Outcome   string `json:"outcome"` // "ready", "counter", "reject"
}

type (
	// Opened begins a thread. Initial is the match: its content is the offer.
	// The requestor keeps its demand's texts; the provider knows only the
	// demand's id, and learns the rest with the first counter.
	Opened struct {
		// After names the agreement whose end made the pair free again.
		After             string          `json:"after,omitzero"`
		DemandConstraints string          `json:"demandConstraints,omitzero"`
		DemandExpires     time.Time       `json:"demandExpires"`
		DemandID          string          `json:"demandId"`
		DemandProperties  string          `json:"demandProperties,omitzero"`
		Initial           Proposal        `json:"initial"`
		NegotiationID     string          `json:"negotiationId"`
		OfferID           string          `json:"offerId"`
		Provider          identity.NodeID `json:"provider"`
		Raw               []byte          `json:"raw,omitzero"` // the foreign offer as it came, if it was signed
		Requestor         identity.NodeID `json:"requestor"`
		Side              identity.Side   `json:"side"`
	}
	// CounterRequested says that we answer Prev with Proposal; it is to be sent.
	CounterRequested struct {
		NegotiationID string   `json:"negotiationId"`
		Prev          string   `json:"prev"`
		Proposal      Proposal `json:"proposal"`
	}
	// CounterDelivered says that the peer took the counter.
	CounterDelivered struct {
		NegotiationID string `json:"negotiationId"`
		ProposalID    string `json:"proposalId"`
	}
	// CounterFailed closes the undelivered draft. What it answered may be
	// countered anew; the draft is never sent later.
	CounterFailed struct {
		Failure       market.Failure `json:"failure"`
		NegotiationID string         `json:"negotiationId"`
		ProposalID    string         `json:"proposalId"`
	}
	// CounterReceived says that the peer answered Prev with Proposal.
	CounterReceived struct {
		NegotiationID string   `json:"negotiationId"`
		Prev          string   `json:"prev"`
		Proposal      Proposal `json:"proposal"`
		Raw           []byte   `json:"raw,omitzero"`
	}
	// RejectionRequested says that we rejected the peer's proposal; that is
	// final here, and the peer is to be told. Initial is set when the proposal
	// is the match, which the peer knows by the pair's ids only.
	RejectionRequested struct {
		Initial       bool   `json:"initial,omitzero"`
		NegotiationID string `json:"negotiationId"`
		ProposalID    string `json:"proposalId"`
		Reason        string `json:"reason"` // JSON object
	}
	// RejectionDelivered says that the peer knows.
	RejectionDelivered struct {
		NegotiationID string `json:"negotiationId"`
		ProposalID    string `json:"proposalId"`
	}
	// RejectionAbandoned says that we stopped trying to tell.
	RejectionAbandoned struct {
		Failure       market.Failure `json:"failure"`
		NegotiationID string         `json:"negotiationId"`
		ProposalID    string         `json:"proposalId"`
	}
	// RejectionReceived says that the peer rejected our proposal.
	RejectionReceived struct {
		NegotiationID string `json:"negotiationId"`
		ProposalID    string `json:"proposalId"`
		Raw           []byte `json:"raw,omitzero"`
		Reason        string `json:"reason"` // JSON object; one with an empty message if none came
	}
	// Decided keeps what the policy's components said about a received
	// proposal, in their order. Postponed is set when it may be looked at again.
	Decided struct {
		Components    []Verdict `json:"components"`
		NegotiationID string    `json:"negotiationId"`
		Outcome       string    `json:"outcome"` // "counter", "reject"; of an agreement "approve", "reject"
		Postponed     bool      `json:"postponed,omitzero"`
		ProposalID    string    `json:"proposalId"`
	}
	// Promoted says that the provider's proposal became an agreement.
	Promoted struct {
		AgreementID   string `json:"agreementId"`
		NegotiationID string `json:"negotiationId"`
		ProposalID    string `json:"proposalId"`
	}
	// Closed says that nothing will come of the thread any more.
	Closed struct {
		NegotiationID string `json:"negotiationId"`
		Why           string `json:"why"` // "unsubscribed", "expired", …
	}
)

// IsIntent is true: the counter is to be sent.
func (CounterRequested) IsIntent() bool { return true }

// IsIntent is true: the peer is to be told.
func (RejectionRequested) IsIntent() bool { return true }

func (Opened) event()             {}
func (CounterRequested) event()   {}
func (CounterDelivered) event()   {}
func (CounterFailed) event()      {}
func (CounterReceived) event()    {}
func (RejectionRequested) event() {}
func (RejectionDelivered) event() {}
func (RejectionAbandoned) event() {}
func (RejectionReceived) event()  {}
func (Decided) event()            {}
func (Promoted) event()           {}
func (Closed) event()             {}
