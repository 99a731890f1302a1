package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"
)

// everyAppend lets every life end at its first append.
func everyAppend(int) string { return "append:1" }

// beforeAppends lets lives end right before their second or third append.
func beforeAppends(life int) string { return fmt.Sprintf("append-before:%d", 2+life%2) }

func TestNobodyCrashes(t *testing.T) {
	t.Parallel()
	play(t, game{})
}

func TestRequestorDiesAtEveryFact(t *testing.T) {
	t.Parallel()
	w := play(t, game{hurt: func(w *world) { w.requestor.faults(everyAppend) }})
	w.requestor.died(t, 40)
}

func TestProviderDiesAtEveryFact(t *testing.T) {
	t.Parallel()
	w := play(t, game{hurt: func(w *world) { w.provider.faults(everyAppend) }})
	w.provider.died(t, 40)
}

// TestBothDieBeforeFacts kills both nodes from their very first start on.
func TestBothDieBeforeFacts(t *testing.T) {
	t.Parallel()
	w := play(t, game{born: beforeAppends})
	w.requestor.died(t, 30)
	w.provider.died(t, 30)
}

// TestAnythingDiesAtAnyTime kills processes at random moments: the chain, both
// nodes, one after the other or two at once.
func TestAnythingDiesAtAnyTime(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // to be repeated
	over := make(chan struct{})
	var killer sync.WaitGroup
	play(t, game{hurt: func(w *world) {
		all := []*process{w.chain, w.requestor, w.provider}
		killer.Go(func() {
			for range 25 {
				select {
				case <-over:
					return
				case <-time.After(time.Duration(100+r.IntN(900)) * time.Millisecond):
				}
				for _, i := range r.Perm(len(all))[:1+r.IntN(2)] {
					all[i].kill()
				}
			}
		})
		t.Cleanup(func() { close(over); killer.Wait() })
	}})
}

// TestAKilledExeUnitIsBilled kills the supervisor of the activity: what it used
// until then is billed and paid, and nothing of it is left.
func TestAKilledExeUnitIsBilled(t *testing.T) {
	t.Parallel()
	play(t, game{prepare: func(w *world, d *trace) {
		d.broken = func(ctx context.Context) error {
			for _, pid := range w.unitPIDs() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			return d.isOver(ctx)
		}
	}})
}

// game says what dies when.
type game struct {
	born    func(life int) string // of both nodes, from the first life on
	hurt    func(*world)          // when both are up
	prepare func(*world, *trace)
}

// A game is over in seconds when nothing dies, and in a minute or two when all
// does; on a machine that has other things to do it takes a multiple. These only
// end one that goes nowhere.
const (
	dealTime    = 12 * time.Minute
	examineTime = 10 * time.Minute
)

// play makes a deal in a world in which things die, and then looks at
// everything that is left of it.
func play(t *testing.T, g game) *world {
	t.Helper()
	begun := time.Now()
	w := newWorld(t, g.born)
	ctx, cancel := context.WithTimeout(t.Context(), dealTime)
	defer cancel()
	t.Logf("all three processes are up after %v", time.Since(begun).Round(time.Millisecond))
	before := w.balances(ctx, t)
	d := &trace{c: w.requestor.client(), image: w.image, log: t.Logf}
	payee := w.provider.client()
	if g.prepare != nil {
		g.prepare(w, d)
	}
	if g.hurt != nil {
		g.hurt(w)
	}
	defer func() {
		if t.Failed() {
			w.tell(t, d.deal)
		}
	}()
	if err := d.rent(ctx); err != nil {
		t.Fatalf("after %v: %v", time.Since(begun).Round(time.Millisecond), err)
	}
	if err := settled(ctx, d.c, d.invoice); err != nil {
		t.Fatalf("requestor: %v", err)
	}
	if err := settled(ctx, payee, d.invoice); err != nil {
		t.Fatalf("provider: %v", err)
	}
	t.Logf("settled on both sides after %v", time.Since(begun).Round(time.Millisecond))
	looking, stop := context.WithTimeout(t.Context(), examineTime)
	defer stop()
	w.examine(looking, t, d.deal, before)
	t.Logf("%s; %s; in all %v", w.requestor.summary(), w.provider.summary(), time.Since(begun).Round(time.Millisecond))
	return w
}
