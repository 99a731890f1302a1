package libp2p

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/net/nettest"
	"github.com/emet-node/emet/domain/peer"
)

// starter starts bob's host again and again on the same file and addresses.
func starter(t *testing.T, file string) func(boot ...string) *Net {
	t.Helper()
	key := newHostKey(t)
	d := delegate(t, bob, key, nil)
	listen := both
	return func(boot ...string) *Net {
		t.Helper()
		n, err := New(Config{
			Network: "test", HostKey: key, Listen: listen, Bootstrap: boot, Handler: &nettest.Handler{}, Version: "test", File: file,
			Delegations: func() []peer.Delegation { return []peer.Delegation{d} },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		listen = nil
		for _, a := range n.host.Network().ListenAddresses() {
			listen = append(listen, a.String())
		}
		return n
	}
}

func awaitFile(t *testing.T, path string) []byte {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < time.Minute; time.Sleep(10 * time.Millisecond) {
		if b, err := os.ReadFile(path); err == nil && len(b) > len(`{"hosts":[]}`) {
			return b
		}
	}
	t.Fatal("nothing was remembered")
	return nil
}

func TestARestartedHostFindsItsPartners(t *testing.T) {
	t.Parallel()
	w := &world{t: t, listen: both}
	a := w.Join(nettest.Host{Identities: []nettest.Identity{alice}, Handler: &nettest.Handler{}}).Peer.(*Net)
	file := filepath.Join(t.TempDir(), "net", "peers.json")
	again := starter(t, file)
	b := again(a.Addrs()...)
	if err := b.Connect(t.Context(), a.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	kept := awaitFile(t, file)
	for range 2 { // what was not heard again in a life is kept for the next
		b.Close()
		b = again()
		if _, err := b.Call(t.Context(), bob.ID, alice.ID, peer.GetActivityState{}); err != nil {
			t.Fatalf("a host that knows nobody but from its file: %v", err)
		}
		if _, err := a.Call(t.Context(), alice.ID, bob.ID, peer.GetActivityState{}); err != nil {
			t.Fatalf("to the host that came back: %v", err)
		}
	}
	if now := awaitFile(t, file); string(now) != string(kept) {
		t.Errorf("remembered %s, then %s", kept, now)
	}
}

// Hosts that say Hello while the file is being written wait for one write
// more, not for one each; each finds itself in it.
func TestManyGreetingsAreKeptByFewWrites(t *testing.T) {
	t.Parallel()
	n := &Net{cfg: Config{File: filepath.Join(t.TempDir(), "peers.json")}}
	n.keeping.mu.Lock() // somebody writes
	var wg sync.WaitGroup
	const many = maxRemembered
	for i := range many {
		wg.Go(func() {
			n.meetAll(i, 1)
			id, _, _ := stranger(i)
			if text, err := os.ReadFile(n.cfg.File); err != nil || !strings.Contains(string(text), string(id)) {
				t.Errorf("%s was met and is not in the file: %v", id, err)
			}
		})
	}
	for n.keeping.asked.Load() < many {
		runtime.Gosched()
	}
	n.keeping.mu.Unlock()
	wg.Wait()
	if n.keeping.writes != 1 {
		t.Errorf("%d hosts that waited were kept by %d writes", many, n.keeping.writes)
	}
	n.meetAll(0, 1)
	if n.keeping.writes != 1 {
		t.Error("what is known already is written again")
	}
}

// There is room for some hosts only; who was met last is among them.
func TestWhoWasMetLastIsKept(t *testing.T) {
	t.Parallel()
	n := &Net{cfg: Config{File: filepath.Join(t.TempDir(), "peers.json")}}
	n.meetAll(1, 1)
	n.meetAll(2, maxRemembered)
	for _, i := range []int{7, maxRemembered + 60} { // one comes again, one is new
		n.meetAll(i, 1)
		id, _, _ := stranger(i)
		if text, err := os.ReadFile(n.cfg.File); err != nil || !strings.Contains(string(text), string(id)) {
			t.Errorf("%d was met last and is not in the file: %v", i, err)
		}
	}
	if id, _, _ := stranger(1); strings.Contains(n.memory(), string(id)) {
		t.Error("more hosts are kept than there is room for")
	}
}

func TestADamagedFileIsAsGoodAsNone(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "peers.json")
	for _, text := range []string{"", "{", `{"hosts":[{"host":"x","addrs":["y"],"nodes":["z"]}]}`, `{"hosts":[{}]}`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		n := starter(t, file)()
		if got := n.recall(); len(got) != 0 {
			t.Errorf("%q gave %v", text, got)
		}
		n.Close()
	}
}
