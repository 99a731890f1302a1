package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
)

// patience is how long a message is waited for that a busy machine brings late.
const patience = 2 * time.Minute

func next(t testing.TB, sub es.Subscription) es.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m, err := sub.Next(ctx)
	if err != nil {
		t.Fatalf("next message: %v", err)
	}
	return m
}

func nextEvent(t testing.TB, sub es.Subscription) es.Event {
	t.Helper()
	for {
		if m := next(t, sub); m.Event != nil {
			return *m.Event
		}
	}
}

// untilCaughtUp returns the events before the next CaughtUp.
func untilCaughtUp(t testing.TB, sub es.Subscription) (out []es.Event) {
	t.Helper()
	for {
		switch m := next(t, sub); {
		case m.CaughtUp:
			return out
		case m.Event != nil:
			out = append(out, *m.Event)
		}
	}
}

func subscribed(t testing.TB, s es.Store, after *es.Position, f es.Filter) es.Subscription {
	t.Helper()
	sub := s.Subscribe(t.Context(), after, f)
	t.Cleanup(func() { _ = sub.Close() })
	return sub
}

func subscribe(t *testing.T, s es.Store) {
	early := subscribed(t, s, nil, es.Filter{})
	wantNames(t, "empty store", untilCaughtUp(t, early))
	mustAppend(t, s, write("deal-1", es.NoStream, "a", "b"))
	late := subscribed(t, s, nil, es.Filter{})
	wantNames(t, "catching up", untilCaughtUp(t, late), "a", "b")
	mustAppend(t, s, write("deal-1", 1, "c"))
	want := all(t, s)
	for _, sub := range []es.Subscription{early, late} {
		e := nextEvent(t, sub)
		if sub == early {
			sameHistory(t, []es.Event{e, nextEvent(t, sub), nextEvent(t, sub)}, want)
		} else {
			sameHistory(t, []es.Event{e}, want[2:])
		}
	}
}

func subscribeAfter(t *testing.T, s es.Store) {
	mustAppend(t, s, write("deal-1", es.NoStream, "a", "b", "c"))
	after := es.Position(1)
	wantNames(t, "after 1", untilCaughtUp(t, subscribed(t, s, &after, es.Filter{})), "c")
	after = 2
	sub := subscribed(t, s, &after, es.Filter{})
	wantNames(t, "after the last", untilCaughtUp(t, sub))
	after = 0 // the subscription has its own copy
	mustAppend(t, s, write("deal-1", 2, "d"))
	wantNames(t, "then", []es.Event{nextEvent(t, sub)}, "d")
}

func subscribeFiltered(t *testing.T, s es.Store) {
	sub := subscribed(t, s, nil, es.Filter{Streams: []es.Stream{"deal-1"}})
	mustAppend(t, s, write("deal-1", es.NoStream, "a"), write("noise-1", es.NoStream, "x"))
	wantNames(t, "first", []es.Event{nextEvent(t, sub)}, "a")
	for i := range 3 {
		mustAppend(t, s, es.Write{Stream: "noise-1", Expected: es.Any, Events: numbered("n"+string(rune('a'+i)), 3000)})
	}
	end := head(t, s) - 1
	for {
		m := next(t, sub)
		if m.Event != nil {
			t.Fatalf("event %s of %s does not match", m.Event.Data, m.Event.Stream)
		}
		if m.Checkpoint != nil && *m.Checkpoint == end {
			break
		}
	}
	mustAppend(t, s, write("deal-1", 0, "b"))
	wantNames(t, "then", []es.Event{nextEvent(t, sub)}, "b")
}

func subscribeEnds(t *testing.T, s es.Store) {
	sub := s.Subscribe(t.Context(), nil, es.Filter{})
	untilCaughtUp(t, sub)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := sub.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("next with a deadline: %v", err)
	}
	ended := make(chan error)
	go func() {
		_, err := sub.Next(t.Context())
		ended <- err
	}()
	if err := sub.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := <-ended; !errors.Is(err, es.ErrClosed) {
		t.Errorf("next while closed: %v", err)
	}
	if _, err := sub.Next(t.Context()); !errors.Is(err, es.ErrClosed) {
		t.Errorf("next after close: %v", err)
	}
	of, stop := context.WithCancel(t.Context())
	other := s.Subscribe(of, nil, es.Filter{})
	defer other.Close() //nolint:errcheck // nothing is written
	untilCaughtUp(t, other)
	stop()
	if _, err := other.Next(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("next after the subscription's context ended: %v", err)
	}
}

func subscribeNoGap(t *testing.T, s es.Store) {
	const appends = 200
	done := make(chan error, 1)
	go func() {
		for i := range appends {
			if _, err := s.Append(t.Context(), nil, es.Write{Stream: "deal-1", Expected: es.Any, Events: numbered(string(rune(0x100+i)), 1+i%3)}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	var subs []es.Subscription
	for i := range 4 {
		after := es.Position(i * 7)
		subs = append(subs, subscribed(t, s, &after, es.Filter{}))
		untilCaughtUp(t, subs[i])
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	total := head(t, s)
	fresh := subscribed(t, s, nil, es.Filter{})
	for p := range total {
		if e := nextEvent(t, fresh); e.Position != p {
			t.Fatalf("got position %d, want %d", e.Position, p)
		}
	}
}

// subscribeOnAndOff lets subscribers pause, give up and come back where they
// were while others write: each event is seen once, in order, and only when it is durable.
func subscribeOnAndOff(t *testing.T, s es.Store) {
	const appends, subscribers = 150, 4
	var writing, reading sync.WaitGroup
	for w := range 3 {
		writing.Go(func() {
			for i := range appends / 3 {
				if _, err := s.Append(t.Context(), nil, es.Write{Stream: es.Stream(fmt.Sprintf("on-%d", w)), Expected: es.Any, Events: numbered(fmt.Sprintf("%d-%d", w, i), 1+i%3)}); err != nil {
					t.Errorf("append: %v", err)
					return
				}
			}
		})
	}
	total := es.Position(3 * (appends / 3 / 3 * 6))
	for i := range appends / 3 % 3 {
		total += es.Position(3 * (1 + i))
	}
	for n := range subscribers {
		reading.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(n))) //nolint:gosec // chosen by the seed
			var after *es.Position
			idle := 0 // lives without an event: a busy machine needs more time for one
			for next := es.Position(0); next < total; {
				sub, begun := s.Subscribe(t.Context(), after, es.Filter{}), next
				for range 1 + r.IntN(40) {
					ctx, stop := context.WithTimeout(t.Context(), time.Duration(r.IntN(3))*time.Millisecond<<min(idle, 10))
					m, err := sub.Next(ctx)
					stop()
					if err != nil || m.Event == nil {
						continue // a pause
					}
					if h := head(t, s); m.Event.Position != next || h <= next {
						t.Errorf("subscriber %d got position %d, want %d; the head is %d", n, m.Event.Position, next, h)
						return
					}
					p := next
					after = &p
					if next++; next == total {
						break
					}
				}
				if err := sub.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
				if idle++; next > begun {
					idle = 0
				}
			}
		})
	}
	writing.Wait()
	reading.Wait()
	if h := head(t, s); h != total {
		t.Errorf("%d events, want %d", h, total)
	}
}
