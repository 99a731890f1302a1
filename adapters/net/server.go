package net

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

// MaxSkew is how wrong another node's clock may be.
const MaxSkew = 5 * time.Minute

// Server is the serving side of a transport: it hands requests to the handler
// and answers one that comes twice as it did the first time. Create it with
// [NewServer].
type Server struct {
	handler peer.Handler
	gossip  Gossip
	log     *slog.Logger
	seen    *memory
}

// NewServer serves requests with h and announcements with g. g and l may be nil.
func NewServer(h peer.Handler, g Gossip, l *slog.Logger) *Server {
	if g == nil {
		g = func(context.Context, peer.Caller, peer.OffersAnnounced) {}
	}
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	return &Server{handler: h, gossip: g, log: l, seen: newMemory()}
}

// Announce hands an announcement on.
func (s *Server) Announce(ctx context.Context, from peer.Caller, a peer.OffersAnnounced) {
	defer func() {
		if p := recover(); p != nil {
			_ = s.panicked(from, a.Kind(), p)
		}
	}()
	s.gossip(ctx, from, a)
}

// Call answers one request. from must be proved. body is the message's written
// form: the same id with another body is refused. until says how long the id
// is remembered.
func (s *Server) Call(ctx context.Context, from peer.Caller, kind string, body []byte, until time.Time) (peer.Message, error) {
	m, err := Decode(kind, body)
	if err != nil {
		return nil, unreadable(err)
	}
	if a, ok := m.(peer.OffersAnnounced); ok {
		s.Announce(ctx, from, a)
		return peer.Ack{}, nil
	}
	if asks(kind) {
		return s.handle(ctx, from, m)
	}
	key := seenKey{from.Node, from.To, from.MessageID}
	content := sha256.Sum256(append([]byte(kind+"\x00"), body...))
	for {
		a, first := s.seen.claim(key, content, until)
		if first {
			reply, err := s.handle(ctx, from, m)
			s.seen.settle(key, a, reply, err)
			return reply, err
		}
		select {
		case <-a.done:
		case <-ctx.Done():
			return nil, peer.Refuse(peer.Busy, "the request is still being handled")
		}
		switch {
		case a.content != content:
			return nil, peer.Refuse(peer.Duplicate, "message id %s was used for another message", from.MessageID)
		case !a.forgotten:
			return a.reply, a.err
		}
	}
}

// Stream answers one request with any number of messages.
func (s *Server) Stream(ctx context.Context, from peer.Caller, kind string, body []byte) iter.Seq2[peer.Message, error] {
	return func(yield func(peer.Message, error) bool) {
		m, err := Decode(kind, body)
		if err != nil {
			yield(nil, unreadable(err))
			return
		}
		for m, err := range s.answers(ctx, from, m) {
			if err != nil {
				yield(nil, s.refusal(from, kind, err))
				return
			}
			if !yield(m, nil) {
				return
			}
		}
	}
}

// answers is the handler's stream. What panics in it is a refusal.
func (s *Server) answers(ctx context.Context, from peer.Caller, m peer.Message) iter.Seq2[peer.Message, error] {
	return func(yield func(peer.Message, error) bool) {
		outside := false // the consumer's panics are its own
		defer func() {
			if outside {
				return
			}
			if p := recover(); p != nil {
				yield(nil, s.panicked(from, m.Kind(), p))
			}
		}()
		for a, err := range s.handler.HandleStream(ctx, from, m) {
			outside = true
			more := yield(a, err)
			outside = false
			if !more {
				return
			}
		}
	}
}

// panicked keeps what a stranger's message broke from breaking the node.
func (s *Server) panicked(from peer.Caller, kind string, p any) error {
	s.log.Error("a request of a peer broke its handler", "peer", from.Node, "kind", kind, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	return peer.Refuse(peer.Internal, "%s could not be handled; the node's log says why", kind)
}

func (s *Server) handle(ctx context.Context, from peer.Caller, m peer.Message) (reply peer.Message, err error) {
	defer func() {
		if p := recover(); p != nil {
			reply, err = nil, s.panicked(from, m.Kind(), p)
		}
	}()
	reply, err = s.handler.HandleCall(ctx, from, m)
	if err != nil {
		return nil, s.refusal(from, m.Kind(), err)
	}
	if reply == nil {
		return peer.Ack{}, nil
	}
	return reply, nil
}

// refusal keeps the inner workings from strangers: what is no refusal is told
// to the log and not to them.
func (s *Server) refusal(from peer.Caller, kind string, err error) error {
	if r := new(peer.Refusal); errors.As(err, &r) {
		return r
	}
	s.log.Warn("a request of a peer failed", "peer", from.Node, "kind", kind, "error", err)
	return peer.Trouble("%s could not be handled; the node's log says why", kind)
}

func unreadable(err error) error {
	if errors.Is(err, ErrUnknownKind) {
		return peer.Refuse(peer.Unsupported, "%v", err)
	}
	return peer.Refuse(peer.BadRequest, "%v", err)
}

// maxSeen bounds how many requests are remembered.
const maxSeen = 1 << 15

type seenKey struct {
	from, to identity.NodeID
	id       string
}

// answer is what a request was told. Its fields but done and content may be
// read after done is closed.
type answer struct {
	done      chan struct{}
	content   [32]byte
	until     time.Time
	reply     peer.Message
	err       error
	forgotten bool // it was no final answer, the next one tries anew
	crowded   bool // there were too many others; it is forgotten when it is there
}

// memory of requests. The oldest go first when there are too many.
type memory struct {
	mu    sync.Mutex
	byKey map[seenKey]*answer
	order []seenKey
}

func newMemory() *memory { return &memory{byKey: make(map[seenKey]*answer)} }

func (m *memory) claim(k seenKey, content [32]byte, until time.Time) (*answer, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a, ok := m.byKey[k]; ok && (a.until.After(time.Now()) || !closed(a.done)) {
		return a, false
	}
	m.trim()
	a := &answer{done: make(chan struct{}), content: content, until: until}
	m.byKey[k] = a
	m.order = append(m.order, k)
	return a, true
}

func (m *memory) settle(k seenKey, a *answer, reply peer.Message, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a.reply, a.err = reply, err
	if r := new(peer.Refusal); errors.As(err, &r) && r.MayPass() {
		a.forgotten = true
	}
	if (a.forgotten || a.crowded) && m.byKey[k] == a {
		delete(m.byKey, k)
	}
	close(a.done)
}

// trim drops what is out of date at the front, and more if there is too much.
func (m *memory) trim() {
	now := time.Now()
	for len(m.order) > 0 {
		k := m.order[0]
		a, ok := m.byKey[k]
		if ok && len(m.order) < maxSeen && (a.until.After(now) || !closed(a.done)) {
			return
		}
		switch {
		case ok && closed(a.done):
			delete(m.byKey, k)
		case ok:
			a.crowded = true
		}
		m.order = m.order[1:]
	}
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
