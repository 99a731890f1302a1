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
	play(t, game{limit: 90 * time.Second})
}

func TestRequestorDiesAtEveryFact(t *testing.T) {
	t.Parallel()
	w := play(t, game{hurt: func(w *world) { w.requestor.faults(everyAppend) }, limit: 2 * time.Minute})
	w.requestor.died(t, 40)
}

func TestProviderDiesAtEveryFact(t *testing.T) {
	t.Parallel()
	w := play(t, game{hurt: func(w *world) { w.provider.faults(everyAppend) }, limit: 2 * time.Minute})
	w.provider.died(t, 40)
}

// TestBothDieBeforeFacts kills both nodes from their very first start on.
func TestBothDieBeforeFacts(t *testing.T) {
	t.Parallel()
	w := play(t, game{born: beforeAppends, limit: 2 * time.Minute})
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
	play(t, game{limit: 2 * time.Minute, hurt: func(w *world) {
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
	play(t, game{limit: 90 * time.Second, prepare: func(w *world, d *trace) {
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
	limit   time.Duration
}

// play makes a deal in a world in which things die, and then looks at
// everything that is left of it.
func play(t *testing.T, g game) *world {
	t.Helper()
	begun := time.Now()
	w := newWorld(t, g.born)
	ctx, cancel := context.WithTimeout(t.Context(), g.limit)
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
			t.Logf("%s\n%s\nrequestor:\n%s\nprovider:\n%s", w.requestor.summary(), w.provider.summary(), w.requestor.tail(25), w.provider.tail(25))
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
	w.examine(ctx, t, d.deal, before)
	t.Logf("%s; %s; in all %v", w.requestor.summary(), w.provider.summary(), time.Since(begun).Round(time.Millisecond))
	return w
}
