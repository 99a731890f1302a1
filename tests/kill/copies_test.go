package kill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emet-node/emet/api/client"
	"github.com/emet-node/emet/cmd/emet/node"
)

// cuts is how often a command is killed in a game.
const cuts = 8

// grown is a node that has something to show: events of clients, and facts
// that fill its views. It is left running, with the key of an operator.
func grown(t *testing.T, seed uint64, facts int) (n *lived) {
	t.Helper()
	n = &lived{process: newNode(t), m: newModel(), c: &race{head: -1}}
	n.start()
	n.key = n.must("app-key", "create", "ops", "--role", "operator", "-d", n.dir)
	c := &client.Client{URL: n.word("YAGNA_API_URL"), Key: n.word("YAGNA_APPKEY")}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range facts / 4 {
				if _, err := c.Subscribe(t.Context(), client.Offering{Properties: map[string]any{"golem.x": 1}, Constraints: "(golem.none=1)"}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for len(n.segments()) < 3 && !t.Failed() { // a machine may be busy
		n.appendFor(seed, time.Second)()
	}
	return n
}

// segments are the files of the log.
func (n *lived) segments() []string {
	n.t.Helper()
	names, err := filepath.Glob(filepath.Join(n.dir, "store", "seg", "*.elog"))
	if err != nil {
		n.t.Fatal(err)
	}
	return names
}

// lived is a node to which clients append at times.
type lived struct {
	*process
	m    *model
	c    *race
	key  string
	rest []*writer
}

// appendFor lets clients append for a while; wait returns when they are done.
func (n *lived) appendFor(seed uint64, d time.Duration) (wait func()) {
	n.t.Helper()
	if n.rest == nil {
		for i := range 4 {
			n.rest = append(n.rest, &writer{number: i, r: chance(seed, 100+i), head: -1})
		}
	}
	open, err := n.open(n.key)
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(n.t.Context(), d)
	var wg sync.WaitGroup
	for _, w := range n.rest {
		wg.Go(func() {
			if err := w.run(ctx, open, n.m, n.c); err != nil {
				n.t.Error(err)
			}
		})
	}
	return func() {
		wg.Wait()
		cancel()
		_ = open.db.Close()
	}
}

// knife cuts a command short, mostly. whole is what it takes when it is not: the
// shortest so far, and more with each cut, since the machine may be busier now.
type knife struct {
	r     *rand.Rand
	whole time.Duration
	cut   int
}

// emet runs the command for a part of its time.
func (k *knife) emet(n *lived, args ...string) result {
	n.t.Helper()
	got := n.cut(between(k.r, k.whole/8, k.whole), args...)
	switch {
	case got.code < 0:
		k.cut++
		k.whole += k.whole / 8
	case got.code == 0:
		k.whole = min(k.whole, got.took)
	default:
		n.t.Fatalf("emet %s: %+v", strings.Join(args, " "), got)
	}
	return got
}

// more says whether there is an i-th cut, from 0: a machine that gets faster all
// the time needs some beyond the usual ones.
func (k *knife) more(i int) bool { return i < cuts || k.cut < cuts/3 && i < 5*cuts }

// enough checks that the game was one.
func (k *knife) enough(t *testing.T) {
	t.Helper()
	if k.cut < cuts/3 {
		t.Errorf("only %d were killed", k.cut)
	}
	t.Logf("%d killed, a whole run takes %v", k.cut, k.whole.Round(time.Millisecond))
}

// TestViewsOutliveAKilledRebuild kills emet store rebuild-views: the views that
// the next one finds are the fold of the log, old or new.
func TestViewsOutliveAKilledRebuild(t *testing.T) {
	t.Parallel()
	games(t, func(t *testing.T, seed uint64) {
		n, r := grown(t, seed, 200), chance(seed, 0)
		n.stop()
		whole := n.emet("store", "rebuild-views", "-d", n.dir)
		if whole.code != 0 {
			t.Fatalf("%+v", whole)
		}
		k := &knife{r: r, whole: whole.took}
		for i := 0; k.more(i); i++ {
			for range 1 + r.IntN(2) {
				k.emet(n, "store", "rebuild-views", "-d", n.dir)
			}
			if r.IntN(3) == 0 {
				n.start() // the next one is a node
				n.kill()
			}
			n.folded()
		}
		n.must("store", "verify", "-d", n.dir)
		k.enough(t)
	})
}

// folded checks that every view is what the log says, by making it anew.
func (n *lived) folded() {
	n.t.Helper()
	l, err := node.OpenLedger(n.t.Context(), node.Options{Dir: n.dir, Version: "test"})
	if err != nil {
		n.t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nothing was written
	for _, v := range l.Views() {
		if err := v.Fresh(n.t.Context()); err != nil {
			n.t.Fatal(err)
		}
		if same, err := v.Check(n.t.Context()); err != nil || !same {
			n.t.Errorf("view %s is not the fold of the log: %v", v.Name(), err)
		}
	}
}

// TestAKilledBackupIsWholeOrRefused kills emet store backup beside a node that
// writes. A backup that was there stays, and what is new is a whole one or is
// not taken for one.
func TestAKilledBackupIsWholeOrRefused(t *testing.T) {
	t.Parallel()
	games(t, func(t *testing.T, seed uint64) {
		n, r := grown(t, seed, 40), chance(seed, 0)
		tar := filepath.Join(n.home, "b.tar")
		whole := n.emet("store", "backup", "-d", n.dir, "-o", tar)
		if whole.code != 0 {
			t.Fatalf("%+v", whole)
		}
		k, before := &knife{r: r, whole: whole.took}, n.restores(tar, true)
		for i := 0; k.more(i); i++ {
			wait := n.appendFor(seed, 200*time.Millisecond)
			target := tar
			if i%2 == 1 {
				target = filepath.Join(n.home, fmt.Sprintf("b%d/", i)) + "/"
			}
			least := n.m.newest()
			got := k.emet(n, "store", "backup", "-d", n.dir, "-o", target)
			wait()
			if target == tar {
				after := n.restores(tar, true)
				if after < before || got.code == 0 && after < least {
					t.Errorf("the backup has %d events, and had %d; %d were acknowledged before it began", after, before, least)
				}
				before = after
				n.restores(tar+".part", false)
				continue
			}
			events := n.restores(target, got.code == 0)
			if events > 0 && events < least {
				t.Errorf("the backup has %d events, %d were acknowledged before it began", events, least)
			}
			if again := n.emet("store", "backup", "-d", n.dir, "-o", target); events > 0 && again.code == 0 {
				t.Errorf("a backup was written into another: %+v", again)
			}
		}
		n.must("store", "backup", "-d", n.dir, "-o", tar)
		n.restores(tar, true)
		k.enough(t)
	})
}

// restores restores a backup and says how many events of it are there. One that
// is not whole must be refused, with a reason and without leaving a log.
func (n *lived) restores(backup string, must bool) uint64 {
	n.t.Helper()
	to := filepath.Join(n.home, "restored")
	defer os.RemoveAll(to) //nolint:errcheck // the next one would tell
	got := n.emet("store", "restore", backup, "-d", to, "--json")
	if got.code != 0 {
		if must || !strings.Contains(got.stderr, "backup") && !strings.Contains(got.stderr, "no such file") {
			n.t.Errorf("restore of %s: %+v", backup, got)
		}
		if _, err := os.Stat(filepath.Join(to, "store")); !errors.Is(err, fs.ErrNotExist) {
			n.t.Errorf("a log is there after a restore that failed: %v", err)
		}
		return 0
	}
	var r struct{ Events uint64 }
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		n.t.Fatal(err)
	}
	n.must("store", "verify", "-d", to)
	return r.Events
}

// TestAKilledRestoreIsWholeOrRefused kills emet store restore. The directory
// has the whole log then, or none, and no node begins another one there.
func TestAKilledRestoreIsWholeOrRefused(t *testing.T) {
	t.Parallel()
	games(t, func(t *testing.T, seed uint64) {
		n, r := grown(t, seed, 40), chance(seed, 0)
		n.stop()
		tar := filepath.Join(n.home, "b.tar")
		n.must("store", "backup", "-d", n.dir, "-o", tar, "--with-secrets")
		events := n.events()
		n.dir = filepath.Join(n.home, "again")
		whole := n.emet("store", "restore", tar, "-d", n.dir)
		if whole.code != 0 || n.events() != events+1 {
			t.Fatalf("%d events of %d: %+v", n.events(), events, whole)
		}
		k, begun := &knife{r: r, whole: whole.took}, 0
		for i := 0; k.more(i) || begun == 0 && i < 5*cuts; i++ {
			n.dir = filepath.Join(n.home, fmt.Sprint("to", i))
			k.emet(n, "store", "restore", tar, "-d", n.dir)
			if !node.HasData(n.dir) {
				if _, err := os.Stat(filepath.Join(n.dir, "store.restoring")); err == nil {
					begun++
					n.refuses("emet store restore")
				}
				n.must("store", "restore", tar, "-d", n.dir)
			}
			if got := n.events(); got != events+1 {
				t.Errorf("%d events, want %d", got, events+1)
			}
			n.must("store", "verify", "-d", n.dir)
			if again := n.emet("store", "restore", tar, "-d", n.dir); again.code == 0 || !strings.Contains(again.stderr, "there is a log already") {
				t.Errorf("a log was restored over another: %+v", again)
			}
			if i == 0 { // it is the node that it was
				n.start()
				n.stop()
			}
		}
		if begun == 0 {
			t.Error("none was killed after it had begun")
		}
		k.enough(t)
	})
}

// refuses checks that no node begins a new log where one is to come back.
func (n *lived) refuses(advice string) {
	n.t.Helper()
	got := n.emet("up", "-d", n.dir, "--no-provider", "--listen", "127.0.0.1:0", "--net-listen", "/ip4/127.0.0.1/tcp/0")
	if got.code == 0 || !strings.Contains(got.stderr, advice) {
		n.t.Errorf("up without a log, advice %q: %+v", advice, got)
	}
	if node.HasData(n.dir) {
		n.t.Error("it began a log there")
	}
}

func (n *lived) events() uint64 {
	n.t.Helper()
	var v struct{ Events uint64 }
	if err := json.Unmarshal([]byte(n.must("store", "verify", "-d", n.dir, "--json")), &v); err != nil {
		n.t.Fatal(err)
	}
	return v.Events
}
