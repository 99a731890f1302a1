package es_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/emet-node/emet/domain/es"
)

// move takes from one counter what it gives to another.
func move(ctx context.Context, l *es.Log, a, b *es.Aggregate[add, added, total], n int, key string) (es.Receipt, error) {
	return l.Atomically(ctx, meta(key), func(t *es.Tx) error {
		if _, err := a.In(t, "from", add{N: -n}); err != nil {
			return err
		}
		_, err := b.In(t, "to", add{N: n})
		return err
	})
}

func TestTwoStreamsChangeTogether(t *testing.T) {
	t.Parallel()
	l := newLog()
	a, b := counters(l, "a", 1000), counters(l, "b", 20)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			if _, err := move(t.Context(), l, a, b, 1, fmt.Sprint(i)); err != nil && !errors.Is(err, errFull) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	from, _, _ := a.Load(t.Context(), "from")
	to, _, _ := b.Load(t.Context(), "to")
	if from.Sum != -20 || to.Sum != 20 {
		t.Fatalf("%+v %+v", from, to)
	}
}

func TestARepeatedCommandOfManyStreamsWritesNothing(t *testing.T) {
	t.Parallel()
	l := newLog()
	a, b := counters(l, "a", 1000), counters(l, "b", 1000)
	if r, err := move(t.Context(), l, a, b, 3, "k"); err != nil || len(r.Heads) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	head, _ := l.Store.Head(t.Context())
	fresh := counters(l, "a", 1000)
	for _, again := range []*es.Aggregate[add, added, total]{a, fresh} {
		if r, err := move(t.Context(), l, again, b, 3, "k"); err != nil || len(r.Heads) != 0 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if now, _ := l.Store.Head(t.Context()); now != head {
		t.Fatalf("head moved from %d to %d", head, now)
	}
}

// What was only looked at must not have changed either.
func TestWhatWasPeekedAtIsChecked(t *testing.T) {
	t.Parallel()
	l := newLog()
	a, b := counters(l, "a", 1000), counters(l, "b", 1000)
	runs := 0
	_, err := l.Atomically(t.Context(), meta("k"), func(tx *es.Tx) error {
		runs++
		s, err := a.Peek(tx, "x")
		if err != nil {
			return err
		}
		if runs == 1 { // somebody else gets in between
			if _, err := counters(l, "a", 1000).Do(t.Context(), "x", add{N: 7}, meta("other")); err != nil {
				return err
			}
		}
		_, err = b.In(tx, "y", add{N: s.Sum + 1})
		return err
	})
	if s, _, _ := b.Load(t.Context(), "y"); err != nil || runs != 2 || s.Sum != 8 {
		t.Fatalf("%d runs, %+v, %v", runs, s, err)
	}
}

func TestTwoCommandsForOneStreamInOneAppend(t *testing.T) {
	t.Parallel()
	l := newLog()
	a := counters(l, "a", 3)
	_, err := l.Atomically(t.Context(), meta("k"), func(tx *es.Tx) error {
		for range 3 {
			if _, err := a.In(tx, "x", add{N: 1}); err != nil {
				return err
			}
		}
		if _, err := a.In(tx, "x", add{N: 1}); !errors.Is(err, errFull) {
			t.Errorf("the fourth saw nothing of the others: %v", err)
		}
		return nil
	})
	if s, rev, _ := a.Load(t.Context(), "x"); err != nil || s.Sum != 3 || rev != 2 {
		t.Fatalf("%+v at %d, %v", s, rev, err)
	}
}
