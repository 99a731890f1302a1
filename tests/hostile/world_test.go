package hostile

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/chain/dev"
	"github.com/emet-node/emet/api/client"
	"github.com/emet-node/emet/api/client/rent"
	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/provider/agent"
	"github.com/emet-node/emet/tests/built"
)

// patience is how long something is waited for that a busy machine does late.
const patience = 3 * time.Minute

// network names the libp2p network of these tests.
const network = "hostile"

// member is a running node.
type member struct {
	*node.Node
	dir  string
	logs *journal
	key  string
}

// world is a chain, an honest requestor and a provider.
type world struct {
	chain    *dev.Chains
	buyer    *member
	provider *member
	image    string
}

// journal is what a node logs.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

func newWorld(t *testing.T, urls func(map[string]string) map[string]string) *world {
	t.Helper()
	chain, err := dev.Start(dev.Config{Networks: []string{"hoodi"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = chain.Close() })
	w := &world{chain: chain, image: built.Serve(t, built.Echo)}
	at := chain.URLs()
	if urls != nil {
		at = urls(at)
	}
	w.provider = start(t, at["hoodi"], nil, &node.Provider{
		Name: "honest", Subnet: "public", Hardware: node.DetectHardware(os.TempDir(), 0, "4.0", "4.0"),
		Presets: []agent.Preset{{Name: "default", Runtime: "wasmtime", Initial: "0.01", Coeffs: map[string]string{"golem.usage.duration_sec": "0.001"}}},
		Rules:   agent.Rulebook{MaxAgreements: 8, NoteIntervalSec: 120},
	})
	w.buyer = start(t, chain.URLs()["hoodi"], w.provider.Addrs()[:1], nil)
	owner, err := onchain.ParseAddress(string(w.buyer.Identity(0)))
	if err != nil {
		t.Fatal(err)
	}
	if err := chain.Fund(t.Context(), "hoodi", owner); err != nil {
		t.Fatal(err)
	}
	return w
}

// start runs a node until the test ends.
func start(t *testing.T, rpc string, bootstrap []string, sells *node.Provider) *member {
	t.Helper()
	m := &member{dir: t.TempDir(), logs: &journal{}}
	id := node.Identity{Alias: "main", AppKeys: []node.AppKey{{Name: "test"}}, Provider: sells}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	n, err := node.Open(ctx, node.Options{
		Dir: m.dir, Version: "test", Logger: slog.New(slog.NewTextHandler(m.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		SegmentBytes: 4 << 20, Program: built.Emet.Path(), Listen: "127.0.0.1:0",
		Net:        node.Network{Name: network, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}, Bootstrap: bootstrap},
		Identities: []node.Identity{id}, Chains: map[string][]string{"hoodi": {rpc}}, DefaultNetwork: "hoodi",
		Cycle: 5 * time.Second, TTL: time.Hour, IdleAgreement: time.Hour, Unresponsive: 30 * time.Second,
		OrphanAfter: time.Minute, AllowLoopback: true,
	})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	m.Node = n
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		err := <-done
		end, stop := context.WithTimeout(context.Background(), patience)
		defer stop()
		n.EndUnits(end)
		if err := errors.Join(err, n.Close()); err != nil {
			t.Errorf("node: %v", err)
		}
		if logs := m.logs.String(); strings.Contains(logs, "broke its handler") || strings.Contains(logs, "panic") {
			t.Errorf("something panicked:\n%s", logs)
		}
	})
	if err := n.Serving(t.Context()); err != nil {
		t.Fatal(err)
	}
	if sells != nil {
		if err := n.Ready(t.Context(), n.Identity(0)); err != nil {
			t.Fatal(err)
		}
	}
	if m.key, err = n.AppKey(t.Context(), n.Identity(0), node.AppKey{Name: "test"}); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *member) client() *client.Client { return &client.Client{URL: m.URL(), Key: m.key} }

// head is the position of the node's next fact.
func (m *member) head(t *testing.T) es.Position {
	t.Helper()
	p, err := m.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// everything is the node's log as it is stored.
func (m *member) everything(t *testing.T) iter.Seq2[es.Event, error] {
	return m.Store.ReadAll(t.Context(), 0, es.Forward, es.Filter{}, 0)
}

// wroteFor lists the facts since a position that another node's messages led to.
func (m *member) wroteFor(t *testing.T, since es.Position, who identity.NodeID) (types []string) {
	t.Helper()
	for r, err := range m.Log.ReadAll(t.Context(), since, es.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Info.Peer == string(who) || strings.Contains(string(r.Event.Data), string(who)) {
			types = append(types, r.Type)
		}
	}
	return types
}

// made lists the facts since a position, but for what a log says of itself: it
// names a block and a checkpoint when it is time.
func (m *member) made(t *testing.T, since es.Position) (types []string) {
	t.Helper()
	for e, err := range m.Store.ReadAll(t.Context(), since, es.Forward, es.Filter{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(e.Stream), "$") {
			types = append(types, e.Type)
		}
	}
	return types
}

// deal makes an honest deal: rented, used and paid. It returns how long it
// took to the end of the program.
func (w *world) deal(t *testing.T) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	begun := time.Now()
	pool, err := rent.Open(ctx, w.buyer.client(), "honest", rent.Wish{Image: w.image, Budget: "1", Lifetime: 10 * time.Minute}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	m, err := pool.Rent(ctx)
	if err != nil {
		t.Fatalf("no honest deal: %v\n%s", err, tail(w.provider.logs.String()))
	}
	results, err := m.Do(ctx, rent.Run("echo", []string{"still", "here"}, nil))
	if err != nil || len(results) == 0 || !strings.Contains(string(results[len(results)-1].Stdout), "still here") {
		t.Fatalf("%v %+v", err, results)
	}
	took := time.Since(begun)
	if err := m.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(pool.AwaitInvoices(ctx), pool.AwaitSettled(ctx)); err != nil {
		t.Fatalf("not paid: %v\n%s", err, tail(w.provider.logs.String()))
	}
	return took
}

func tail(s string) string { return s[max(0, len(s)-4000):] }
