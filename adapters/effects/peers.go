package effects

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/peer"
)

// Peers is how we speak to other nodes, and to other identities of our own.
// Every adapter under adapters/net is one.
type Peers interface {
	// Call sends a request from a local identity and returns the answer. It
	// fails with a *peer.Refusal, peer.ErrUnreachable (the peer may not have
	// seen it) or peer.ErrNoAnswer (the peer may have acted on it).
	Call(ctx context.Context, from, to identity.NodeID, m peer.Message) (peer.Message, error)
	// Stream sends a request that is answered with a sequence.
	Stream(ctx context.Context, from, to identity.NodeID, m peer.Message) iter.Seq2[peer.Message, error]
}

// Answer is Call for a request whose answer has one type.
func Answer[M peer.Message](ctx context.Context, p Peers, from, to identity.NodeID, m peer.Message) (M, error) {
	var zero M
	got, err := p.Call(ctx, from, to, m)
	if err != nil {
		return zero, err
	}
	switch got := any(got).(type) {
	case M:
		return got, nil
	case *M:
		return *got, nil
	}
	return zero, fmt.Errorf("%s was answered with %s: %w", m.Kind(), got.Kind(), peer.ErrNoAnswer)
}

// RefusalOf returns the peer's no, if err is one.
func RefusalOf(err error) (*peer.Refusal, bool) {
	var r *peer.Refusal
	ok := errors.As(err, &r)
	return r, ok
}

// Call answers one kind of request.
type Call func(ctx context.Context, from peer.Caller, m peer.Message) (peer.Message, error)

// Stream answers one kind of request with a sequence.
type Stream func(ctx context.Context, from peer.Caller, m peer.Message) iter.Seq2[peer.Message, error]

// Inbound is the peer.Handler of a node: it finds who answers a request by its kind.
type Inbound struct {
	Calls   map[string]Call
	Streams map[string]Stream
}

var _ peer.Handler = Inbound{}

// HandleCall implements peer.Handler.
func (i Inbound) HandleCall(ctx context.Context, from peer.Caller, m peer.Message) (peer.Message, error) {
	call, ok := i.Calls[m.Kind()]
	if !ok {
		return nil, peer.Refuse(peer.Unsupported, "requests of kind %s are not answered here", m.Kind())
	}
	return call(ctx, from, m)
}

// HandleStream implements peer.Handler.
func (i Inbound) HandleStream(ctx context.Context, from peer.Caller, m peer.Message) iter.Seq2[peer.Message, error] {
	stream, ok := i.Streams[m.Kind()]
	if !ok {
		return func(yield func(peer.Message, error) bool) {
			yield(nil, peer.Refuse(peer.Unsupported, "requests of kind %s are not answered here", m.Kind()))
		}
	}
	return stream(ctx, from, m)
}

// Merge adds the answers of other parts.
func Merge(parts ...Inbound) Inbound {
	all := Inbound{Calls: map[string]Call{}, Streams: map[string]Stream{}}
	for _, p := range parts {
		for k, c := range p.Calls {
			all.Calls[k] = c
		}
		for k, s := range p.Streams {
			all.Streams[k] = s
		}
	}
	return all
}

// Typed makes a Call of a function for one message type.
func Typed[M peer.Message](f func(ctx context.Context, from peer.Caller, m M) (peer.Message, error)) Call {
	return func(ctx context.Context, from peer.Caller, m peer.Message) (peer.Message, error) {
		switch m := any(m).(type) {
		case M:
			return f(ctx, from, m)
		case *M:
			return f(ctx, from, *m)
		}
		return nil, peer.Refuse(peer.BadRequest, "malformed %s", m.Kind())
	}
}

// FromPeer is the caller of commands that a peer's message gives.
func FromPeer(from peer.Caller) identity.Caller {
	return identity.Caller{Actor: es.ActorPeer, Node: from.Node, Grade: es.GradeSession}
}

// Agreements are the deals of a node.
type Agreements = es.Aggregate[agreement.Command, agreement.Event, agreement.State]

// Deal loads an agreement in which the caller is the other party. Nobody else
// learns that it exists.
func Deal(ctx context.Context, all *Agreements, from peer.Caller, side identity.Side, id string) (agreement.State, error) {
	s, rev, err := all.Load(ctx, agreement.StreamID(side, id))
	if err != nil {
		return s, err
	}
	if rev == es.NoStream || s.Peer() != from.Node || s.Owner() != from.To {
		return s, peer.Refuse(peer.NotFound, "Agreement [%s] not found.", id)
	}
	return s, nil
}

// PeerMeta is the metadata of a command that a peer's message gives. The key
// should be natural, so that the message said twice is one command.
func PeerMeta(from peer.Caller, correlation, key string) es.Meta {
	return es.Meta{
		Correlation: correlation, Key: key, Actor: es.ActorPeer, Identity: string(from.To), Peer: string(from.Node),
		Via: from.Via, SentAt: from.SentAt, Grade: es.GradeSession,
	}
}

// Own is the caller of commands that effects give.
func Own() identity.Caller { return identity.Caller{Actor: es.ActorEffect, Grade: es.GradeSelf} }
