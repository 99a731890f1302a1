package kill

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/emet-node/emet/adapters/ledger/verify"
)

const writers = 64

// TestAKilledNodeKeepsWhatItAcknowledged lets clients append to a node that
// dies all the time.
func TestAKilledNodeKeepsWhatItAcknowledged(t *testing.T) {
	t.Parallel()
	die(t, "segment", 20)
}

// TestAKilledNodeKeepsItInSQLite does so with the other engine on this machine.
func TestAKilledNodeKeepsItInSQLite(t *testing.T) {
	t.Parallel()
	die(t, "sqlite", 5)
}

// die plays games in which a node is killed so often while clients append.
func die(t *testing.T, engine string, kills int) {
	t.Helper()
	games(t, func(t *testing.T, seed uint64) {
		g := &game{t: t, engine: engine, kills: kills, n: newNode(t), r: chance(seed, 0), m: newModel(), c: &race{head: -1}}
		g.n.flag = []string{"--store", engine}
		for i := range writers {
			g.writers = append(g.writers, &writer{number: i, r: chance(seed, i+1), head: -1})
		}
		g.born()
		g.s = watch(g.n.dir)
		defer g.s.end()
		for !t.Failed() && g.killed < kills {
			g.life()
		}
		if !t.Failed() {
			g.over()
		}
	})
}

type game struct {
	t       *testing.T
	engine  string
	n       *process
	r       *rand.Rand
	m       *model
	c       *race
	s       *signed
	key     string // of the operator
	writers []*writer
	reading *reading
	kills   int // that are meant to be
	killed  int // while clients appended
	rolls   int // of these, while a segment was followed by the next
	early   int // before it was ready
}

// born kills the node while it makes itself, and then lets it be made.
func (g *game) born() {
	for range 3 {
		g.n.spawn()
		time.Sleep(between(g.r, 0, 600*time.Millisecond)) // any moment will do
		g.n.kill()
	}
	g.n.start()
	g.key = g.n.must("app-key", "create", "ops", "--role", "operator", "-d", g.n.dir)
	g.n.kill()
	g.reading = g.m.read()
}

// life starts the node, looks at what it has, and kills it at work.
func (g *game) life() {
	if g.r.IntN(4) == 0 {
		g.n.spawn()
		time.Sleep(between(g.r, 0, g.n.boot[len(g.n.boot)-1])) // any moment will do
		g.n.kill()
		g.early++
	}
	g.n.start()
	d, err := g.n.open(g.key)
	if err != nil {
		g.t.Fatal(err)
	}
	if err := g.reread(g.reading); err != nil {
		g.t.Errorf("after %d kills: %v", g.killed, err)
		return
	}
	var wg sync.WaitGroup
	failed := make([]error, len(g.writers))
	for i, w := range g.writers {
		wg.Go(func() { failed[i] = w.run(g.t.Context(), d, g.m, g.c) })
	}
	for begun := time.Now(); g.provesLittle() && time.Since(begun) < patience; {
		time.Sleep(5 * time.Millisecond) // a machine may be busy
	}
	if g.engine == "segment" && g.r.IntN(3) == 0 {
		g.roll()
	} else {
		time.Sleep(between(g.r, 0, 800*time.Millisecond)) // any moment will do
	}
	g.n.kill()
	g.killed++
	wg.Wait()
	g.s.look()
	if err := errors.Join(failed...); err != nil {
		g.t.Errorf("before kill %d: %v", g.killed, err)
	}
	g.verified()
}

// provesLittle says whether clients have not got as far yet as a game needs:
// some appends a life, and more than one segment.
func (g *game) provesLittle() bool {
	yes, _, _, _ := g.m.counts()
	segments, _ := filepath.Glob(filepath.Join(g.n.dir, "store", "seg", "*.elog"))
	return yes < 3*(g.killed+1) || g.engine == "segment" && g.killed == g.kills-1 && len(segments) < 2
}

// roll waits, for a while, until one segment is followed by the next.
func (g *game) roll() {
	seg := filepath.Join(g.n.dir, "store", "seg")
	names := func() string {
		all, _ := os.ReadDir(seg) //nolint:errcheck // it may be read later
		var out []string
		for _, e := range all {
			out = append(out, e.Name())
		}
		return strings.Join(out, " ")
	}
	was := names()
	for begun := time.Now(); time.Since(begun) < time.Second; time.Sleep(500 * time.Microsecond) {
		if names() != was {
			g.rolls++
			time.Sleep(between(g.r, 0, 5*time.Millisecond)) // while it goes on
			return
		}
	}
}

// reread reads on in the log and holds it against what clients know.
func (g *game) reread(r *reading) error {
	d, err := g.n.open("")
	if err != nil {
		return err
	}
	defer d.db.Close() //nolint:errcheck // nothing is under way
	if err := d.readAll(r.next, r.take); err != nil {
		return err
	}
	if head, ok := r.heads[raceStream]; ok {
		g.c.saw(head)
	}
	if err := r.over(); err != nil {
		return err
	}
	names := r.streams()
	if len(names) == 0 {
		return nil
	}
	return whole(d, r, names[g.r.IntN(len(names))])
}

// whole checks that a stream, by its index, has as many events as the log.
func whole(d *door, r *reading, name string) error {
	next := int64(0)
	err := d.readStream(name, func(e *client.RecordedEvent) error {
		if int64(e.EventNumber) != next {
			return fmt.Errorf("%s: revision %d comes after %d", name, e.EventNumber, next-1)
		}
		next++
		return nil
	})
	if err == nil && next != r.heads[name]+1 {
		err = fmt.Errorf("%s: its index leads to %d events, the log has %d", name, next, r.heads[name]+1)
	}
	return err
}

// verified lets the program itself look at what a killed one left.
func (g *game) verified() (bytes int64, segments int) {
	g.t.Helper()
	r := g.n.emet("store", "verify", "-d", g.n.dir, "--json")
	var v struct {
		OK       bool
		Bytes    int64
		Segments int
	}
	if err := json.Unmarshal([]byte(r.stdout), &v); r.code != 0 || err != nil || !v.OK {
		g.t.Errorf("after %d kills: verify ends with %d\n%s%s", g.killed, r.code, r.stdout, r.stderr)
	}
	return v.Bytes, v.Segments
}

// over looks at everything once more, from the beginning.
func (g *game) over() {
	g.n.start()
	all := g.m.read()
	if err := g.reread(all); err != nil {
		g.t.Errorf("at the end: %v", err)
	}
	d, err := g.n.open("")
	if err != nil {
		g.t.Fatal(err)
	}
	for _, name := range all.streams() {
		if err := whole(d, all, name); err != nil {
			g.t.Errorf("at the end: %v", err)
		}
	}
	_ = d.db.Close()
	g.n.stop()
	g.s.end()
	key, err := verify.ParseKey(g.n.must("store", "checkpoint", "--key", "-d", g.n.dir))
	if err != nil {
		g.t.Fatal(err)
	}
	if err := g.s.check(g.n.dir, key); err != nil {
		g.t.Error(err)
	}
	bytes, segments := g.verified()
	yes, no, lost, survived := g.m.counts()
	if yes < 2*g.killed || g.engine == "segment" && segments < 2 || len(g.s.notes) < 3 {
		g.t.Errorf("this game proves little: %d appends, %d segments, %d checkpoints", yes, segments, len(g.s.notes))
	}
	var boot, slowest time.Duration
	for _, b := range g.n.boot {
		boot, slowest = boot+b, max(slowest, b)
	}
	g.t.Logf("%d kills at work, %d of them in a roll, and %d before READY; %d appends acknowledged, %d refused, %d without an answer at first, of which %d were there; %d positions, %.1f MB in %d segments; %d checkpoints; READY after %v on average, %v at most",
		g.killed, g.rolls, g.early+3, yes, no, lost, survived, all.next-1, float64(bytes)/1e6, segments, len(g.s.notes), (boot / time.Duration(len(g.n.boot))).Round(time.Millisecond), slowest.Round(time.Millisecond))
}
