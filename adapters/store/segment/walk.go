package segment

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/emet-node/emet/domain/es"
)

// walk is how far a reading of the log from its beginning has come, with all
// that the next frame must agree with.
type walk struct {
	next      es.Position
	chain     es.Hash
	tree      tree
	watermark es.Position // highest that was claimed
	recorded  int64       // of the last event
	leaves    []es.Hash
	deep      bool // check the payloads too

	table *memTable // of the segment that is read
	first es.Position
	// before tells where a stream stood before it. nil = the first event of each
	// stream is believed, as the chain vouches for it.
	before func(es.Stream) (next es.Revision, leaf es.Hash, err error)
}

func (w *walk) clone() walk {
	c := *w
	c.tree, c.leaves, c.table = w.tree.Clone(), nil, nil
	return c
}

// enter checks that a segment continues where the walk stands.
func (w *walk) enter(h header) error {
	switch {
	case h.First != w.next:
		return fmt.Errorf("segment begins at position %d, want %d", h.First, w.next)
	case h.Chain != w.chain:
		return errors.New("segment does not continue the chain of the one before")
	case h.Root != w.tree.Root():
		return errors.New("segment names another tree root than the events before make")
	}
	w.begin(h.First)
	return nil
}

// begin enters a segment.
func (w *walk) begin(first es.Position) {
	w.watermark = max(w.watermark, first)
	w.table, w.first = newMemTable(), first
}

// step checks a frame against everything before it and enters its events into
// the table.
func (w *walk) step(f frame, off int64) error {
	if f.First != w.next || f.Watermark > f.First {
		return fmt.Errorf("frame begins at position %d with watermark %d, want position %d", f.First, f.Watermark, w.next)
	}
	w.leaves = w.leaves[:0]
	at := place{uint32(f.First - w.first), uint32(off / frameAlign)}
	if f.Count > 0 {
		w.table.frames = append(w.table.frames, at)
	}
	rest := f.Events
	for range f.Count {
		e, after, err := cutEvent(rest)
		if err != nil {
			return err
		}
		if err := w.event(&e, at); err != nil {
			return err
		}
		rest = after
	}
	if len(rest) != 0 {
		return errors.New("frame has bytes after its events")
	}
	if w.chain = link(w.chain, w.leaves); w.chain != f.Chain {
		return errors.New("frame does not continue the chain")
	}
	w.watermark = max(w.watermark, f.Watermark)
	return nil
}

func (w *walk) event(e *stored, at place) error {
	l, err := w.line(e)
	switch {
	case err != nil:
		return err
	case e.position != w.next:
		return fmt.Errorf("event has position %d, want %d", e.position, w.next)
	case e.revision != l.next():
		return fmt.Errorf("%s has revision %d at position %d, want %d", e.stream, e.revision, e.position, l.next())
	case !bytes.Equal(e.previous[:], l.leaf[:]):
		return fmt.Errorf("%s at revision %d does not follow the event before", e.stream, e.revision)
	case e.recorded <= w.recorded:
		return fmt.Errorf("event at position %d is not later than the one before", e.position)
	case w.deep && !e.committed():
		return fmt.Errorf("payload at position %d is not what its header commits to", e.position)
	}
	leaf := leafHash(e.header)
	at.rel = uint32(e.position - w.first)
	w.table.put(l, e.id, at, leaf)
	w.leaves = append(w.leaves, leaf)
	w.tree.Add(leaf)
	w.recorded = e.recorded
	w.next++
	return nil
}

// line returns the stream's line in the table of this segment.
func (w *walk) line(e *stored) (*line, error) {
	if l, ok := w.table.lines[es.Stream(e.stream)]; ok {
		return l, nil
	}
	l, s := &line{base: e.revision, leaf: e.previous}, es.Stream(e.stream)
	if w.before != nil {
		var err error
		if l.base, l.leaf, err = w.before(s); err != nil {
			return nil, err
		}
	} else if (e.revision == 0) != (e.previous == es.Hash{}) {
		return nil, fmt.Errorf("%s has revision %d after leaf %s", s, e.revision, e.previous)
	}
	w.table.lines[s] = l
	return l, nil
}

// summary is what the index of a segment says about its end.
func (w *walk) summary(h header, end int64) summary {
	return summary{header: h, events: uint64(w.next - h.First), end: end, recorded: w.recorded, chain: w.chain, tree: w.tree.Clone()}
}

// resume goes on where an index says that a segment ends.
func (w *walk) resume(s *summary) {
	w.next, w.chain, w.tree, w.recorded = s.First+es.Position(s.events), s.chain, s.tree.Clone(), s.recorded
	w.watermark = max(w.watermark, w.next)
}

// follow moves over a frame that was checked before.
func (w *walk) follow(f frame) error {
	leaves, err := frameLeaves(f)
	if err != nil {
		return err
	}
	for _, leaf := range leaves {
		w.tree.Add(leaf)
	}
	w.chain = link(w.chain, leaves)
	w.next += es.Position(f.Count)
	return nil
}

func frameLeaves(f frame) (leaves []es.Hash, err error) {
	rest := f.Events
	for range f.Count {
		e, after, err := cutEvent(rest)
		if err != nil {
			return nil, err
		}
		leaves, rest = append(leaves, leafHash(e.header)), after
	}
	return leaves, nil
}
