package market

import (
	"errors"
	"fmt"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

// Why a rule of the market refuses. Errors carry one of these, so that callers
// branch with errors.Is, and a text that clients know.
var (
	ErrMalformedID      = errors.New("malformed id")
	ErrInvalidID        = errors.New("id does not match its content")
	ErrNotFound         = errors.New("not found")            // a proposal, agreement or thread
	ErrNoSubscription   = errors.New("no such subscription") // an offer or demand
	ErrUnsubscribed     = errors.New("unsubscribed")
	ErrExpired          = errors.New("expired")
	ErrOwnProposal      = errors.New("own proposal")
	ErrAlreadyCountered = errors.New("already countered")
	ErrAlreadyPromoted  = errors.New("already has an agreement")
	ErrNoNegotiations   = errors.New("nothing was negotiated")
	ErrRejected         = errors.New("rejected")
	ErrNotMatching      = errors.New("does not match")
	ErrTooManyRounds    = errors.New("too many rounds")
	ErrBadText          = errors.New("bad text") // too large, or not what it should be
	ErrExists           = errors.New("exists already")
	ErrNotTerminated    = errors.New("not terminated")
	ErrBusy             = errors.New("try again") // an answer that decides is still awaited
	ErrMaxEvents        = errors.New("maxEvents out of range")
	ErrState            = errors.New("wrong state") // every *StateError is one
)

// Error is a refusal with a reason to branch on and a text to show.
type Error struct {
	Kind error
	Text string
}

// Errorf makes an [Error].
func Errorf(kind error, format string, args ...any) error {
	return &Error{Kind: kind, Text: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string { return e.Text }
func (e *Error) Unwrap() error { return e.Kind }

// StateError says that an agreement or proposal cannot go from one state to
// another. It is an [ErrState].
type StateError struct {
	What     string // "Agreement" or "Proposal"
	From, To string // as the rules name them: "Approving" is told apart from "Pending"
}

func (e *StateError) Error() string {
	return fmt.Sprintf("Can't update %s state from %s to %s.", e.What, e.From, e.To)
}

// Is makes errors.Is(err, ErrState) true.
func (e *StateError) Is(target error) bool { return target == ErrState }

// Texts of refusals that several places give.

// ProposalNotFound is [ErrNotFound].
func ProposalNotFound(proposalID, subscription string) error {
	return Errorf(ErrNotFound, "Proposal [%s] not found (subscription [%s]).", proposalID, subscription)
}

// AgreementNotFound is [ErrNotFound].
func AgreementNotFound(id string) error { return Errorf(ErrNotFound, "Agreement [%s] not found.", id) }

// Unsubscribed is [ErrUnsubscribed].
func Unsubscribed(id string) error {
	return Errorf(ErrUnsubscribed, "Subscription [%s] was already unsubscribed.", id)
}

// SubscriptionExpired is [ErrExpired].
func SubscriptionExpired(id string) error {
	return Errorf(ErrExpired, "Subscription [%s] expired.", id)
}

// CheckMaxEvents bounds how many events a poll may ask for: 1 to 100.
func CheckMaxEvents(n int) error {
	if n < 1 || n > 100 {
		return Errorf(ErrMaxEvents, "Invalid maxEvents '%d', should be between 1 and 100.", n)
	}
	return nil
}

// Refusal turns an error of the market's rules into what a peer is told.
// Errors of other kinds become [peer.Trouble] without their text.
func Refusal(err error) error {
	var state *StateError
	if errors.As(err, &state) {
		return &peer.Refusal{Code: peer.InvalidState, State: state.From, Text: state.Error()}
	}
	for _, c := range refusalCodes {
		if errors.Is(err, c.kind) {
			return &peer.Refusal{Code: c.code, Text: err.Error()}
		}
	}
	return peer.Trouble("internal error")
}

var refusalCodes = []struct {
	kind error
	code peer.Code
}{
	{identity.ErrForbidden, peer.Forbidden},
	{ErrNotFound, peer.NotFound},
	{ErrNoSubscription, peer.NotFound},
	{ErrUnsubscribed, peer.NotFound},
	{ErrExpired, peer.Expired},
	{ErrAlreadyCountered, peer.Duplicate},
	{ErrAlreadyPromoted, peer.Duplicate},
	{ErrBusy, peer.Busy},
	{ErrTooManyRounds, peer.Busy},
	{ErrMalformedID, peer.BadRequest},
	{ErrInvalidID, peer.BadRequest},
	{ErrOwnProposal, peer.BadRequest},
	{ErrNoNegotiations, peer.BadRequest},
	{ErrNotMatching, peer.BadRequest},
	{ErrRejected, peer.BadRequest},
	{ErrBadText, peer.BadRequest},
}

// Failure is why an act in the world did not succeed. The zero Failure means
// that it did.
type Failure struct {
	Code  string `json:"code,omitzero"`  // a [peer.Code], or "unreachable", "no-answer", "timeout", "superseded"
	State string `json:"state,omitzero"` // for invalid-state
	Text  string `json:"text,omitzero"`
}

// Codes of failures that are no refusals.
const (
	Unreachable = "unreachable" // the peer has not seen it
	NoAnswer    = "no-answer"   // the peer may have acted on it
	Timeout     = "timeout"
	Superseded  = "superseded" // something else decided meanwhile
)

// Failed says whether there is a failure.
func (f Failure) Failed() bool { return f != Failure{} }

// FailureOf tells what went wrong with a call to a peer; nil is no failure.
func FailureOf(err error) Failure {
	var r *peer.Refusal
	switch {
	case err == nil:
		return Failure{}
	case errors.As(err, &r):
		r = r.Bounded()
		return Failure{Code: string(r.Code), State: r.State, Text: clip(r.Text, 1024)}
	case errors.Is(err, peer.ErrNoAnswer):
		return Failure{Code: NoAnswer, Text: clip(err.Error(), 1024)}
	case errors.Is(err, peer.ErrUnreachable):
		return Failure{Code: Unreachable, Text: clip(err.Error(), 1024)}
	}
	return Failure{Code: string(peer.Internal), Text: clip(err.Error(), 1024)}
}
