package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
)

func emptyStore(t *testing.T, s es.Store) {
	if h := head(t, s); h != 0 {
		t.Errorf("head %d, want 0", h)
	}
	info, err := s.Info(t.Context(), "deal-1")
	if err != nil || info.Head != es.NoStream {
		t.Errorf("info %+v, %v; want no stream", info, err)
	}
	wantNames(t, "log", all(t, s))
	wantNames(t, "log backward", collect(t, s.ReadAll(t.Context(), 7, es.Backward, es.Filter{}, 0)))
	wantNames(t, "stream", collect(t, s.ReadStream(t.Context(), "deal-1", 0, es.Forward, 0)))
	wantNames(t, "stream backward", collect(t, s.ReadStream(t.Context(), "deal-1", -1, es.Backward, 0)))
	if s.Caps().Name == "" {
		t.Error("the engine has no name")
	}
}

func roundTrip(t *testing.T, s es.Store) {
	in := es.NewEvent{
		ID: es.EventID("a", "k", 0), Type: "a.said.v1", Subject: "peer/0x1",
		Data: []byte("{\"bytes\":\"\u2028 \x00\xff\"}"), Meta: []byte(`{"key":"k"}`),
	}
	bare := es.NewEvent{ID: es.EventID("a", "k", 1), Type: "a.empty.v1"}
	before := time.Now().Add(-time.Hour)
	r := mustAppend(t, s, es.Write{Stream: "a-ü-1", Expected: es.NoStream, Events: []es.NewEvent{in, bare}})
	if r.First != 0 || r.Last != 1 || !slices.Equal(r.Heads, []es.Revision{1}) {
		t.Errorf("receipt %+v", r)
	}
	got := all(t, s)
	if len(got) != 2 {
		t.Fatalf("%d events, want 2", len(got))
	}
	want := es.Event{NewEvent: in, Stream: "a-ü-1", Position: 0, Recorded: r.Recorded, Leaf: got[0].Leaf}
	if !sameEvent(got[0], want) {
		t.Errorf("got %+v\nwant %+v", got[0], want)
	}
	if len(got[1].Data) != 0 || len(got[1].Meta) != 0 || got[1].Type != bare.Type || got[1].Revision != 1 {
		t.Errorf("event without content: %+v", got[1])
	}
	if r.Recorded.Before(before) {
		t.Errorf("recorded at %v", r.Recorded)
	}
	wellFormed(t, got)
	sameHistory(t, collect(t, s.ReadStream(t.Context(), "a-ü-1", 0, es.Forward, 0)), got)
	if s.Caps().MerkleProofs && (got[0].Leaf == es.Hash{} || got[1].PrevInStream != got[0].Leaf || got[0].PrevInStream != es.Hash{}) {
		t.Errorf("leaves are not chained: %v %v", got[0].Leaf, got[1].PrevInStream)
	}
}

func expectedRevisions(t *testing.T, s es.Store) {
	mustAppend(t, s, write("deal-1", es.NoStream, "a", "b")) // now at revision 1
	for _, c := range []struct {
		stream   es.Stream
		expected es.Revision
		actual   es.Revision
		ok       bool
	}{
		{"deal-1", es.NoStream, 1, false},
		{"deal-1", 0, 1, false},
		{"deal-1", 2, 1, false},
		{"new-1", 0, es.NoStream, false},
		{"new-1", es.StreamExists, es.NoStream, false},
		{"deal-1", 1, 0, true},
		{"deal-1", es.StreamExists, 0, true},
		{"deal-1", es.Any, 0, true},
		{"new-1", es.Any, 0, true},
		{"new-2", es.NoStream, 0, true},
	} {
		e := event(string(c.stream) + string(rune('k'+c.expected)) + "x")
		_, err := s.Append(t.Context(), nil, es.Write{Stream: c.stream, Expected: c.expected, Events: []es.NewEvent{e}})
		if c.ok {
			if err != nil {
				t.Errorf("%s at %d: %v", c.stream, c.expected, err)
			}
			continue
		}
		wantConflict(t, err, es.WrongExpectedRevision{Stream: c.stream, Expected: c.expected, Actual: c.actual})
	}
	info, err := s.Info(t.Context(), "deal-1")
	if err != nil || info.Head != 4 {
		t.Errorf("info %+v, %v; want head 4", info, err)
	}
}

func wantConflict(t testing.TB, err error, want es.WrongExpectedRevision) {
	t.Helper()
	var wrong *es.WrongExpectedRevision
	if !errors.Is(err, es.ErrConflict) || !errors.As(err, &wrong) {
		t.Errorf("want a conflict on %s, got %v", want.Stream, err)
		return
	}
	if *wrong != want {
		t.Errorf("conflict %+v, want %+v", *wrong, want)
	}
}

func refusedLeavesNoTrace(t *testing.T, s es.Store) {
	mustAppend(t, s, write("deal-1", es.NoStream, "a"))
	_, err := s.Append(t.Context(), nil, write("deal-2", es.NoStream, "b"), write("deal-1", es.NoStream, "c"), write("deal-3", es.Any, "d"))
	wantConflict(t, err, es.WrongExpectedRevision{Stream: "deal-1", Expected: es.NoStream, Actual: 0})
	wantNames(t, "log", all(t, s), "a")
	mustAppend(t, s, write("deal-2", es.NoStream, "b"))
	wantNames(t, "log", all(t, s), "a", "b")
}

func checks(t *testing.T, s es.Store) {
	mustAppend(t, s, write("deal-1", es.NoStream, "a"))
	_, err := s.Append(t.Context(), []es.Check{{Stream: "deal-1", Expected: 0}, {Stream: "none-1", Expected: es.NoStream}}, write("deal-2", es.NoStream, "b"))
	if err != nil {
		t.Errorf("checks that hold: %v", err)
	}
	_, err = s.Append(t.Context(), []es.Check{{Stream: "deal-1", Expected: 5}}, write("deal-3", es.NoStream, "c"))
	wantConflict(t, err, es.WrongExpectedRevision{Stream: "deal-1", Expected: 5, Actual: 0})
	_, err = s.Append(t.Context(), []es.Check{{Stream: "none-1", Expected: es.StreamExists}}, write("deal-3", es.NoStream, "c"))
	wantConflict(t, err, es.WrongExpectedRevision{Stream: "none-1", Expected: es.StreamExists, Actual: es.NoStream})
	wantNames(t, "log", all(t, s), "a", "b")
	// What was acknowledged stays so when its checks would fail today.
	if _, err := s.Append(t.Context(), []es.Check{{Stream: "deal-1", Expected: 7}}, write("deal-2", es.NoStream, "b")); err != nil {
		t.Errorf("repetition whose check no longer holds: %v", err)
	}
}

func multiStream(t *testing.T, s es.Store) {
	mustAppend(t, s, write("deal-2", es.NoStream, "z"))
	r := mustAppend(t, s, write("deal-1", es.NoStream, "a", "b"), write("deal-2", 0, "c"), write("deal-3", es.Any, "d", "e"))
	if r.First != 1 || r.Last != 5 || !slices.Equal(r.Heads, []es.Revision{1, 1, 1}) {
		t.Errorf("receipt %+v", r)
	}
	got := all(t, s)
	wantNames(t, "log", got, "z", "a", "b", "c", "d", "e")
	wellFormed(t, got)
	if !got[1].Recorded.Equal(r.Recorded) {
		t.Errorf("receipt says %v, the first event %v", r.Recorded, got[1].Recorded)
	}
	wantNames(t, "deal-2", collect(t, s.ReadStream(t.Context(), "deal-2", 0, es.Forward, 0)), "z", "c")
}

func ownBuffers(t *testing.T, s es.Store) {
	w := write("deal-1", es.NoStream, "a")
	mustAppend(t, s, w)
	clear(w.Events[0].Data)
	clear(w.Events[0].Meta)
	for range 2 {
		got := all(t, s)
		wantNames(t, "log", got, "a")
		if string(got[0].Meta) != string(event("a").Meta) {
			t.Errorf("metadata %q", got[0].Meta)
		}
		clear(got[0].Data)
		clear(got[0].Meta)
	}
}

func (x *suite) limits(t *testing.T, s es.Store) {
	sized := func(name string, n int) es.NewEvent {
		e := event(name)
		e.Data, e.Meta = make([]byte, n), nil
		return e
	}
	five := make([]es.NewEvent, 5)
	for i := range five {
		five[i] = sized("five"+string(rune('0'+i)), es.MaxEventBytes-1)
	}
	long := event("long")
	long.Type = strings.Repeat("t", 70_000)
	for name, w := range map[string][]es.Write{
		"event":    {{Stream: "a-1", Expected: es.Any, Events: []es.NewEvent{sized("big", x.largest+1)}}},
		"append":   {{Stream: "a-1", Expected: es.Any, Events: five[:2]}, {Stream: "a-2", Expected: es.Any, Events: five[2:]}},
		"count":    {{Stream: "a-1", Expected: es.Any, Events: numbered("n", es.MaxAppendEvents+1)}},
		"name":     {write(es.Stream("a-"+strings.Repeat("x", es.MaxStreamNameSize)), es.Any, "a")},
		"type":     {{Stream: "a-1", Expected: es.Any, Events: []es.NewEvent{long}}},
		"one fits": {write("a-1", es.Any, "a"), {Stream: "a-2", Expected: es.Any, Events: []es.NewEvent{sized("big", x.largest+1)}}},
	} {
		if _, err := s.Append(t.Context(), nil, w...); !errors.Is(err, es.ErrTooLarge) {
			t.Errorf("%s: got %v, want too large", name, err)
		}
	}
	for name, w := range map[string][]es.Write{
		"nothing at all":          nil,
		"no events":               {write("a-1", es.Any)},
		"no name":                 {write("", es.Any, "a")},
		"no id":                   {{Stream: "a-1", Expected: es.Any, Events: []es.NewEvent{{Type: "x"}}}},
		"no type":                 {{Stream: "a-1", Expected: es.Any, Events: []es.NewEvent{{ID: event("a").ID}}}},
		"a stream twice":          {write("a-1", es.Any, "a"), write("a-1", es.Any, "b")},
		"an id twice":             {write("a-1", es.Any, "a", "a")},
		"expectation unheard of":  {write("a-1", -3, "a")},
		"expectation unheard of2": {write("a-1", -77, "a")},
	} {
		if _, err := s.Append(t.Context(), nil, w...); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if h := head(t, s); h != 0 {
		t.Errorf("head %d after refused appends, want 0", h)
	}
	mustAppend(t, s, es.Write{Stream: "a-1", Expected: es.NoStream, Events: numbered("n", es.MaxAppendEvents)})
	mustAppend(t, s, es.Write{Stream: "a-2", Expected: es.NoStream, Events: []es.NewEvent{sized("fits", x.largest)}})
	got := collect(t, s.ReadStream(t.Context(), "a-2", 0, es.Forward, 0))
	if len(got) != 1 || len(got[0].Data) != x.largest {
		t.Errorf("largest event did not come back whole")
	}
	wellFormed(t, all(t, s))
}

func cancelledAppend(t *testing.T, s es.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Append(ctx, nil, write("deal-1", es.NoStream, "a")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want cancelled", err)
	}
	if h := head(t, s); h != 0 {
		t.Errorf("head %d, want 0", h)
	}
}

func recorded(t *testing.T, s es.Store) {
	for i := range 20 {
		mustAppend(t, s, es.Write{Stream: "deal-1", Expected: es.Any, Events: numbered(string(rune('a'+i)), 50)})
	}
	wellFormed(t, all(t, s))
}
