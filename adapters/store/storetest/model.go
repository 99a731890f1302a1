package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/es"
)

// model lets rapid find a sequence of appends, repetitions and restarts after
// which the store differs from a map of slices.
func (s *suite) model(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		m := &machine{suite: s, t: t, store: s.open(t), heads: make(map[es.Stream]es.Revision), known: make(map[string]es.Stream)}
		actions := map[string]func(*rapid.T){
			"append": m.append, "repeat": m.repeat, "part": m.part, "mixed": m.mixed, "several": m.several, "": m.compare,
		}
		if s.reopen != nil {
			actions["reopen"] = m.restart
		}
		r.Repeat(actions)
		wellFormed(r, all(t, m.store))
	})
}

type done struct {
	writes  []es.Write
	receipt es.Receipt
}

type machine struct {
	suite *suite
	t     *testing.T
	store es.Store
	log   []string // names by position
	heads map[es.Stream]es.Revision
	known map[string]es.Stream
	done  []done
	last  []es.Event
}

var modelStreams = []es.Stream{"a-1", "a-2", "b-1"}

func (m *machine) head(s es.Stream) es.Revision {
	if h, ok := m.heads[s]; ok {
		return h
	}
	return es.NoStream
}

func (m *machine) draw(r *rapid.T, s es.Stream) es.Write {
	w := es.Write{Stream: s, Expected: rapid.SampledFrom([]es.Revision{es.Any, es.NoStream, es.StreamExists, m.head(s), m.head(s), m.head(s), 0, 2}).Draw(r, "expected")}
	for i := range rapid.IntRange(1, 4).Draw(r, "events") {
		w.Events = append(w.Events, event(fmt.Sprintf("%d.%s.%d", len(m.log), s, i)))
	}
	return w
}

func (m *machine) holds(w es.Write) bool {
	h := m.head(w.Stream)
	return w.Expected == es.Any || w.Expected == h || w.Expected == es.StreamExists && h >= 0
}

func (m *machine) append(r *rapid.T) {
	m.try(r, m.draw(r, rapid.SampledFrom(modelStreams).Draw(r, "stream")))
}

func (m *machine) several(r *rapid.T) {
	m.try(r, m.draw(r, modelStreams[0]), m.draw(r, modelStreams[1]), m.draw(r, modelStreams[2]))
}

func (m *machine) try(r *rapid.T, writes ...es.Write) {
	got, err := m.store.Append(m.t.Context(), nil, writes...)
	for _, w := range writes {
		if !m.holds(w) {
			if !errors.Is(err, es.ErrConflict) {
				r.Fatalf("%s at %d expecting %d: %v", w.Stream, m.head(w.Stream), w.Expected, err)
			}
			return
		}
	}
	if err != nil {
		r.Fatalf("append: %v", err)
	}
	if got.First != es.Position(len(m.log)) {
		r.Fatalf("receipt %+v at head %d", got, len(m.log))
	}
	for i, w := range writes {
		for _, e := range w.Events {
			m.log = append(m.log, string(e.Data))
		}
		m.heads[w.Stream] = m.head(w.Stream) + es.Revision(len(w.Events))
		if got.Heads[i] != m.heads[w.Stream] {
			r.Fatalf("%s: receipt says %d, model %d", w.Stream, got.Heads[i], m.heads[w.Stream])
		}
	}
	m.done = append(m.done, done{writes, got})
}

func (m *machine) repeat(r *rapid.T) {
	if len(m.done) == 0 {
		return
	}
	d := rapid.SampledFrom(m.done).Draw(r, "again")
	got, err := m.store.Append(m.t.Context(), nil, d.writes...)
	if err != nil || got.First != d.receipt.First || got.Last != d.receipt.Last || !got.Recorded.Equal(d.receipt.Recorded) {
		r.Fatalf("repetition: %+v, %v; want %+v", got, err, d.receipt)
	}
}

// slice is a part of an append that was done, without anything expected of its
// stream; i says where the part begins.
func (m *machine) slice(r *rapid.T) (d done, i int, w es.Write) {
	d = rapid.SampledFrom(m.done).Draw(r, "of")
	w = d.writes[0] // which begins at the first position
	i = rapid.IntRange(0, len(w.Events)-1).Draw(r, "from")
	j := rapid.IntRange(i+1, len(w.Events)).Draw(r, "to")
	return d, i, es.Write{Stream: w.Stream, Expected: es.Any, Events: slices.Clone(w.Events[i:j])}
}

// part repeats a part of an append: it is found where it is.
func (m *machine) part(r *rapid.T) {
	if len(m.done) == 0 {
		return
	}
	d, i, w := m.slice(r)
	got, err := m.store.Append(m.t.Context(), nil, w)
	if want := d.receipt.First + es.Position(i); err != nil || got.First != want || got.Last != want+es.Position(len(w.Events)-1) {
		r.Fatalf("repetition of a part: %+v, %v; want %d and %d more", got, err, want, len(w.Events)-1)
	}
}

// mixed appends something new together with what is there: that is refused
// and leaves nothing.
func (m *machine) mixed(r *rapid.T) {
	if len(m.done) == 0 {
		return
	}
	_, _, w := m.slice(r)
	fresh := event(fmt.Sprintf("%d.%s.fresh", len(m.log), w.Stream))
	if rapid.Bool().Draw(r, "first") {
		w.Events = append([]es.NewEvent{fresh}, w.Events...)
	} else {
		w.Events = append(w.Events, fresh)
	}
	w.Expected = rapid.SampledFrom([]es.Revision{es.Any, es.StreamExists, m.head(w.Stream)}).Draw(r, "expected")
	if got, err := m.store.Append(m.t.Context(), nil, w); !errors.Is(err, es.ErrConflict) {
		r.Fatalf("something new with something old: %+v, %v", got, err)
	}
}

func (m *machine) restart(*rapid.T) { m.store = m.suite.reopen(m.t, m.store) }

func (m *machine) compare(r *rapid.T) {
	from := es.Position(max(0, len(m.last)-5))
	got := collect(r, m.store.ReadAll(m.t.Context(), from, es.Forward, es.Filter{}, 0))
	if len(got)+int(from) != len(m.log) {
		r.Fatalf("%d events, want %d", len(got)+int(from), len(m.log))
	}
	for i, e := range got {
		if string(e.Data) != m.log[int(from)+i] {
			r.Fatalf("position %d: %s, want %s", e.Position, e.Data, m.log[int(from)+i])
		}
		if j := int(from) + i; j < len(m.last) && !sameEvent(e, m.last[j]) {
			r.Fatalf("position %d changed", e.Position)
		}
	}
	m.last = append(m.last[:from], got...)
	for _, s := range modelStreams {
		info, err := m.store.Info(m.t.Context(), s)
		if err != nil || info.Head != m.head(s) {
			r.Fatalf("%s: %+v, %v; want %d", s, info, err, m.head(s))
		}
	}
}

func (s *suite) persistence(t *testing.T) {
	t.Parallel()
	store := s.open(t)
	if s.reopen == nil {
		if store.Caps().Durable {
			t.Fatal("the engine says that it is durable, but brings no way to reopen it")
		}
		return
	}
	first := mustAppend(t, store, write("deal-1", es.NoStream, "a", "b"), write("deal-2", es.NoStream, "c"))
	for round := range 5 {
		before := all(t, store)
		store = s.reopen(t, store)
		sameHistory(t, all(t, store), before)
		wantRepeated(t, store, first, write("deal-1", es.NoStream, "a", "b"), write("deal-2", es.NoStream, "c"))
		_, err := store.Append(t.Context(), nil, write("deal-1", es.NoStream, "stale"))
		if !errors.Is(err, es.ErrConflict) {
			t.Errorf("stale append after a restart: %v", err)
		}
		mustAppend(t, store, es.Write{Stream: "deal-1", Expected: es.Any, Events: numbered(fmt.Sprint("r", round), 40)})
		wellFormed(t, all(t, store))
		wantNames(t, "deal-2", collect(t, store.ReadStream(t.Context(), "deal-2", 0, es.Forward, 0)), "c")
	}
}
