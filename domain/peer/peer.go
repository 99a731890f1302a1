// Package peer is the vocabulary in which nodes speak to each other: message
// structs, refusals and the handler that answers them. It knows no encoding
// and no transport; two transports and the effect runner share it.
//
// Ids of proposals travel without the "R-"/"P-" prefix of REST: the 64 hex
// digits are the same on both nodes. Texts (properties, constraints, reasons,
// usage vectors) travel as the exact bytes their author wrote, since they are
// hashed and signed.
package peer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/emet-node/emet/domain/identity"
)

// Message is a request, a reply or a notice. Kind is its name on the wire,
// for instance "market.counter".
type Message interface{ Kind() string }

// Caller is who sent a request, as the session proved it.
type Caller struct {
	Node identity.NodeID // the acting identity, bound to the session by its delegation
	To   identity.NodeID // the local identity that was addressed
	Via  string          // "libp2p", "local", "memory"
	// SentAt is the time the sender claims. Raw is the message exactly as it
	// came in, kept in facts beside the parsed fields.
	SentAt time.Time
	Raw    []byte
	// MessageID is the sender's id of the envelope, the same on a retry.
	MessageID string
}

// Handler answers requests of other nodes. It returns a *Refusal for what the
// caller may not or cannot do; other errors reach the caller as [Trouble].
type Handler interface {
	HandleCall(ctx context.Context, from Caller, m Message) (Message, error)
	// HandleStream answers with any number of messages. The sequence ends with
	// the answer, or with an error.
	HandleStream(ctx context.Context, from Caller, m Message) iter.Seq2[Message, error]
}

// Code says why a request was refused.
type Code string

// The codes.
const (
	BadRequest   Code = "bad-request"   // can never succeed as it stands
	Forbidden    Code = "forbidden"     // the caller is not a party
	NotFound     Code = "not-found"     // the thing is not known here
	InvalidState Code = "invalid-state" // State says which state it is in
	Expired      Code = "expired"
	Duplicate    Code = "duplicate" // e.g. already countered
	Busy         Code = "busy"      // try again after RetryAfter
	Unsupported  Code = "unsupported"
	Failed       Code = "failed"   // it was tried and came to nothing; asking again changes nothing
	Internal     Code = "internal" // trouble at the other node, see [Refusal.Passing]
)

// Refusal is the other node's no.
type Refusal struct {
	Code       Code          `json:"code"`
	RetryAfter time.Duration `json:"retryAfter,omitzero"`
	State      string        `json:"state,omitzero"` // for InvalidState
	Text       string        `json:"text"`
}

func (r *Refusal) Error() string { return fmt.Sprintf("peer refused (%s): %s", r.Code, r.Text) }

// Bounds of what is kept of a refusal.
const (
	MaxRefusalText = 4096 // bytes
	maxRefusalWord = 64   // bytes of a code, and of a state
)

// Bounded is the refusal without what nobody honest says: no code or a long one
// is [Internal], a long state is none, a long text is cut.
func (r Refusal) Bounded() *Refusal {
	if r.Code == "" || len(r.Code) > maxRefusalWord {
		r.Code = Internal
	}
	if len(r.State) > maxRefusalWord {
		r.State = ""
	}
	r.Text = strings.ToValidUTF8(r.Text[:min(len(r.Text), MaxRefusalText)], "")
	r.RetryAfter = max(r.RetryAfter, 0)
	return &r
}

// Refuse makes a refusal.
func Refuse(code Code, format string, args ...any) error {
	return &Refusal{Code: code, Text: fmt.Sprintf(format, args...)}
}

// Trouble is the refusal of a node that cannot answer for reasons of its own
// and may be able to when it is asked again.
func Trouble(format string, args ...any) error {
	return &Refusal{Code: Internal, RetryAfter: time.Second, Text: fmt.Sprintf(format, args...)}
}

// Passing says that by the other node's word asking again may help: it is
// busy, or in [Trouble].
func (r *Refusal) Passing() bool {
	return r.Code == Busy || r.Code == Internal && r.RetryAfter > 0
}

// MayPass says that asking again may help, for all that is known. Nodes of
// before [Failed] say Internal without a time both for trouble that passes and
// for what failed for good.
func (r *Refusal) MayPass() bool { return r.Code == Busy || r.Code == Internal }

// Errors of a transport.
var (
	// ErrUnreachable says that the peer could not be asked; it may not have
	// seen the request.
	ErrUnreachable = errors.New("peer is unreachable")
	// ErrNoAnswer says that the request went out and no answer came: the peer
	// may have acted on it.
	ErrNoAnswer = errors.New("peer did not answer")
)

// CallError is a request that a transport could not carry out. It wraps
// [ErrUnreachable] or [ErrNoAnswer].
type CallError struct {
	To   identity.NodeID
	Kind string // of the request
	Err  error
}

func (e *CallError) Error() string { return e.Kind + " to " + string(e.To) + ": " + e.Err.Error() }

// Unwrap returns what went wrong.
func (e *CallError) Unwrap() error { return e.Err }
