// Package news_test kills a node while others are told the news.
package news_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emet-node/emet/api/control"
	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/projections/news"
	"github.com/emet-node/emet/tests/built"
)

func TestMain(m *testing.M) { built.Main(m, built.Emet) }

// lives is a node that is killed and started again on one directory.
type lives struct {
	t         *testing.T
	dir, addr string
	env       []string
	cmd       *exec.Cmd
	key       string
}

func newLives(t *testing.T) *lives {
	t.Helper()
	home := t.TempDir()
	n := &lives{t: t, dir: filepath.Join(home, "n"), addr: fmt.Sprintf("127.0.0.1:%d", built.Port(t))}
	n.env = built.Env("HOME="+home, "XDG_DATA_HOME="+home, "XDG_RUNTIME_DIR="+filepath.Join(home, "run"),
		"EMET_WEBHOOK_ALLOW=127.0.0.1", "EMET_LOG_LEVEL=error")
	t.Cleanup(n.kill)
	return n
}

// start starts the node and returns when it is ready.
func (n *lives) start() {
	n.t.Helper()
	cmd := exec.Command(built.Emet.Path(), "up", "-d", n.dir, "--no-provider", "--export", "--listen", n.addr, "--net-listen", "/ip4/127.0.0.1/tcp/0")
	cmd.Env, cmd.Stderr = n.env, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.cmd = cmd
	for s := bufio.NewScanner(out); s.Scan(); {
		if key, ok := strings.CutPrefix(s.Text(), "export YAGNA_APPKEY="); ok {
			n.key = key
		}
		if s.Text() == "READY" {
			return
		}
	}
	n.t.Fatalf("the node ended before it was ready: %v", cmd.Wait())
}

// kill ends the node as a power cut would.
func (n *lives) kill() {
	if n.cmd != nil {
		_ = n.cmd.Process.Kill()
		_ = n.cmd.Wait()
		n.cmd = nil
	}
}

// emet runs a command against the node.
func (n *lives) emet(args ...string) []byte {
	n.t.Helper()
	cmd := exec.Command(built.Emet.Path(), append(args, "-d", n.dir)...)
	cmd.Env, cmd.Stderr = n.env, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		n.t.Fatalf("emet %v: %v", args, err)
	}
	return out
}

// demand writes a fact, if the node is there.
func (n *lives) demand(ctx context.Context) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+n.addr+"/market-api/v1/demands",
		strings.NewReader(`{"properties":{"a":"b"},"constraints":"()"}`))
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer "+n.key)
	req.Header.Set("Content-Type", "application/json")
	if res, err := http.DefaultClient.Do(req); err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
}

// delivery is what a receiver got, or what a reader of the feed heard.
type delivery struct {
	position uint64
	id       string
	body     []byte
}

// heard collects deliveries.
type heard struct {
	mu  sync.Mutex
	all []delivery
}

func (h *heard) add(d delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, d)
}

func (h *heard) list() []delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all)
}

// receiver takes most of what comes, and fails now and then.
func (h *heard) receiver(t *testing.T, secret func() string, rnd *rand.Rand) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the node was killed while it sent
		}
		var i news.Item
		if err := json.Unmarshal(body, &i); err != nil || i.ID != r.Header.Get("Idempotency-Key") {
			t.Errorf("body %s of %s: %v", body, r.Header.Get("Idempotency-Key"), err)
		}
		if err := news.Verify(secret(), r.Header.Get(news.Header), body, time.Now(), news.Tolerance); err != nil {
			t.Error(err)
		}
		h.add(delivery{i.Position, i.ID, body})
		h.mu.Lock()
		fails := rnd.IntN(150) == 0
		h.mu.Unlock()
		if fails {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// follow reads the feed until ctx ends, and goes on with the last id whenever
// it was cut off.
func (h *heard) follow(ctx context.Context, n *lives, key string) {
	for last := ""; ctx.Err() == nil; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.addr+"/emet-api/v1/events?category=demand", nil)
		if err != nil {
			return
		}
		req.Header.Set("Authorization", "Bearer "+key)
		if last != "" {
			req.Header.Set("Last-Event-ID", last)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond): // until the node is there again
			}
			continue
		}
		last = h.records(res.Body, last)
		res.Body.Close()
	}
}

func (h *heard) records(body io.Reader, last string) string {
	var data, id string
	for s := bufio.NewScanner(body); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), ": ")
		switch name {
		case "data":
			data = value
		case "id":
			id = value
		case "":
			if id != "" {
				last = id
			}
			var i news.Item
			if data != "" && json.Unmarshal([]byte(data), &i) == nil && i.ID != "" {
				h.add(delivery{i.Position, i.ID, []byte(data)})
			}
			data, id = "", ""
		}
	}
	return last
}

// A node is killed again and again while it writes facts and tells them. In
// the end the webhook was told each at least once and in order, and the reader
// of the feed exactly once.
func TestNothingIsSkippedWhenTheNodeIsKilled(t *testing.T) {
	t.Parallel()
	const kills = 8
	rnd := rand.New(rand.NewPCG(7, 21))
	n := newLives(t)
	n.start()
	key := n.key
	var (
		hook  control.Webhook
		mu    sync.Mutex
		hooks heard
		feed  heard
	)
	secret := func() string { mu.Lock(); defer mu.Unlock(); return hook.Secret }
	url := hooks.receiver(t, secret, rnd)
	mu.Lock()
	err := json.Unmarshal(n.emet("webhook", "add", url, "--category", "demand", "--json"), &hook)
	mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { feed.follow(ctx, n, key) })
	for range kills {
		life, end := context.WithTimeout(ctx, time.Duration(50+rnd.IntN(400))*time.Millisecond)
		for range 3 { // also on a busy machine there is something to tell
			n.demand(ctx)
		}
		for life.Err() == nil {
			n.demand(life)
		}
		end()
		n.kill()
		n.start()
	}
	n.demand(ctx)
	var stands []control.Webhook
	for len(stands) == 0 || stands[0].Behind > 0 {
		if err := json.Unmarshal(n.emet("webhook", "list", "--json"), &stands); err != nil || ctx.Err() != nil {
			t.Fatal(err, ctx.Err(), stands)
		}
	}
	want := written(t, n.dir)
	for len(feed.list()) < len(want) && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	if stands[0].Poison != 0 || len(want) < 20 {
		t.Errorf("set aside: %d, facts: %d", stands[0].Poison, len(want))
	}
	all, once := hooks.list(), feed.list()
	t.Logf("%d facts, %d deliveries, %d heard on the feed, %d kills", len(want), len(all), len(once), kills)
	atLeastOnce(t, all, want)
	for i, d := range once {
		if i >= len(want) || d.position != want[i].position || d.id != want[i].id {
			t.Fatalf("the feed told %d as number %d of %d", d.position, i, len(want))
		}
	}
	if len(once) != len(want) {
		t.Errorf("the feed told %d of %d", len(once), len(want))
	}
}

func atLeastOnce(t *testing.T, all, want []delivery) {
	t.Helper()
	next := 0
	first := map[string]delivery{}
	for _, d := range all {
		if was, again := first[d.id]; again {
			if was.position != d.position || !bytes.Equal(was.body, d.body) {
				t.Errorf("%s came again as something else", d.id)
			}
			continue
		}
		first[d.id] = d
		if next >= len(want) || d.position != want[next].position || d.id != want[next].id || !bytes.Equal(d.body, want[next].body) {
			t.Fatalf("%d came as number %d of %d", d.position, next, len(want))
		}
		next++
	}
	if next != len(want) {
		t.Errorf("told %d of %d", next, len(want))
	}
}

// written are the facts about demands that the log holds.
func written(t *testing.T, dir string) (out []delivery) {
	t.Helper()
	r, err := node.ReadLog(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // only read
	for e, err := range r.Store.ReadAll(t.Context(), 0, es.Forward, news.Filter{Categories: []string{"demand"}}.Store(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		body, err := news.Of(e).JSON()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, delivery{uint64(e.Position), strings.ToLower(e.ID.String()), body})
	}
	if len(out) == 0 {
		t.Fatal("no facts in " + strconv.Quote(dir))
	}
	return out
}
