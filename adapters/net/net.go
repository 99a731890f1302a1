// Package net is what all transports between nodes share: the face that they
// show to the effect runner, the written form of messages, the envelope that
// carries them, and the serving side that sees every request once.
package net

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

// Peer reaches other nodes. It is safe for concurrent use.
//
// Errors of Call and Stream: a [*peer.Refusal] is the other node's no;
// [peer.ErrUnreachable] says that the request was not seen, [peer.ErrNoAnswer]
// that it may have been; [ErrNotOurs] that from is no identity of this node
// or has not delegated its host key.
type Peer interface {
	// Call sends m from a local identity to another node and returns the
	// answer. Without a deadline in ctx it takes [CallTimeout] at most.
	Call(ctx context.Context, from, to identity.NodeID, m peer.Message) (peer.Message, error)
	// Stream sends m and yields what the other node answers until it ends, ctx
	// ends or the consumer stops. An error is the last element.
	Stream(ctx context.Context, from, to identity.NodeID, m peer.Message) iter.Seq2[peer.Message, error]
	// Broadcast tells everyone about offers, as well as it can.
	Broadcast(ctx context.Context, from identity.NodeID, m peer.OffersAnnounced) error
	// Features are what the node's Hello said last, nil if it was never met.
	Features(to identity.NodeID) []string
	Status() Status
	Close() error
}

// Gossip hears announcements of others. It must not block for long; texts are
// fetched from the node that from names.
type Gossip func(ctx context.Context, from peer.Caller, a peer.OffersAnnounced)

// Status is what the operator is shown.
type Status struct {
	Transport string // "libp2p", "memory"
	HostID    string // libp2p PeerID
	Listen    []string
	Peers     []PeerStatus
}

// PeerStatus is one connected node.
type PeerStatus struct {
	HostID   string
	Nodes    []identity.NodeID // identities it has proved
	Addr     string
	Inbound  bool
	Since    time.Time
	Latency  time.Duration // 0 = not measured
	Version  string
	Features []string
}

// CallTimeout bounds a call whose context has no deadline.
const CallTimeout = 30 * time.Second

// ErrNotOurs says that a node tried to speak as an identity that it cannot
// prove to have.
var ErrNotOurs = errors.New("not an identity that this node can speak for")

type messageIDKey struct{}

// WithMessageID gives the calls made with the context a fixed message id, so
// that a retry is recognised by the other node and answered as before. Use the
// id of the intent. It has 1 to 64 bytes.
func WithMessageID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, messageIDKey{}, id)
}

// MessageID is the id set by [WithMessageID], or a random one.
func MessageID(ctx context.Context) string {
	if id, ok := ctx.Value(messageIDKey{}).(string); ok && id != "" && len(id) <= maxID {
		return id
	}
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // never fails
	return hex.EncodeToString(b[:])
}

// Deadline returns ctx bounded by [CallTimeout] unless it has a bound.
func Deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, CallTimeout)
}

// Unanswered tells what became of a request that went out: cause is wrapped in
// [peer.ErrNoAnswer].
func Unanswered(to identity.NodeID, kind string, cause error) error {
	return &peer.CallError{To: to, Kind: kind, Err: fmt.Errorf("%w: %w", peer.ErrNoAnswer, cause)}
}

// Unreachable tells that a request could not be sent: cause is wrapped in
// [peer.ErrUnreachable].
func Unreachable(to identity.NodeID, kind string, cause error) error {
	return &peer.CallError{To: to, Kind: kind, Err: fmt.Errorf("%w: %w", peer.ErrUnreachable, cause)}
}
