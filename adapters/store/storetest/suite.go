// Package storetest is what every engine of the event store must pass. It
// tests the promises of [es.Store] from outside, through the port alone.
package storetest

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
)

// Opener opens an empty store that lasts as long as t.
type Opener func(t testing.TB) es.Store

// Reopener ends a store as its process would and opens the same data again.
type Reopener func(t testing.TB, old es.Store) es.Store

// Option tells the suite more about an engine.
type Option func(*suite)

// Reopening lets the suite see what survives. An engine that says it is
// durable must bring it.
func Reopening(r Reopener) Option { return func(s *suite) { s.reopen = r } }

// EventBytes tells how large an event the engine takes, where that is less than
// [es.MaxEventBytes].
func EventBytes(n int) Option { return func(s *suite) { s.largest = n } }

type suite struct {
	open    Opener
	reopen  Reopener
	largest int
}

// Run holds the engine behind open against all promises of [es.Store].
func Run(t *testing.T, open func(t testing.TB) es.Store, options ...Option) {
	s := &suite{open: open, largest: es.MaxEventBytes}
	for _, o := range options {
		o(s)
	}
	tests := []struct {
		name string
		run  func(*testing.T, es.Store)
	}{
		{"an empty store has nothing", emptyStore},
		{"what is appended can be read", roundTrip},
		{"a writer says which revision it expects", expectedRevisions},
		{"a refused append leaves no trace", refusedLeavesNoTrace},
		{"checks hold streams that are not written", checks},
		{"several streams change together", multiStream},
		{"the writer's and the reader's buffers are their own", ownBuffers},
		{"limits are kept", s.limits},
		{"a cancelled append writes nothing", cancelledAppend},
		{"time moves on with every event", recorded},

		{"a repeated append gets the original receipt", repeatedAppend},
		{"a repeated append must expect the same place", repeatedElsewhere},
		{"a repeated append without expectation is found", repeatedAny},
		{"half a repetition is a conflict", halfRepeated},
		{"the same id cannot mean two things", idConflict},
		{"several streams are repeated together", repeatedMultiStream},

		{"streams are read in both directions", readStream},
		{"the log is read in both directions", readAll},
		{"filters choose by stream and type", filters},
		{"what is lent is what is read", lent},
		{"a read can be left early", leaveEarly},
		{"a read ends with its context", cancelledRead},

		{"a subscription catches up, says so and goes on", subscribe},
		{"a subscription starts after a position", subscribeAfter},
		{"a filtered subscription tells how far it looked", subscribeFiltered},
		{"a subscription ends when it is closed or cancelled", subscribeEnds},
		{"there is no gap between old and new events", subscribeNoGap},
		{"a subscriber that comes and goes sees everything once", subscribeOnAndOff},

		{"64 writers make one history", manyWriters},
		{"one stream has one winner per revision", contention},
		{"nobody sees half of an append", neverHalf},
		{"a writer reads its own writes", readYourWrites},
		{"clients see one order of everything", linearizable},
		{"a stale read would be noticed", unlinearizable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open(t))
		})
	}
	t.Run("any sequence of commands does what a map would", s.model)
	t.Run("what was acknowledged is there after a restart", s.persistence)
}

// event makes an event whose id and content follow from its name.
func event(name string) es.NewEvent {
	return es.NewEvent{
		ID:   es.EventID("storetest", name, 0),
		Type: "storetest.happened.v1",
		Data: fmt.Appendf(nil, `{"name":%q}`, name),
		Meta: []byte(`{"actor":"saga","key":"k"}`),
	}
}

func events(names ...string) []es.NewEvent {
	out := make([]es.NewEvent, len(names))
	for i, n := range names {
		out[i] = event(n)
	}
	return out
}

func numbered(prefix string, n int) []es.NewEvent {
	out := make([]es.NewEvent, n)
	for i := range out {
		out[i] = event(fmt.Sprintf("%s-%d", prefix, i))
	}
	return out
}

func write(s es.Stream, expected es.Revision, names ...string) es.Write {
	return es.Write{Stream: s, Expected: expected, Events: events(names...)}
}

func mustAppend(t testing.TB, s es.Store, writes ...es.Write) es.Receipt {
	t.Helper()
	r, err := s.Append(t.Context(), nil, writes...)
	if err != nil {
		t.Fatalf("append to %s: %v", writes[0].Stream, err)
	}
	return r
}

// reporter is what testing and rapid have in common.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
}

func collect(t reporter, events iter.Seq2[es.Event, error]) []es.Event {
	t.Helper()
	var out []es.Event
	for e, err := range events {
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		out = append(out, e)
	}
	return out
}

func all(t testing.TB, s es.Store) []es.Event {
	t.Helper()
	return collect(t, s.ReadAll(t.Context(), 0, es.Forward, es.Filter{}, 0))
}

func head(t testing.TB, s es.Store) es.Position {
	t.Helper()
	h, err := s.Head(t.Context())
	if err != nil {
		t.Fatalf("head: %v", err)
	}
	return h
}

// names are the contents of events, in the short form the tests speak in.
func names(events []es.Event) []string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = string(bytes.TrimSuffix(bytes.TrimPrefix(e.Data, []byte(`{"name":"`)), []byte(`"}`)))
	}
	return out
}

func wantNames(t testing.TB, what string, got []es.Event, want ...string) {
	t.Helper()
	if g := names(got); !slices.Equal(g, want) && len(g)+len(want) > 0 {
		t.Errorf("%s: got %q, want %q", what, g, want)
	}
}

// sameEvent compares everything that an engine must keep.
func sameEvent(a, b es.Event) bool {
	return a.ID == b.ID && a.Type == b.Type && a.Subject == b.Subject && bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Meta, b.Meta) &&
		a.Stream == b.Stream && a.Revision == b.Revision && a.Position == b.Position && a.Recorded.Equal(b.Recorded) &&
		a.Leaf == b.Leaf && a.PrevInStream == b.PrevInStream
}

func sameHistory(t testing.TB, got, want []es.Event) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i := range got {
		if !sameEvent(got[i], want[i]) {
			t.Fatalf("event %d:\n got %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

// wellFormed checks what is true of every history.
func wellFormed(t reporter, history []es.Event) {
	t.Helper()
	next := make(map[es.Stream]es.Revision)
	var before time.Time
	for i, e := range history {
		if e.Position != es.Position(i) {
			t.Fatalf("event %d has position %d", i, e.Position)
		}
		if e.Revision != next[e.Stream] {
			t.Fatalf("position %d: %s has revision %d, want %d", i, e.Stream, e.Revision, next[e.Stream])
		}
		next[e.Stream]++
		if e.Recorded.Location() != time.UTC || !e.Recorded.Equal(e.Recorded.Truncate(time.Microsecond)) {
			t.Fatalf("position %d: recorded %v is not UTC in whole microseconds", i, e.Recorded)
		}
		if e.Recorded.Sub(before) < time.Microsecond {
			t.Fatalf("position %d: recorded %v, the one before %v", i, e.Recorded, before)
		}
		before = e.Recorded
	}
}
