package libp2p

import (
	"errors"
	"io"
	stdnet "net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/net/nettest"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

// relay passes bytes on between a host and those who dial it. After mute the
// connections it has stay open and carry nothing; new ones are fine. So looks
// a node that was killed together with its machine.
type relay struct {
	stdnet.Listener
	to string

	mu     sync.Mutex
	silent []chan struct{}
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := stdnet.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l, to: to}
	t.Cleanup(func() { l.Close(); r.mute() })
	go r.run()
	return r
}

func (r *relay) run() {
	for {
		in, err := r.Accept()
		if err != nil {
			return
		}
		out, err := stdnet.Dial("tcp", r.to)
		if err != nil {
			in.Close()
			continue
		}
		quiet := make(chan struct{})
		r.mu.Lock()
		r.silent = append(r.silent, quiet)
		r.mu.Unlock()
		go pass(out, in, quiet)
		go pass(in, out, quiet)
	}
}

func pass(to io.WriteCloser, from io.ReadCloser, quiet <-chan struct{}) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-quiet:
		default:
			to.Write(buf[:n]) //nolint:errcheck // the reader of the other end sees it
		}
		if err != nil {
			to.Close()
			return
		}
	}
}

func (r *relay) mute() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.silent {
		close(q)
	}
	r.silent = nil
}

func TestADeadConnectionToABootstrapNodeIsNoticed(t *testing.T) {
	t.Parallel()
	a := (&world{t: t, listen: []string{"/ip4/127.0.0.1/tcp/0"}}).Join(nettest.Host{Identities: []nettest.Identity{alice}, Handler: &nettest.Handler{}}).Peer.(*Net)
	addr := a.Addrs()[0]
	port := strings.Split(addr, "/")[4]
	r := newRelay(t, "127.0.0.1:"+port)
	_, through, err := stdnet.SplitHostPort(r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	met := make(chan identity.NodeID, 8)
	key := newHostKey(t)
	(&world{t: t}).start(Config{
		Network: "test", HostKey: key, Bootstrap: []string{strings.Replace(addr, port, through, 1)}, Handler: &nettest.Handler{},
		Delegations: func() []peer.Delegation { return []peer.Delegation{delegate(t, bob, key, nil)} },
		Met:         func(id identity.NodeID, _ peer.Hello) { met <- id },
	})
	for _, when := range []string{"at first", "after the connection died"} {
		select {
		case <-met:
		case <-time.After(2 * time.Minute):
			t.Fatalf("the bootstrap node was not met %s", when)
		}
		r.mute()
	}
}

// TestAMeetingIsKeptAtOnce holds that where a node is is on disk before
// anything is agreed with it.
func TestAMeetingIsKeptAtOnce(t *testing.T) {
	t.Parallel()
	w := &world{t: t, listen: both}
	a := w.Join(nettest.Host{Identities: []nettest.Identity{alice}, Handler: &nettest.Handler{}}).Peer.(*Net)
	file := filepath.Join(t.TempDir(), "net", "peers.json")
	b := starter(t, file)()
	if err := b.Connect(t.Context(), a.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), string(alice.ID)) {
		t.Errorf("the file holds %q, %v", text, err)
	}
}

// A host that lacks one service is asked for it in vain; what else goes over the
// connection, in both directions, is not to suffer.
func TestAnUnknownServiceCostsNoConnection(t *testing.T) {
	t.Parallel()
	a, b := twoHosts(t, &nettest.Handler{})
	if _, err := a.Call(t.Context(), alice.ID, bob.ID, peer.Exec{}); err != nil {
		t.Fatal(err)
	}
	b.host.RemoveStreamHandler(b.protocol("activity"))
	for known := true; known; time.Sleep(10 * time.Millisecond) { // it tells who is connected
		p, err := a.host.Peerstore().SupportsProtocols(b.host.ID(), b.protocol("activity"))
		if known = len(p) > 0; err != nil {
			t.Fatal(err)
		}
	}
	before := a.host.Network().ConnsToPeer(b.host.ID())
	if _, err := a.Call(t.Context(), alice.ID, bob.ID, peer.Exec{}); !errors.Is(err, peer.ErrUnreachable) {
		t.Errorf("a service that is not there: %v", err)
	}
	if after := a.host.Network().ConnsToPeer(b.host.ID()); !slices.Equal(before, after) || len(after) == 0 {
		t.Errorf("connections before %v, after %v", before, after)
	}
	if _, err := a.Call(t.Context(), alice.ID, bob.ID, peer.GetOffers{}); err != nil {
		t.Errorf("another service: %v", err)
	}
}
