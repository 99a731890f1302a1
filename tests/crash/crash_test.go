package crash

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// everyAppend lets every life end at its first append.
func everyAppend(int) string { return "append:1" }

// steadily lets lives end at their first, second and third append in turn.
func beforeAppends(life int) string { return fmt.Sprintf("append-before:%d", 2+life%2) }

func TestNobodyCrashes(t *testing.T) {
	t.Parallel()
	play(t, func(*world) {}, 90*time.Second)
}

func TestRequestorDiesAtEveryFact(t *testing.T) {
	t.Parallel()
	play(t, func(w *world) { w.requestor.faults(everyAppend) }, 2*time.Minute)
}

func TestProviderDiesAtEveryFact(t *testing.T) {
	t.Parallel()
	play(t, func(w *world) { w.provider.faults(everyAppend) }, 2*time.Minute)
}

func TestBothDieBeforeFacts(t *testing.T) {
	t.Parallel()
	play(t, func(w *world) {
		w.requestor.faults(beforeAppends)
		w.provider.faults(beforeAppends)
	}, 2*time.Minute)
}

// play makes a deal in a world in which things die, and then looks at
// everything that is left of it.
func play(t *testing.T, hurt func(*world), limit time.Duration) {
	t.Helper()
	begun := time.Now()
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	t.Logf("all three processes are up after %v", time.Since(begun).Round(time.Millisecond))
	before := w.balances(ctx, t)
	d := &trace{c: w.requestor.client(), image: w.image, log: t.Logf}
	payee := w.provider.client()
	hurt(w)
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
}
