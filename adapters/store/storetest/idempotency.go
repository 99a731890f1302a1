package storetest

import (
	"errors"
	"reflect"
	"testing"

	"github.com/emet-node/emet/domain/es"
)

// wantRepeated appends again and expects the first answer and nothing new.
func wantRepeated(t testing.TB, s es.Store, want es.Receipt, writes ...es.Write) {
	t.Helper()
	before := head(t, s)
	got, err := s.Append(t.Context(), nil, writes...)
	if err != nil {
		t.Errorf("repetition: %v", err)
		return
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("repetition got %+v, want %+v", got, want)
	}
	if h := head(t, s); h != before {
		t.Errorf("repetition moved the head from %d to %d", before, h)
	}
}

func repeatedAppend(t *testing.T, s es.Store) {
	first := mustAppend(t, s, write("deal-1", es.NoStream, "a", "b"))
	second := mustAppend(t, s, write("deal-1", 1, "c", "d"))
	mustAppend(t, s, write("deal-2", es.NoStream, "x"))
	mustAppend(t, s, write("deal-1", 3, "e"))
	wantRepeated(t, s, first, write("deal-1", es.NoStream, "a", "b"))
	wantRepeated(t, s, second, write("deal-1", 1, "c", "d"))
	first.Last, first.Heads = 0, []es.Revision{0}
	wantRepeated(t, s, first, write("deal-1", es.NoStream, "a"))
}

func repeatedElsewhere(t *testing.T, s es.Store) {
	mustAppend(t, s, write("deal-1", es.NoStream, "a", "b", "c"))
	for _, expected := range []es.Revision{es.NoStream, 1, 2, 9} {
		_, err := s.Append(t.Context(), nil, write("deal-1", expected, "b"))
		wantConflict(t, err, es.WrongExpectedRevision{Stream: "deal-1", Expected: expected, Actual: 2})
	}
	_, err := s.Append(t.Context(), nil, write("deal-1", 0, "c", "b"))
	wantConflict(t, err, es.WrongExpectedRevision{Stream: "deal-1", Expected: 0, Actual: 2})
}

func repeatedAny(t *testing.T, s es.Store) {
	mustAppend(t, s, write("deal-1", es.NoStream, "a"))
	r := mustAppend(t, s, write("deal-1", es.Any, "b", "c"))
	mustAppend(t, s, write("deal-1", es.StreamExists, "d"))
	wantRepeated(t, s, r, write("deal-1", es.Any, "b", "c"))
	wantRepeated(t, s, r, write("deal-1", es.StreamExists, "b", "c"))
	for _, order := range [][]string{{"c", "b"}, {"a", "c"}} {
		_, err := s.Append(t.Context(), nil, write("deal-1", es.Any, order...))
		wantConflict(t, err, es.WrongExpectedRevision{Stream: "deal-1", Expected: es.Any, Actual: 3})
	}
}

func halfRepeated(t *testing.T, s es.Store) {
	mustAppend(t, s, write("deal-1", es.NoStream, "a", "b"))
	for _, w := range []es.Write{
		write("deal-1", es.NoStream, "a", "b", "c"),
		write("deal-1", es.Any, "b", "c"),
		write("deal-1", es.StreamExists, "c", "a"),
		write("deal-1", 1, "c", "a"),
	} {
		_, err := s.Append(t.Context(), nil, w)
		wantConflict(t, err, es.WrongExpectedRevision{Stream: "deal-1", Expected: w.Expected, Actual: 1})
	}
	wantNames(t, "log", all(t, s), "a", "b")
}

func idConflict(t *testing.T, s es.Store) {
	mustAppend(t, s, write("deal-1", es.NoStream, "a", "b"))
	for name, change := range map[string]func(*es.Write){
		"data":    func(w *es.Write) { w.Events[0].Data = []byte(`{}`) },
		"meta":    func(w *es.Write) { w.Events[0].Meta = nil },
		"type":    func(w *es.Write) { w.Events[0].Type += "x" },
		"subject": func(w *es.Write) { w.Events[0].Subject = "peer/1" },
		"stream":  func(w *es.Write) { w.Stream, w.Expected = "deal-2", es.NoStream },
		"partner": func(w *es.Write) { w.Events = append(w.Events, event("new")); w.Events[0].Data = nil },
	} {
		for _, expected := range []es.Revision{es.NoStream, es.Any, 1} {
			w := write("deal-1", expected, "a")
			change(&w)
			if _, err := s.Append(t.Context(), nil, w); !errors.Is(err, es.ErrIDConflict) {
				t.Errorf("other %s, expecting %d: got %v, want an id conflict", name, expected, err)
			}
		}
	}
	wantNames(t, "log", all(t, s), "a", "b")
}

func repeatedMultiStream(t *testing.T, s es.Store) {
	both := []es.Write{write("deal-1", es.NoStream, "a", "b"), write("deal-2", es.NoStream, "c")}
	r := mustAppend(t, s, both...)
	mustAppend(t, s, write("deal-1", 1, "d"), write("deal-2", 0, "e"))
	wantRepeated(t, s, r, both...)
	_, err := s.Append(t.Context(), nil, both[1], both[0])
	if !errors.Is(err, es.ErrConflict) {
		t.Errorf("repetition in another order: got %v, want a conflict", err)
	}
	_, err = s.Append(t.Context(), nil, both[0], write("deal-3", es.NoStream, "f"))
	if !errors.Is(err, es.ErrConflict) {
		t.Errorf("repetition with something new: got %v, want a conflict", err)
	}
	wantNames(t, "log", all(t, s), "a", "b", "c", "d", "e")
}
