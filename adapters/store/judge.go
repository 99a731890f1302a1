package store

import (
	"bytes"
	"fmt"

	"github.com/emet-node/emet/domain/es"
)

// Index is what an engine knows while it decides on an append, the appends
// that it accepted but has not yet made durable included.
type Index interface {
	// Last is the last revision of s, [es.NoStream] when it has none.
	Last(s es.Stream) es.Revision
	// Has says whether an event with that id may be there. It may say yes
	// wrongly, never no wrongly.
	Has(id es.ID) bool
	// Find returns the event with that id.
	Find(id es.ID) (e es.Event, ok bool, err error)
}

// Judge says what an append means now. It returns the original receipt when
// all of it is already there, an error when it must not happen, and neither
// when it may go ahead.
func Judge(x Index, checks []es.Check, writes []es.Write) (*es.Receipt, error) {
	known, err := findAll(x, writes)
	if err != nil {
		return nil, err
	}
	if known != nil {
		return repeated(x, writes, known)
	}
	for _, c := range checks {
		if err := expect(x, c.Stream, c.Expected); err != nil {
			return nil, err
		}
	}
	for _, w := range writes {
		if err := expect(x, w.Stream, w.Expected); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func expect(x Index, s es.Stream, expected es.Revision) error {
	last := x.Last(s)
	switch {
	case expected == es.Any, expected == last, expected == es.StreamExists && last >= 0:
		return nil
	}
	return &es.WrongExpectedRevision{Stream: s, Expected: expected, Actual: last}
}

// findAll returns the events that are already there by their ids, nil when
// none is. The same id with other content is an error.
func findAll(x Index, writes []es.Write) (map[es.ID]es.Event, error) {
	var known map[es.ID]es.Event
	for _, w := range writes {
		for _, n := range w.Events {
			if !x.Has(n.ID) {
				continue
			}
			e, ok, err := x.Find(n.ID)
			if err != nil {
				return nil, fmt.Errorf("look up event %s of %s: %w", n.ID, w.Stream, err)
			}
			if !ok {
				continue
			}
			if e.Stream != w.Stream || !sameContent(e.NewEvent, n) {
				return nil, fmt.Errorf("event %s for %s is at position %d of %s already: %w", n.ID, w.Stream, e.Position, e.Stream, es.ErrIDConflict)
			}
			if known == nil {
				known = make(map[es.ID]es.Event)
			}
			known[n.ID] = e
		}
	}
	return known, nil
}

func sameContent(a, b es.NewEvent) bool {
	return a.Type == b.Type && a.Subject == b.Subject && bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Meta, b.Meta)
}

// repeated answers an append of which some events are there: with the original
// receipt when all are, in the same places.
func repeated(x Index, writes []es.Write, known map[es.ID]es.Event) (*es.Receipt, error) {
	r := &es.Receipt{Heads: make([]es.Revision, 0, len(writes))}
	first := true
	for _, w := range writes {
		wrong := &es.WrongExpectedRevision{Stream: w.Stream, Expected: w.Expected, Actual: x.Last(w.Stream)}
		var before es.Revision
		for i, n := range w.Events {
			e, ok := known[n.ID]
			switch {
			case !ok:
				return nil, wrong
			case i == 0 && w.Expected >= es.NoStream && e.Revision != w.Expected+1:
				return nil, wrong
			case i > 0 && e.Revision != before+1:
				return nil, wrong
			case !first && e.Position <= r.Last:
				return nil, wrong
			}
			if first {
				r.First, r.Recorded, first = e.Position, e.Recorded, false
			}
			r.Last, before = e.Position, e.Revision
		}
		r.Heads = append(r.Heads, before)
	}
	return r, nil
}
