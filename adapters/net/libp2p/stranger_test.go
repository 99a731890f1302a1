package libp2p

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	ethcrypto "github.com/ethereum/go-ethereum/crypto"
	"github.com/multiformats/go-multiaddr"

	"github.com/emet-node/emet/adapters/net"
	"github.com/emet-node/emet/adapters/net/nettest"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

// kept counts what a host keeps of another one.
func kept(n *Net, of *Net) (pairs, listed, nodes int) {
	s := n.session(of.host.ID())
	s.mu.Lock()
	pairs, listed = len(s.pairs), len(s.listed)
	s.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.known.nodes {
		if p.host == of.host.ID() {
			nodes++
		}
	}
	return pairs, listed, nodes
}

// Envelopes of nodes that the host has not proved, or to nodes that are not
// here, leave nothing behind.
func TestNothingIsKeptOfWhomAHostCannotProve(t *testing.T) {
	t.Parallel()
	a, b := twoHosts(t, &nettest.Handler{})
	if _, err := a.Call(t.Context(), alice.ID, bob.ID, peer.GetActivityState{}); err != nil {
		t.Fatal(err)
	}
	before, _, _ := kept(b, a)
	for i := range 300 { // beyond the burst too: those that are refused as busy
		from, to := identity.NodeID(fmt.Sprintf("0x%040x", i)), identity.NodeID(fmt.Sprintf("0x%040x", 1000+i))
		e := a.envelope(t.Context(), from, to, peer.GetActivityState{}.Kind(), []byte("{}"))
		if _, err := raw(t, a, b, "activity", signed(t, a, e)); err != nil {
			t.Fatal(err)
		}
	}
	if after, _, _ := kept(b, a); after != before {
		t.Fatalf("%d pairs of nodes are counted, before it were %d", after, before)
	}
}

func person(t *testing.T, i int) nettest.Identity {
	t.Helper()
	key, err := ethcrypto.ToECDSA(ethcrypto.Keccak256(fmt.Appendf(nil, "person %d", i)))
	if err != nil {
		t.Fatal(err)
	}
	return nettest.Identity{ID: identity.NodeIDFrom(ethcrypto.PubkeyToAddress(key.PublicKey)), Key: key}
}

// A host speaks for those that it names in its last Hello.
func TestAHostIsRememberedForThoseItSpeaksFor(t *testing.T) {
	t.Parallel()
	w := &world{t: t, listen: both}
	b := w.Join(nettest.Host{Identities: []nettest.Identity{bob}, Handler: &nettest.Handler{}}).Peer.(*Net)
	key := newHostKey(t)
	a := w.start(Config{
		Network: "test", HostKey: key, Listen: both, Handler: &nettest.Handler{},
		Delegations: func() []peer.Delegation { return []peer.Delegation{delegate(t, alice, key, nil)} },
	}).Peer.(*Net)
	long := strings.Repeat("f", 20_000)
	for i := range 40 {
		who := person(t, i)
		body, err := net.Encode(peer.Hello{Delegations: []peer.Delegation{delegate(t, who, key, nil)}, Features: []string{long, "x"}, Version: long})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := raw(t, a, b, "identity", signed(t, a, a.envelope(t.Context(), "", "", peer.Hello{}.Kind(), body))); err != nil {
			t.Fatal(err)
		}
		if _, err := raw(t, a, b, "activity", signed(t, a, a.envelope(t.Context(), who.ID, bob.ID, peer.GetActivityState{}.Kind(), []byte("{}")))); err != nil {
			t.Fatal(err)
		}
	}
	if pairs, listed, nodes := kept(b, a); pairs > 4 || listed > 1 || nodes != 1 {
		t.Errorf("%d pairs, %d listed, %d nodes of a host that speaks for one", pairs, listed, nodes)
	}
	for _, p := range b.Status().Peers {
		if len(p.Version) > maxWord || len(strings.Join(p.Features, "")) > 2*maxWord {
			t.Errorf("a version of %d bytes and %d features are kept", len(p.Version), len(p.Features))
		}
	}
	if f := words([]string{long, "x"}); len(f) != 1 || f[0] != "x" {
		t.Errorf("features: %.80q", f)
	}
}

func TestLongAddressesAreNotKept(t *testing.T) {
	t.Parallel()
	var d directory
	short := multiaddr.StringCast("/ip4/127.0.0.1/tcp/1")
	d.addresses("h", []multiaddr.Multiaddr{multiaddr.StringCast("/dns4/" + strings.Repeat("x", 5000) + "/tcp/1"), short})
	if got := d.addrs["h"]; len(got) != 1 || !got[0].Equal(short) {
		t.Errorf("%d addresses are kept", len(got))
	}
}

// What a host has begun to say takes memory only as far as it may.
func TestHalfRequestsDoNotFillTheMemory(t *testing.T) {
	t.Parallel()
	a, b := twoHosts(t, &nettest.Handler{})
	const streams = 120
	var wg sync.WaitGroup
	var mu sync.Mutex
	held, refused := 0, 0
	enough, half := context.WithCancel(t.Context())
	defer half()
	for range streams {
		wg.Go(func() {
			waits := isHeld(enough, a, b)
			mu.Lock()
			defer mu.Unlock()
			if waits {
				held++
			} else if refused++; refused == streams/2 {
				half()
			}
		})
	}
	wg.Wait()
	if held == 0 || held > streams/2 {
		t.Fatalf("%d of %d requests of 1 MiB are waited for", held, streams)
	}
	if _, err := a.Call(t.Context(), alice.ID, bob.ID, peer.Exec{}); err != nil {
		t.Fatal(err)
	}
}

// isHeld begins a request and says whether the other host waits for its end: at
// most until it would give it up, and some seconds after enough.
func isHeld(enough context.Context, a, b *Net) bool {
	st, err := a.host.NewStream(enough, b.host.ID(), a.protocol("file"))
	if err != nil {
		return enough.Err() != nil
	}
	defer st.Reset()                                              //nolint:errcheck // a test
	st.SetReadDeadline(time.Now().Add(wholeBody - 5*time.Second)) //nolint:errcheck // a test
	if _, err := st.Write(append(binary.AppendUvarint(nil, 1<<20), 1)); err != nil {
		return false
	}
	defer context.AfterFunc(enough, func() {
		st.SetReadDeadline(time.Now().Add(3 * time.Second)) //nolint:errcheck // a test
	})()
	_, err = st.Read(make([]byte, 1))
	var late interface{ Timeout() bool }
	return errors.As(err, &late) && late.Timeout()
}
