package es_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
)

func listed(t *rapid.T, events iter.Seq2[es.Event, error]) (out []string) {
	for e, err := range events {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprint(e.Position, e.Stream, e.Revision, e.ID))
	}
	return out
}

// A store as of n answers every question as one that never got more.
func TestThePastIsAStoreThatGotNoFurther(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		whole, short := memory.New(), memory.New()
		clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		now := func() time.Time { return clock }
		whole.WithClock(now)
		short.WithClock(now)
		size := rapid.IntRange(1, 30).Draw(t, "size")
		n := rapid.IntRange(0, size).Draw(t, "n")
		for i := range size {
			clock = clock.Add(time.Duration(rapid.IntRange(1, 3).Draw(t, "pause")) * time.Second)
			s := es.Stream(fmt.Sprint("s-", rapid.IntRange(0, 3).Draw(t, "stream")))
			w := es.Write{Stream: s, Expected: es.Any, Events: []es.NewEvent{{ID: es.EventID(s, fmt.Sprint(i), 0), Type: "t.v1", Data: []byte("{}"), Meta: []byte("{}")}}}
			for k, store := range []es.Store{whole, short} {
				if k == 1 && i >= n {
					continue
				}
				if _, err := store.Append(ctx, nil, w); err != nil {
					t.Fatal(err)
				}
			}
		}
		past := es.AsOf(whole, es.Position(n))
		from, limit := rapid.IntRange(0, size+1).Draw(t, "from"), rapid.IntRange(0, 5).Draw(t, "limit")
		same := func(what string, a, b []string) {
			if fmt.Sprint(a) != fmt.Sprint(b) {
				t.Fatalf("%s of %d of %d: %v, a store that got no further: %v", what, n, size, a, b)
			}
		}
		for _, d := range []es.Direction{es.Forward, es.Backward} {
			if d == es.Forward || from < n {
				same("all", listed(t, past.ReadAll(ctx, es.Position(from), d, es.Filter{}, limit)), listed(t, short.ReadAll(ctx, es.Position(from), d, es.Filter{}, limit)))
			}
			for s := range 4 {
				stream := es.Stream(fmt.Sprint("s-", s))
				r := es.Revision(rapid.IntRange(-1, 5).Draw(t, "revision"))
				if d == es.Forward {
					r = max(r, 0)
				}
				a, err1 := past.Info(ctx, stream)
				b, err2 := short.Info(ctx, stream)
				if a != b || err1 != nil || err2 != nil {
					t.Fatalf("info of %s: %v %v, %v %v", stream, a, err1, b, err2)
				}
				if d == es.Backward && r > b.Head {
					continue
				}
				same("a stream", listed(t, past.ReadStream(ctx, stream, r, d, limit)), listed(t, short.ReadStream(ctx, stream, r, d, limit)))
			}
		}
		if head, _ := past.Head(ctx); head != es.Position(n) {
			t.Fatalf("head %d, want %d", head, n)
		}
	})
}

func TestThePastTakesNothing(t *testing.T) {
	t.Parallel()
	l := newLog()
	c := counters(l, "c", 100)
	for i := range 3 {
		if _, err := c.Do(t.Context(), "x", add{N: 1}, meta(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	old := &es.Log{Store: es.AsOf(l.Store, 2), Codec: codec{}}
	then := counters(old, "c", 100)
	if s, rev, err := then.Load(t.Context(), "x"); err != nil || s.Sum != 2 || rev != 1 {
		t.Errorf("%+v at %d, %v", s, rev, err)
	}
	if _, err := then.Do(t.Context(), "x", add{N: 1}, meta("new")); !errors.Is(err, es.ErrPast) {
		t.Errorf("a command to the past: %v", err)
	}
	if err := old.Wait(t.Context(), 2, es.Filter{}); !errors.Is(err, es.ErrPast) {
		t.Errorf("waiting for news of the past: %v", err)
	}
	if err := old.Wait(t.Context(), 1, es.Filter{}); err != nil {
		t.Errorf("the last fact of the past was not told: %v", err)
	}
}

func TestMoments(t *testing.T) {
	t.Parallel()
	store := memory.New()
	clock := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	store.WithClock(func() time.Time { return clock })
	c := counters(&es.Log{Store: store, Codec: codec{}}, "c", 100)
	for i := range 5 { // at 12:00:00, 12:00:10, …
		if _, err := c.Do(t.Context(), "x", add{N: 1}, meta(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		clock = clock.Add(10 * time.Second)
	}
	now := clock
	for text, want := range map[string]es.Position{
		"0": 0, "4": 4, "now": 4, "2026-01-01T12:00:00Z": 0, "2026-01-01T12:00:09.999999Z": 0, "2026-01-01T12:00:10Z": 1,
		"2026-01-01T13:00:20+01:00": 2, "2026-01-01T13:00:20 01:00": 2, "2026-01-01T12:00:45Z": 4, " 3 ": 3,
	} {
		if m, err := es.MomentOf(t.Context(), store, text, now); err != nil || m.Last != want || m.Count() != want+1 {
			t.Errorf("%q is %+v, %v; want %d", text, m, err, want)
		}
	}
	for text, says := range map[string]string{
		"5":                    `as of "5": that has not happened yet; give a position (42: as it was after fact 42) or a time (2026-01-02T15:04:05Z); the last fact is at position 4`,
		"-1":                   `as of "-1": that is neither a position nor a time; give a position (42: as it was after fact 42) or a time (2026-01-02T15:04:05Z); the last fact is at position 4`,
		"yesterday":            `as of "yesterday": that is neither a position nor a time; give a position (42: as it was after fact 42) or a time (2026-01-02T15:04:05Z); the last fact is at position 4`,
		"2026-01-01":           `as of "2026-01-01": the log begins later; give a position (42: as it was after fact 42) or a time (2026-01-02T15:04:05Z); the last fact is at position 4`,
		"2026-01-01T12:01:00Z": `as of "2026-01-01T12:01:00Z": that has not come yet, it is 2026-01-01T12:00:50Z; give a position (42: as it was after fact 42) or a time (2026-01-02T15:04:05Z); the last fact is at position 4`,
	} {
		var bad *es.MomentError
		if _, err := es.MomentOf(t.Context(), store, text, now); !errors.As(err, &bad) || err.Error() != says {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := es.MomentOf(t.Context(), memory.New(), "0", now); err == nil {
		t.Error("an empty log has a moment")
	}
	// What was before a time does not come from then on.
	for text, want := range map[string]es.Position{
		"0": 0, "4": 4, "now": 4, "2026-01-01": 0, "2026-01-01T12:00:00Z": 0, "2026-01-01T12:00:00.000001Z": 1, "2026-01-01T12:00:10Z": 1,
		"2026-01-01T13:00:11+01:00": 2, "2026-01-01T12:00:45Z": 5,
	} {
		if got, err := es.FirstFrom(t.Context(), store, text, now); err != nil || got != want {
			t.Errorf("from %q on it is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"5", "yesterday", "2026-01-01T12:01:00Z"} {
		if _, err := es.FirstFrom(t.Context(), store, text, now); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
