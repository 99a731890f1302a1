package libp2p

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ethcrypto "github.com/ethereum/go-ethereum/crypto"
	"github.com/libp2p/go-libp2p/core/network"

	"github.com/emet-node/emet/adapters/net"
	"github.com/emet-node/emet/adapters/net/nettest"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/delegation"
	"github.com/emet-node/emet/domain/peer"
)

// world is hosts on the loopback interface, each connected to those before it.
type world struct {
	t      testing.TB
	listen []string
	mu     sync.Mutex
	nodes  []*Net
}

var both = []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"}

func newHostKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func delegate(t testing.TB, who nettest.Identity, host ed25519.PrivateKey, change func(*delegation.Document)) peer.Delegation {
	t.Helper()
	public, subject, err := HostID(host)
	if err != nil {
		t.Fatal(err)
	}
	doc := delegation.Document{
		Identity: who.ID, NotBefore: time.Now().Unix(), NotAfter: time.Now().Add(time.Hour).Unix(),
		PublicKey: public, Role: delegation.Host, Subject: subject,
	}
	if change != nil {
		change(&doc)
	}
	text, err := doc.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	digest := doc.Digest(ethcrypto.Keccak256)
	sig, err := ethcrypto.Sign(digest[:], who.Key)
	if err != nil {
		t.Fatal(err)
	}
	return peer.Delegation{Document: string(text), Signature: sig}
}

func (w *world) Join(h nettest.Host) nettest.Node {
	w.t.Helper()
	key := newHostKey(w.t)
	var ds []peer.Delegation
	for _, i := range h.Identities {
		ds = append(ds, delegate(w.t, i, key, nil))
	}
	return w.start(Config{
		Network: "test", HostKey: key, Listen: w.listen, Delegations: func() []peer.Delegation { return ds },
		Handler: h.Handler, Gossip: h.Gossip, Version: "test",
	})
}

func (w *world) start(cfg Config) nettest.Node {
	w.t.Helper()
	n, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { n.Close() })
	w.mu.Lock()
	others := slices.Clone(w.nodes)
	w.nodes = append(w.nodes, n)
	w.mu.Unlock()
	for _, o := range others {
		if err := n.Connect(w.t.Context(), o.Addrs()[0]); err != nil {
			w.t.Fatal(err)
		}
	}
	return nettest.Node{
		Peer: n,
		Forge: func(ctx context.Context, claimed, to identity.NodeID, m peer.Message) (peer.Message, error) {
			body, err := net.Encode(m)
			if err != nil {
				return nil, err
			}
			return n.call(ctx, claimed, to, m.Kind(), body)
		},
		Restart: func() nettest.Node {
			again := cfg
			again.Listen = nil
			for _, a := range n.host.Network().ListenAddresses() {
				again.Listen = append(again.Listen, a.String())
			}
			if err := n.Close(); err != nil {
				w.t.Error(err)
			}
			w.mu.Lock()
			w.nodes = nil // it waits to be found
			w.mu.Unlock()
			return w.start(again)
		},
	}
}

func TestQUICAndTCP(t *testing.T) {
	t.Parallel()
	nettest.Run(t, func(t *testing.T) nettest.World { return &world{t: t, listen: both} })
}

func TestTCPAlone(t *testing.T) {
	t.Parallel()
	nettest.Run(t, func(t *testing.T) nettest.World { return &world{t: t, listen: both[1:]} })
}

var alice, bob, carol = nettest.Person(1), nettest.Person(2), nettest.Person(3)

func twoHosts(t *testing.T, h peer.Handler) (a, b *Net) {
	t.Helper()
	w := &world{t: t, listen: both}
	x := w.Join(nettest.Host{Identities: []nettest.Identity{alice}, Handler: &nettest.Handler{}})
	y := w.Join(nettest.Host{Identities: []nettest.Identity{bob}, Handler: h})
	return x.Peer.(*Net), y.Peer.(*Net)
}

// Each of these delegations must give its host no identity.
func TestADelegationMustBindTheHost(t *testing.T) {
	t.Parallel()
	key := newHostKey(t)
	other := newHostKey(t)
	host := func() *Net { a, _ := twoHosts(t, &nettest.Handler{}); return a }()
	good := delegate(t, carol, key, nil)
	stolen := delegate(t, carol, other, nil)
	for name, d := range map[string]peer.Delegation{
		"of another host": stolen,
		"expired":         delegate(t, carol, key, func(d *delegation.Document) { d.NotBefore -= 7200; d.NotAfter -= 7200 }),
		"not yet":         delegate(t, carol, key, func(d *delegation.Document) { d.NotBefore += 3600; d.NotAfter += 7200 }),
		"other role":      delegate(t, carol, key, func(d *delegation.Document) { d.Role = delegation.Log }),
		"other identity":  delegate(t, carol, key, func(d *delegation.Document) { d.Identity = alice.ID }),
		"short signature": {Document: good.Document, Signature: good.Signature[:64]},
		"v 27":            {Document: good.Document, Signature: append(slices.Clone(good.Signature[:64]), good.Signature[64]+27)},
		"spelling":        {Document: good.Document + " ", Signature: good.Signature},
		"nothing":         {},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := New(Config{
				Network: "test", HostKey: key, Listen: both, Delegations: func() []peer.Delegation { return nil }, Handler: &nettest.Handler{},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			me := *n.mine.Load() // says what its own check would keep back
			me.hello.Delegations = []peer.Delegation{d}
			me.byNode = map[identity.NodeID]peer.Delegation{carol.ID: d, alice.ID: d}
			n.mine.Store(&me)
			if err := n.Connect(t.Context(), host.Addrs()[0]); err != nil {
				t.Fatal(err)
			}
			for _, as := range []identity.NodeID{carol.ID, alice.ID} {
				_, err := n.Call(t.Context(), as, alice.ID, peer.GetActivityState{})
				if as == alice.ID && errors.Is(err, peer.ErrUnreachable) {
					continue
				}
				if r := new(peer.Refusal); !errors.As(err, &r) || r.Code != peer.Forbidden {
					t.Errorf("as %s: %v", as, err)
				}
			}
		})
	}
	if _, err := prove(host.host.ID(), good); !errors.Is(err, errProof) {
		t.Errorf("a good delegation counts for any host: %v", err)
	}
}

// raw sends bytes as one frame and returns what comes back.
func raw(t *testing.T, n *Net, to *Net, service string, frame []byte) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	st, err := n.host.NewStream(ctx, to.host.ID(), n.protocol(service))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Reset()                            //nolint:errcheck // a test
	st.SetDeadline(time.Now().Add(time.Minute)) //nolint:errcheck // a test
	if err := writeFrame(st, frame); err != nil {
		return nil, err
	}
	return readFrame(bufio.NewReader(st), 1<<20, nil)
}

func signed(t *testing.T, n *Net, e net.Envelope) []byte {
	t.Helper()
	b, err := e.Marshal(func(d []byte) ([]byte, error) { return ed25519.Sign(n.cfg.HostKey, d), nil })
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Frames that no honest host sends never reach the handler.
func TestHostileFrames(t *testing.T) {
	t.Parallel()
	h := &nettest.Handler{}
	a, b := twoHosts(t, h)
	if _, err := a.Call(t.Context(), alice.ID, bob.ID, peer.Exec{}); err != nil {
		t.Fatal(err)
	}
	fresh := func(change func(*net.Envelope)) []byte {
		e := a.envelope(net.WithMessageID(t.Context(), "x"), alice.ID, bob.ID, peer.Exec{}.Kind(), []byte("{}"))
		if change != nil {
			change(&e)
		}
		return signed(t, a, e)
	}
	unsigned, err := a.envelope(t.Context(), alice.ID, bob.ID, peer.Exec{}.Kind(), []byte("{}")).Marshal(nil)
	if err != nil {
		t.Fatal(err)
	}
	flipped := fresh(nil)
	flipped[20] ^= 1
	for name, frame := range map[string][]byte{
		"empty":           {},
		"noise":           []byte("GET / HTTP/1.1\r\n\r\n"),
		"unsigned":        unsigned,
		"changed":         flipped,
		"by another host": signed(t, b, a.envelope(t.Context(), alice.ID, bob.ID, peer.Exec{}.Kind(), []byte("{}"))),
		"other network":   fresh(func(e *net.Envelope) { e.Network = "main" }),
		"other service":   fresh(func(e *net.Envelope) { e.Kind = peer.DebitNote{}.Kind() }),
		"too big":         fresh(func(e *net.Envelope) { e.Body = bytes.Repeat([]byte("x"), 1<<20+2048) }),
	} {
		if reply, err := raw(t, a, b, "activity", frame); err == nil {
			t.Errorf("%s: answered with %d bytes", name, len(reply))
		}
	}
	for name, change := range map[string]func(*net.Envelope){
		"expired":      func(e *net.Envelope) { e.SentAt = e.SentAt.Add(-time.Hour); e.Expires = e.SentAt.Add(time.Second) },
		"future":       func(e *net.Envelope) { e.SentAt = e.SentAt.Add(time.Hour) },
		"eternal":      func(e *net.Envelope) { e.Expires = e.SentAt.Add(100 * time.Hour) },
		"no sender":    func(e *net.Envelope) { e.From = "" },
		"forged":       func(e *net.Envelope) { e.From = carol.ID },
		"not for them": func(e *net.Envelope) { e.To = carol.ID },
		"unknown kind": func(e *net.Envelope) { e.Kind = "activity.nonsense" },
		"bad body":     func(e *net.Envelope) { e.Body = []byte("{") },
	} {
		frame, err := raw(t, a, b, "activity", fresh(change))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if e, _, err := net.ParseEnvelope(frame); err != nil || e.Kind != net.KindRefusal && e.Kind != net.KindHello {
			t.Errorf("%s: answered with %s %s (%v)", name, e.Kind, e.Body, err)
		}
	}
	if len(h.Seen()) != 1 {
		t.Fatalf("the handler saw %d requests", len(h.Seen()))
	}
}

func TestAnEnvelopeCountsOnce(t *testing.T) {
	t.Parallel()
	h := &nettest.Handler{}
	a, b := twoHosts(t, h)
	if _, err := a.Call(t.Context(), alice.ID, bob.ID, peer.GetActivityState{}); err != nil {
		t.Fatal(err)
	}
	frame := signed(t, a, a.envelope(t.Context(), alice.ID, bob.ID, peer.Exec{}.Kind(), []byte("{}")))
	for range 3 {
		reply, err := raw(t, a, b, "activity", frame)
		if err != nil {
			t.Fatal(err)
		}
		if e, _, err := net.ParseEnvelope(reply); err != nil || e.Kind != (peer.Ack{}).Kind() {
			t.Fatalf("answered with %s %s, %v", e.Kind, e.Body, err)
		}
	}
	if seen := h.Seen(); len(seen) != 2 || !bytes.Equal(seen[1].Raw, frame) {
		t.Fatalf("the handler saw %d requests, want the envelope once and as it was sent", len(seen))
	}
}

func TestTooManyMessagesAreRefused(t *testing.T) {
	t.Parallel()
	w := &world{t: t, listen: both}
	a := w.Join(nettest.Host{Identities: []nettest.Identity{alice}, Handler: &nettest.Handler{}})
	key := newHostKey(t)
	h := &nettest.Handler{}
	w.start(Config{
		Network: "test", HostKey: key, Listen: both, Handler: h, Limits: Limits{MessagesRate: 0.01, MessageBurst: 20},
		Delegations: func() []peer.Delegation { return []peer.Delegation{delegate(t, bob, key, nil)} },
	})
	var refused *peer.Refusal
	for range 30 {
		if _, err := a.Call(t.Context(), alice.ID, bob.ID, peer.Exec{}); err != nil && !errors.As(err, &refused) {
			t.Fatal(err)
		}
	}
	if refused == nil || refused.Code != peer.Busy || refused.RetryAfter <= 0 || len(h.Seen()) > 20 {
		t.Fatalf("%v after %d", refused, len(h.Seen()))
	}
}

// A node that is known only to a third one is found through it.
func TestANodeIsFoundThroughOthers(t *testing.T) {
	t.Parallel()
	hub := &world{t: t, listen: both}
	h := hub.Join(nettest.Host{Identities: []nettest.Identity{carol}, Handler: &nettest.Handler{}})
	addr := h.Peer.(*Net).Addrs()[0]
	join := func(who nettest.Identity) *Net {
		n := (&world{t: t, listen: both}).Join(nettest.Host{Identities: []nettest.Identity{who}, Handler: &nettest.Handler{}}).Peer.(*Net)
		if err := n.Connect(t.Context(), addr); err != nil {
			t.Fatal(err)
		}
		return n
	}
	a, b := join(alice), join(bob)
	if _, err := b.Call(t.Context(), bob.ID, carol.ID, peer.Exec{}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Call(t.Context(), alice.ID, bob.ID, peer.Exec{}); err != nil {
		t.Fatalf("alice knows carol, carol knows bob: %v", err)
	}
	if c := a.host.Network().Connectedness(b.host.ID()); c != network.Connected {
		t.Fatalf("alice and bob are %s", c)
	}
}

func TestAnUnlockedIdentityIsAnnounced(t *testing.T) {
	t.Parallel()
	w := &world{t: t, listen: both}
	a := w.Join(nettest.Host{Identities: []nettest.Identity{alice}, Handler: &nettest.Handler{}})
	key := newHostKey(t)
	var mu sync.Mutex
	var ds []peer.Delegation
	b := w.start(Config{
		Network: "test", HostKey: key, Listen: both, Handler: &nettest.Handler{},
		Delegations: func() []peer.Delegation { mu.Lock(); defer mu.Unlock(); return ds },
	}).Peer.(*Net)
	if _, err := a.Call(t.Context(), alice.ID, bob.ID, peer.Exec{}); !errors.Is(err, peer.ErrUnreachable) {
		t.Fatalf("a locked identity: %v", err)
	}
	mu.Lock()
	ds = append(ds, delegate(t, bob, key, nil))
	mu.Unlock()
	b.Refresh(t.Context())
	if _, err := a.Call(t.Context(), alice.ID, bob.ID, peer.Exec{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Call(t.Context(), bob.ID, alice.ID, peer.Exec{}); err != nil {
		t.Fatal(err)
	}
}

func TestBadAnnouncementsAreNotHeard(t *testing.T) {
	t.Parallel()
	a, b := twoHosts(t, &nettest.Handler{})
	d := a.mine.Load().byNode[alice.ID]
	offer := func(life time.Duration) peer.OffersAnnounced {
		return peer.OffersAnnounced{Offers: []peer.OfferDigest{{ID: "o", Provider: alice.ID, Expires: time.Now().Add(life)}}}
	}
	hear := func(x announcement) (heard, error) {
		data, err := es.CanonicalJSON(x)
		if err != nil {
			t.Fatal(err)
		}
		h, _, err := b.hear(a.host.ID(), data)
		return h, err
	}
	if h, err := hear(announcement{Announced: offer(time.Hour), Delegation: d, SentAt: time.Now()}); err != nil || h.from.Node != alice.ID || len(h.announced.Offers) != 1 {
		t.Fatalf("%+v %v", h, err)
	}
	if h, err := hear(announcement{Announced: offer(-time.Hour), Delegation: d, SentAt: time.Now()}); err != nil || len(h.announced.Offers) != 0 {
		t.Errorf("an expired offer: %+v %v", h, err)
	}
	for name, x := range map[string]announcement{
		"lives too long": {Announced: offer(48 * time.Hour), Delegation: d, SentAt: time.Now()},
		"old":            {Announced: offer(time.Hour), Delegation: d, SentAt: time.Now().Add(-time.Hour)},
		"future":         {Announced: offer(time.Hour), Delegation: d, SentAt: time.Now().Add(time.Hour)},
		"of another":     {Announced: offer(time.Hour), Delegation: b.mine.Load().byNode[bob.ID], SentAt: time.Now()},
		"unproved":       {Announced: offer(time.Hour), SentAt: time.Now()},
		"too many":       {Announced: peer.OffersAnnounced{Offers: make([]peer.OfferDigest, maxPerMessage+1)}, Delegation: d, SentAt: time.Now()},
	} {
		if h, err := hear(x); err == nil {
			t.Errorf("%s: heard %+v", name, h)
		}
	}
}

func TestManyOffersFitIntoMessages(t *testing.T) {
	t.Parallel()
	a, _ := twoHosts(t, &nettest.Handler{})
	var m peer.OffersAnnounced
	for range 60 {
		id := strings.Repeat("a", 32) + "-" + strings.Repeat("b", 64)
		m.Offers = append(m.Offers, peer.OfferDigest{ID: id, Provider: alice.ID, Expires: time.Now().Add(time.Hour)})
		m.Withdrawn = append(m.Withdrawn, peer.Withdrawal{ID: id, Provider: alice.ID, Signature: "emet1:" + strings.Repeat("c", 130)})
	}
	if err := a.Broadcast(t.Context(), alice.ID, m); err != nil {
		t.Fatal(err)
	}
}

func TestConfigSaysEverythingAtOnce(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Listen: []string{"localhost"}, Bootstrap: []string{"/ip4/127.0.0.1/tcp/1"}})
	for _, want := range []string{"network name", "host key", "handler", `"localhost"`, "/p2p/"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not speak of %s", err, want)
		}
	}
}

func TestBootstrapNodesAreDialled(t *testing.T) {
	t.Parallel()
	a := (&world{t: t, listen: both}).Join(nettest.Host{Identities: []nettest.Identity{alice}, Handler: &nettest.Handler{}})
	key := newHostKey(t)
	met := make(chan identity.NodeID, 8)
	(&world{t: t}).start(Config{
		Network: "test", HostKey: key, Bootstrap: a.Peer.(*Net).Addrs()[1:2], Handler: &nettest.Handler{},
		Delegations: func() []peer.Delegation { return []peer.Delegation{delegate(t, bob, key, nil)} },
		Met:         func(id identity.NodeID, _ peer.Hello) { met <- id },
	})
	select {
	case id := <-met:
		if id != alice.ID {
			t.Fatalf("met %s", id)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("the bootstrap node was not met")
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{3, 1, 2, 3})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := readFrame(bufio.NewReader(bytes.NewReader(in)), 1<<20, nil)
		if err == nil && (len(b) == 0 || !bytes.Contains(in, b)) {
			t.Fatalf("%x became %x", in, b)
		}
	})
}

func BenchmarkCall(b *testing.B) {
	for name, listen := range map[string][]string{"quic": both[:1], "tcp": both[1:]} {
		b.Run(name, func(b *testing.B) {
			w := &world{t: b, listen: listen}
			limits := Limits{MessagesRate: 1e9, MessageBurst: 1e9, BytesRate: 1e12}
			join := func(who nettest.Identity) *Net {
				key := newHostKey(b)
				return w.start(Config{
					Network: "test", HostKey: key, Listen: listen, Handler: &nettest.Handler{}, Limits: limits,
					Delegations: func() []peer.Delegation { return []peer.Delegation{delegate(b, who, key, nil)} },
				}).Peer.(*Net)
			}
			x, _ := join(alice), join(bob)
			call := func() {
				if _, err := x.Call(b.Context(), alice.ID, bob.ID, peer.GetActivityState{}); err != nil {
					b.Fatal(err)
				}
			}
			call()
			for b.Loop() {
				call()
			}
		})
	}
}
