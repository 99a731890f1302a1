// Package inbox is what polls have handed out to the client of one
// subscription. Handing out is recorded before the answer is sent, so that an
// event reaches a client at most once, as clients expect of the queue.
package inbox

// Category of the streams; the id is the subscription id.
const Category = "inbox"

// Kind of a thing handed out.
type Kind string

// The kinds.
const (
	Proposal  Kind = "proposal"  // a match or a counter; ID is the proposal's hash
	Rejection Kind = "rejection" // ID is the hash of the own proposal that was rejected
	Agreement Kind = "agreement" // asks a provider; ID is the agreement's
)

// Event is a fact of an inbox.
type Event interface{ event() }

// Delivered says that an answer to a poll named these. It is written before
// the answer is sent.
type Delivered struct {
	Refs         []Ref  `json:"refs"`
	Subscription string `json:"subscription"`
}

// Ref names one thing.
type Ref struct {
	// After is set for a match that is handed out again: the agreement whose
	// end made the pair free.
	After       string `json:"after,omitzero"`
	ID          string `json:"id"`
	Kind        Kind   `json:"kind"`
	Negotiation string `json:"negotiation,omitzero"`
	// Offer is set for a match: the foreign offer that it is about.
	Offer string `json:"offer,omitzero"`
}

func (Delivered) event() {}
