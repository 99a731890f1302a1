package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/emet-node/emet/domain/es"
)

func manyWriters(t *testing.T, s es.Store) {
	const writers, rounds = 64, 20
	sub := subscribed(t, s, nil, es.Filter{})
	receipts := make([][]es.Receipt, writers)
	var all64 sync.WaitGroup
	for w := range writers {
		all64.Go(func() {
			for i := range rounds {
				stream := es.Stream(fmt.Sprintf("own-%d", w))
				r, err := s.Append(t.Context(), nil, write(stream, es.Revision(i-1), fmt.Sprintf("w%d-%d", w, i)))
				if err != nil {
					t.Errorf("writer %d, round %d: %v", w, i, err)
					return
				}
				receipts[w] = append(receipts[w], r)
			}
		})
	}
	seen := make([]es.Event, 0, writers*rounds)
	for range writers * rounds {
		e := nextEvent(t, sub)
		if h := head(t, s); h <= e.Position {
			t.Fatalf("position %d was seen while the head was %d", e.Position, h)
		}
		seen = append(seen, e)
	}
	all64.Wait()
	history := all(t, s)
	wellFormed(t, history)
	sameHistory(t, seen, history)
	for w, rs := range receipts {
		for i, r := range rs {
			if got, want := names(history[r.First : r.Last+1])[0], fmt.Sprintf("w%d-%d", w, i); got != want || r.First != r.Last {
				t.Fatalf("receipt %+v of %s leads to %s", r, want, got)
			}
		}
	}
}

// contention lets writers race for the same revisions: each has one winner,
// and everyone else is told so.
func contention(t *testing.T, s es.Store) {
	const writers, goal = 16, 5
	var all16 sync.WaitGroup
	for w := range writers {
		all16.Go(func() {
			for won := 0; won < goal; {
				info, err := s.Info(t.Context(), "race-1")
				if err != nil {
					t.Error(err)
					return
				}
				_, err = s.Append(t.Context(), nil, write("race-1", info.Head, fmt.Sprintf("w%d-%d", w, won)))
				switch {
				case err == nil:
					won++
				case !errors.Is(err, es.ErrConflict):
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	all16.Wait()
	history := all(t, s)
	wellFormed(t, history)
	if len(history) != writers*goal {
		t.Errorf("%d events, want %d", len(history), writers*goal)
	}
}

func neverHalf(t *testing.T, s es.Store) {
	const writers, rounds = 8, 30
	var writing, reading sync.WaitGroup
	stop := make(chan struct{})
	for w := range writers {
		writing.Go(func() {
			for i := range rounds {
				n := fmt.Sprintf("%d-%d", w, i)
				if _, err := s.Append(t.Context(), nil, write("bill-1", es.Any, "bill"+n), write("budget-1", es.Any, "budget"+n)); err != nil {
					t.Errorf("append %s: %v", n, err)
				}
			}
		})
	}
	for range 2 {
		reading.Go(func() {
			for {
				if h, err := s.Head(t.Context()); err != nil || h%2 != 0 {
					t.Errorf("head %d, %v: half of an append is visible", h, err)
				}
				if n := len(collect(t, s.ReadAll(t.Context(), 0, es.Forward, es.Filter{}, 0))); n%2 != 0 {
					t.Errorf("a reader saw %d events", n)
				}
				bill, err1 := s.Info(t.Context(), "bill-1")
				budget, err2 := s.Info(t.Context(), "budget-1")
				if err := errors.Join(err1, err2); err != nil || budget.Head < bill.Head {
					t.Errorf("bill at %d, then budget at %d, %v", bill.Head, budget.Head, err)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	writing.Wait()
	close(stop)
	reading.Wait()
}

func readYourWrites(t *testing.T, s es.Store) {
	var all8 sync.WaitGroup
	for w := range 8 {
		all8.Go(func() {
			stream := es.Stream(fmt.Sprintf("own-%d", w))
			for i := range 25 {
				r, err := s.Append(t.Context(), nil, write(stream, es.Any, fmt.Sprintf("w%d-%d", w, i)))
				if err != nil {
					t.Error(err)
					return
				}
				info, err := s.Info(t.Context(), stream)
				if err != nil || info.Head != es.Revision(i) {
					t.Errorf("%s: info %+v, %v after revision %d was acknowledged", stream, info, err, i)
				}
				for e, err := range s.ReadAll(t.Context(), r.First, es.Forward, es.Filter{}, 1) {
					if err != nil || e.Stream != stream {
						t.Errorf("position %d: %s, %v", r.First, e.Stream, err)
					}
				}
				got := 0
				for _, err := range s.ReadStream(t.Context(), stream, 0, es.Forward, 0) {
					if err != nil {
						t.Errorf("%s: %v", stream, err)
						break
					}
					got++
				}
				if got != i+1 {
					t.Errorf("%s: %d events after %d were acknowledged", stream, got, i+1)
				}
			}
		})
	}
	all8.Wait()
}
