package bus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/bus"
	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/projections/news"
)

// patience is how long something is waited for that a busy machine does late.
const patience = 2 * time.Minute

const alice = "0x00000000000000000000000000000000000000a1"

// got is one delivery as a receiver sees it.
type got struct {
	header http.Header
	body   []byte
	item   news.Item
}

// receiver takes deliveries. answer says what it answers to the n-th, from 1.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	all    []got
	answer func(n int, g got) int
	change chan struct{}
}

func newReceiver(t testing.TB, answer func(n int, g got) int) *receiver {
	t.Helper()
	r := &receiver{answer: answer, change: make(chan struct{})}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		g := got{header: req.Header, body: body}
		if err := json.Unmarshal(body, &g.item); err != nil {
			t.Errorf("body %s: %v", body, err)
		}
		r.mu.Lock()
		r.all = append(r.all, g)
		status := http.StatusOK
		if r.answer != nil {
			status = r.answer(len(r.all), g)
		}
		close(r.change)
		r.change = make(chan struct{})
		r.mu.Unlock()
		w.WriteHeader(status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) deliveries() []got {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]got(nil), r.all...)
}

// until waits until what came is enough.
func (r *receiver) until(t testing.TB, enough func([]got) bool) []got {
	t.Helper()
	late := time.After(patience)
	for {
		r.mu.Lock()
		all, change := append([]got(nil), r.all...), r.change
		r.mu.Unlock()
		if enough(all) {
			return all
		}
		select {
		case <-change:
		case <-late:
			t.Fatalf("only %d deliveries came: %v", len(all), positions(all))
		}
	}
}

func positions(all []got) (out []uint64) {
	for _, g := range all {
		out = append(out, g.item.Position)
	}
	return out
}

// office is a courier with a log and webhooks.
type office struct {
	t       testing.TB
	store   es.Store
	state   *bus.State
	sender  *bus.Sender
	courier *bus.Courier
	said    *lockedBuffer

	mu    sync.Mutex
	hooks []bus.Hook
	seq   int
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// anywhere lets webhooks reach this machine.
func anywhere(string, netip.AddrPort) error { return nil }

func newOffice(t testing.TB, allow bus.Allow) *office {
	t.Helper()
	o := &office{t: t, store: memory.New(), said: &lockedBuffer{}}
	var err error
	if o.state, err = bus.OpenState(filepath.Join(t.TempDir(), "news", "news.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.state.Close() })
	o.sender = bus.NewSender(allow, "test")
	o.courier = o.newCourier()
	return o
}

func (o *office) newCourier() *bus.Courier {
	return &bus.Courier{
		Store: o.store, State: o.state, Sender: o.sender, Hooks: o.list, FirstPause: time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(o.said, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

func (o *office) list() ([]bus.Hook, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]bus.Hook(nil), o.hooks...), nil
}

func (o *office) add(url string, f news.Filter, from es.Position) bus.Hook {
	o.t.Helper()
	h, err := bus.NewHook(url, f, from, time.Now())
	if err != nil {
		o.t.Fatal(err)
	}
	o.mu.Lock()
	o.hooks = append(o.hooks, h)
	o.mu.Unlock()
	o.courier.Changed()
	return h
}

// run runs a courier until the function it returns is called.
func (o *office) run(c *bus.Courier) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				o.t.Error(err)
			}
		})
	}
	o.t.Cleanup(stop)
	return stop
}

// write appends events of a type and returns the position of the last.
func (o *office) write(stream es.Stream, typ, who string, n int) es.Position {
	o.t.Helper()
	var last es.Position
	for range n {
		o.seq++
		meta, err := es.Meta{Key: "k", Identity: who, Actor: es.ActorREST}.MarshalJSON()
		if err != nil {
			o.t.Fatal(err)
		}
		e := es.NewEvent{ID: es.EventID(stream, strconv.Itoa(o.seq), 0), Type: typ, Data: fmt.Appendf(nil, `{"n":%d}`, o.seq), Meta: meta}
		r, err := o.store.Append(context.Background(), nil, es.Write{Stream: stream, Expected: es.Any, Events: []es.NewEvent{e}})
		if err != nil {
			o.t.Fatal(err)
		}
		last = r.Last
	}
	return last
}

func (o *office) status(h bus.Hook) bus.Status {
	o.t.Helper()
	s, err := o.state.Status(context.Background(), h)
	if err != nil {
		o.t.Fatal(err)
	}
	return s
}

// eventually waits for a condition that nobody announces.
func (o *office) eventually(what string, ok func() bool) {
	o.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	o.t.Fatalf("never: %s", what)
}
