// Package nettest is what every transport between nodes must do.
package nettest

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/emet-node/emet/adapters/net"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

// Identity is a node id with its key, so that a transport can prove it.
type Identity struct {
	ID  identity.NodeID
	Key *ecdsa.PrivateKey
}

// Host is one node that a test wants.
type Host struct {
	Identities []Identity
	Handler    peer.Handler
	Gossip     net.Gossip
}

// Node is one node that a test got.
type Node struct {
	net.Peer
	// Forge sends m as an identity that is not the node's own, past the check
	// that its own side makes.
	Forge func(ctx context.Context, claimed, to identity.NodeID, m peer.Message) (peer.Message, error)
	// Restart ends the node and starts it again under the same address.
	Restart func() Node
}

// World starts nodes that can reach each other.
type World interface {
	Join(h Host) Node
}

// Person makes the n-th identity; the same number gives the same one.
func Person(n byte) Identity {
	secret := make([]byte, 32)
	secret[0], secret[31] = 1, n
	key, err := crypto.ToECDSA(secret)
	if err != nil {
		panic(err)
	}
	return Identity{ID: identity.NodeIDFrom(crypto.PubkeyToAddress(key.PublicKey)), Key: key}
}

// Handler answers with functions and keeps what it was asked.
type Handler struct {
	OnCall   func(ctx context.Context, from peer.Caller, m peer.Message) (peer.Message, error)
	OnStream func(ctx context.Context, from peer.Caller, m peer.Message, yield func(peer.Message, error) bool)

	mu   sync.Mutex
	seen []peer.Caller
}

// HandleCall implements [peer.Handler].
func (h *Handler) HandleCall(ctx context.Context, from peer.Caller, m peer.Message) (peer.Message, error) {
	switch m.(type) {
	case peer.ListOffers:
		if h.OnCall != nil {
			if a, err := h.OnCall(ctx, from, m); err == nil && a.Kind() == (peer.OffersAnnounced{}).Kind() {
				return a, nil
			}
		}
		return peer.OffersAnnounced{}, nil
	}
	h.mu.Lock()
	h.seen = append(h.seen, from)
	h.mu.Unlock()
	if h.OnCall == nil {
		return peer.Ack{}, nil
	}
	return h.OnCall(ctx, from, m)
}

// HandleStream implements [peer.Handler].
func (h *Handler) HandleStream(ctx context.Context, from peer.Caller, m peer.Message) iter.Seq2[peer.Message, error] {
	return func(yield func(peer.Message, error) bool) {
		if h.OnStream == nil {
			yield(nil, peer.Refuse(peer.Unsupported, "no streams here"))
			return
		}
		h.OnStream(ctx, from, m, yield)
	}
}

// Seen are the callers so far, without those that listed offers.
func (h *Handler) Seen() []peer.Caller {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]peer.Caller(nil), h.seen...)
}

var (
	alice, bob, carol, dave = Person(1), Person(2), Person(3), Person(4)
	state                   = peer.ActivityState{State: "Ready"}
	question                = peer.GetActivityState{ActivityID: "a1"}
)

// patience bounds each wait of the suite, also on a busy machine. Calls take
// [net.CallTimeout] at most all the same.
const patience = 2 * time.Minute

// Run tests a transport.
func Run(t *testing.T, open func(t *testing.T) World) {
	for name, test := range map[string]func(*testing.T, World){
		"call": call, "refusal": refusal, "internal error": internalError, "unknown peer": unknownPeer,
		"forged caller": forgedCaller, "foreign identity": foreignIdentity, "stream": stream, "stream fails": streamFails,
		"cancel of a stream": cancelStream, "cancel of a call": cancelCall, "big message": bigMessage,
		"broadcast": broadcast, "late joiner": lateJoiner, "two identities on one host": twoIdentities,
		"restart": restart, "same message twice": twice, "many at once": many, "features": features,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func answering(m peer.Message, err error) *Handler {
	return &Handler{OnCall: func(context.Context, peer.Caller, peer.Message) (peer.Message, error) { return m, err }}
}

func host(h peer.Handler, who ...Identity) Host { return Host{Identities: who, Handler: h} }

func call(t *testing.T, w World) {
	h := answering(state, nil)
	a, _ := w.Join(host(&Handler{}, alice)), w.Join(host(h, bob))
	got, err := a.Call(bounded(t), alice.ID, bob.ID, question)
	if err != nil || got != peer.Message(state) {
		t.Fatalf("answer %v, %v", got, err)
	}
	seen := h.Seen()
	if len(seen) != 1 || seen[0].Node != alice.ID || seen[0].To != bob.ID || seen[0].MessageID == "" || len(seen[0].Raw) == 0 || seen[0].Via == "" {
		t.Fatalf("the handler saw %+v", seen)
	}
	if d := time.Since(seen[0].SentAt); d < -time.Second || d > patience {
		t.Fatalf("sent at %s", seen[0].SentAt)
	}
}

func refusal(t *testing.T, w World) {
	no := &peer.Refusal{Code: peer.InvalidState, State: "Terminated", Text: "over", RetryAfter: time.Second}
	a, _ := w.Join(host(&Handler{}, alice)), w.Join(host(answering(nil, fmt.Errorf("wrapped: %w", no)), bob))
	_, err := a.Call(bounded(t), alice.ID, bob.ID, question)
	if r := new(peer.Refusal); !errors.As(err, &r) || *r != *no {
		t.Fatalf("refused with %v, want %v", err, no)
	}
}

func internalError(t *testing.T, w World) {
	a, _ := w.Join(host(&Handler{}, alice)), w.Join(host(answering(nil, errors.New("password is sesame")), bob))
	_, err := a.Call(bounded(t), alice.ID, bob.ID, question)
	if r := new(peer.Refusal); !errors.As(err, &r) || r.Code != peer.Internal || !r.Passing() || strings.Contains(r.Text, "sesame") {
		t.Fatalf("refused with %v", err)
	}
}

func unknownPeer(t *testing.T, w World) {
	a, _ := w.Join(host(&Handler{}, alice)), w.Join(host(&Handler{}, bob))
	if _, err := a.Call(bounded(t), alice.ID, carol.ID, question); !errors.Is(err, peer.ErrUnreachable) {
		t.Fatalf("call of nobody: %v", err)
	}
	for _, err := range a.Stream(bounded(t), alice.ID, carol.ID, peer.FollowBatch{}) {
		if !errors.Is(err, peer.ErrUnreachable) {
			t.Fatalf("stream of nobody: %v", err)
		}
	}
}

func forgedCaller(t *testing.T, w World) {
	h := &Handler{}
	a, b, _ := w.Join(host(&Handler{}, alice)), w.Join(host(h, bob)), w.Join(host(&Handler{}, carol))
	if _, err := a.Call(bounded(t), alice.ID, bob.ID, question); err != nil {
		t.Fatal(err)
	}
	_, err := a.Forge(bounded(t), carol.ID, bob.ID, question)
	if r := new(peer.Refusal); !errors.As(err, &r) || r.Code != peer.Forbidden {
		t.Fatalf("a forged caller got %v", err)
	}
	if _, err := b.Forge(bounded(t), bob.ID, alice.ID, question); err != nil {
		t.Fatalf("the same path with the own identity: %v", err)
	}
	if seen := h.Seen(); len(seen) != 1 {
		t.Fatalf("the handler saw %+v", seen)
	}
}

func foreignIdentity(t *testing.T, w World) {
	a, _ := w.Join(host(&Handler{}, alice)), w.Join(host(&Handler{}, bob))
	if _, err := a.Call(bounded(t), carol.ID, bob.ID, question); !errors.Is(err, net.ErrNotOurs) {
		t.Fatalf("call as another: %v", err)
	}
	if err := a.Broadcast(bounded(t), carol.ID, peer.OffersAnnounced{}); !errors.Is(err, net.ErrNotOurs) {
		t.Fatalf("broadcast as another: %v", err)
	}
}

func event(seq int64) peer.BatchEvent {
	return peer.BatchEvent{Fact: []byte(fmt.Sprintf(`{"i":%d}`, seq)), Seq: seq, Type: "batch.command_output.v1"}
}

func stream(t *testing.T, w World) {
	h := &Handler{OnStream: func(_ context.Context, _ peer.Caller, m peer.Message, yield func(peer.Message, error) bool) {
		for i := m.(peer.FollowBatch).After + 1; i < 300; i++ {
			if !yield(event(i), nil) {
				return
			}
		}
	}}
	a, _ := w.Join(host(&Handler{}, alice)), w.Join(host(h, bob))
	next := int64(10)
	for m, err := range a.Stream(bounded(t), alice.ID, bob.ID, peer.FollowBatch{After: 9}) {
		if err != nil {
			t.Fatal(err)
		}
		if e := m.(peer.BatchEvent); e.Seq != next || string(e.Fact) != string(event(next).Fact) {
			t.Fatalf("got %+v, want %d", e, next)
		}
		next++
	}
	if next != 300 {
		t.Fatalf("the stream ended at %d", next)
	}
}

func streamFails(t *testing.T, w World) {
	h := &Handler{OnStream: func(_ context.Context, _ peer.Caller, _ peer.Message, yield func(peer.Message, error) bool) {
		if yield(event(0), nil) {
			yield(nil, peer.Refuse(peer.NotFound, "gone"))
		}
	}}
	a, _ := w.Join(host(&Handler{}, alice)), w.Join(host(h, bob))
	var got int
	var last error
	for _, err := range a.Stream(bounded(t), alice.ID, bob.ID, peer.FollowBatch{}) {
		got, last = got+1, err
	}
	if r := new(peer.Refusal); got != 2 || !errors.As(last, &r) || r.Code != peer.NotFound {
		t.Fatalf("%d elements, the last is %v", got, last)
	}
}

func cancelStream(t *testing.T, w World) {
	ended := make(chan struct{})
	h := &Handler{OnStream: func(ctx context.Context, _ peer.Caller, _ peer.Message, yield func(peer.Message, error) bool) {
		defer close(ended)
		yield(event(0), nil)
		<-ctx.Done()
	}}
	a, _ := w.Join(host(&Handler{}, alice)), w.Join(host(h, bob))
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	var last error
	for _, err := range a.Stream(ctx, alice.ID, bob.ID, peer.FollowBatch{}) {
		last = err
		cancel()
	}
	if !errors.Is(last, context.Canceled) {
		t.Fatalf("the stream ended with %v", last)
	}
	await(t, ended, "the handler to hear of the cancellation")
}

func cancelCall(t *testing.T, w World) {
	began, ended := make(chan struct{}), make(chan struct{})
	h := &Handler{OnCall: func(ctx context.Context, _ peer.Caller, m peer.Message) (peer.Message, error) {
		if _, ok := m.(peer.ListOffers); ok {
			return peer.OffersAnnounced{}, nil
		}
		close(began)
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}}
	a, _ := w.Join(host(&Handler{}, alice)), w.Join(host(h, bob))
	ctx, cancel := context.WithCancel(bounded(t))
	go func() {
		<-began
		cancel()
	}()
	if _, err := a.Call(ctx, alice.ID, bob.ID, question); !errors.Is(err, peer.ErrNoAnswer) || !errors.Is(err, context.Canceled) {
		t.Fatalf("a cancelled call: %v", err)
	}
	await(t, ended, "the handler to hear of the cancellation")
}

func await(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
}

func bigMessage(t *testing.T, w World) {
	h := &Handler{}
	a, _ := w.Join(host(&Handler{}, alice)), w.Join(host(h, bob))
	big := peer.InvoiceRejected{Rejection: strings.Repeat("x", 64<<10)}
	if _, err := a.Call(bounded(t), alice.ID, bob.ID, big); !errors.Is(err, net.ErrTooLarge) {
		t.Fatalf("too big a message: %v", err)
	}
	big.Rejection = big.Rejection[:60<<10]
	if _, err := a.Call(bounded(t), alice.ID, bob.ID, big); err != nil {
		t.Fatalf("a big message: %v", err)
	}
	if len(h.Seen()) != 1 {
		t.Fatalf("the handler saw %d messages", len(h.Seen()))
	}
}

// heard collects announcements by offer id.
type heard struct {
	mu   sync.Mutex
	by   map[string]peer.Caller
	news chan struct{}
}

func ears() *heard { return &heard{by: make(map[string]peer.Caller), news: make(chan struct{}, 1)} }

func (h *heard) hear(_ context.Context, from peer.Caller, a peer.OffersAnnounced) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range a.Offers {
		h.by[o.ID] = from
	}
	select {
	case h.news <- struct{}{}:
	default:
	}
}

func (h *heard) await(t *testing.T, id string) peer.Caller {
	t.Helper()
	deadline := time.After(patience)
	for {
		h.mu.Lock()
		c, ok := h.by[id]
		h.mu.Unlock()
		if ok {
			return c
		}
		select {
		case <-h.news:
		case <-deadline:
			t.Fatalf("offer %s was never heard of", id)
		}
	}
}

func offer(id string, of Identity) peer.OffersAnnounced {
	return peer.OffersAnnounced{Offers: []peer.OfferDigest{{ID: id, Provider: of.ID, Expires: time.Now().Add(time.Hour).UTC()}}}
}

func broadcast(t *testing.T, w World) {
	a := w.Join(host(&Handler{}, alice))
	var all []*heard
	for _, who := range []Identity{bob, carol, dave} {
		e := ears()
		w.Join(Host{Identities: []Identity{who}, Handler: &Handler{}, Gossip: e.hear})
		all = append(all, e)
	}
	if err := a.Broadcast(bounded(t), alice.ID, offer("o1", alice)); err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if from := e.await(t, "o1"); from.Node != alice.ID {
			t.Fatalf("heard from %s", from.Node)
		}
	}
}

func lateJoiner(t *testing.T, w World) {
	w.Join(host(answering(offer("old", alice), nil), alice))
	e := ears()
	b := w.Join(Host{Identities: []Identity{bob}, Handler: &Handler{}, Gossip: e.hear})
	from := e.await(t, "old")
	if from.Node != alice.ID {
		t.Fatalf("heard from %s", from.Node)
	}
	if _, err := b.Call(bounded(t), bob.ID, from.Node, peer.GetOffers{IDs: []string{"old"}}); err != nil {
		t.Fatalf("who told of an offer cannot be asked for it: %v", err)
	}
}

func twoIdentities(t *testing.T, w World) {
	h := &Handler{OnCall: func(_ context.Context, from peer.Caller, m peer.Message) (peer.Message, error) {
		return peer.ActivityState{State: string(from.To)}, nil
	}}
	a, b := w.Join(host(&Handler{}, alice)), w.Join(host(h, bob, carol))
	for _, to := range []Identity{bob, carol} {
		m, err := a.Call(bounded(t), alice.ID, to.ID, question)
		if err != nil || m.(peer.ActivityState).State != string(to.ID) {
			t.Fatalf("%s answered %v, %v", to.ID, m, err)
		}
	}
	for _, from := range []Identity{bob, carol} {
		if _, err := b.Call(bounded(t), from.ID, alice.ID, question); err != nil {
			t.Fatalf("call as %s: %v", from.ID, err)
		}
	}
}

func restart(t *testing.T, w World) {
	h := &Handler{}
	a, b := w.Join(host(&Handler{}, alice)), w.Join(host(h, bob))
	if _, err := a.Call(bounded(t), alice.ID, bob.ID, question); err != nil {
		t.Fatal(err)
	}
	b.Restart()
	ctx := bounded(t)
	for {
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := a.Call(short, alice.ID, bob.ID, question)
		cancel()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("not reached after its restart: %v", err)
		}
	}
}

func twice(t *testing.T, w World) {
	var n int
	h := &Handler{}
	h.OnCall = func(_ context.Context, _ peer.Caller, m peer.Message) (peer.Message, error) {
		if _, ok := m.(peer.Exec); ok {
			n++
		}
		return peer.ActivityCreated{ActivityID: fmt.Sprint(n)}, nil
	}
	a, _ := w.Join(host(&Handler{}, alice)), w.Join(host(h, bob))
	ctx := net.WithMessageID(bounded(t), "intent-1")
	for range 2 {
		got, err := a.Call(ctx, alice.ID, bob.ID, peer.Exec{Script: "[]"})
		if err != nil || got != peer.Message(peer.ActivityCreated{ActivityID: "1"}) {
			t.Fatalf("answer %v, %v", got, err)
		}
	}
	_, err := a.Call(ctx, alice.ID, bob.ID, peer.Exec{Script: "[1]"})
	if r := new(peer.Refusal); !errors.As(err, &r) || r.Code != peer.Duplicate {
		t.Fatalf("another message under the same id: %v", err)
	}
}

func many(t *testing.T, w World) {
	h := &Handler{OnCall: func(_ context.Context, _ peer.Caller, m peer.Message) (peer.Message, error) {
		if q, ok := m.(peer.GetActivityState); ok {
			return peer.ActivityState{State: q.ActivityID}, nil
		}
		return peer.Ack{}, nil
	}}
	a, b := w.Join(host(h, alice)), w.Join(host(h, bob))
	var wg sync.WaitGroup
	for i := range 40 {
		ask := func(n Node, from, to Identity) {
			want := peer.ActivityState{State: fmt.Sprint(i)}
			got, err := n.Call(bounded(t), from.ID, to.ID, peer.GetActivityState{ActivityID: want.State})
			if err != nil || got != peer.Message(want) {
				t.Errorf("answer %v, %v, want %v", got, err, want)
			}
		}
		wg.Go(func() { ask(a, alice, bob) })
		wg.Go(func() { ask(b, bob, alice) })
	}
	wg.Wait()
}

func features(t *testing.T, w World) {
	a, _ := w.Join(host(&Handler{}, alice)), w.Join(host(&Handler{}, bob))
	if _, err := a.Call(bounded(t), alice.ID, bob.ID, question); err != nil {
		t.Fatal(err)
	}
	if got := a.Features(bob.ID); len(got) == 0 || got[0] != net.AllFeatures()[0] {
		t.Fatalf("features %v", got)
	}
	if got := a.Features(carol.ID); got != nil {
		t.Fatalf("features of one never met: %v", got)
	}
	if s := a.Status(); s.Transport == "" || len(s.Peers) != 1 || len(s.Peers[0].Nodes) != 1 || s.Peers[0].Nodes[0] != bob.ID {
		t.Fatalf("status %+v", s)
	}
}
