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
}

func (w *walk) clone() walk {
	c := *w
	c.tree, c.leaves = w.tree.clone(), nil
	return c
}

// enter checks that a segment continues where the walk stands.
func (w *walk) enter(h header) error {
	switch {
	case h.First != w.next:
		return fmt.Errorf("segment begins at position %d, want %d", h.First, w.next)
	case h.Chain != w.chain:
		return errors.New("segment does not continue the chain of the one before")
	case h.Root != w.tree.root():
		return errors.New("segment names another tree root than the events before make")
	}
	w.watermark = max(w.watermark, h.First)
	return nil
}

// step checks a frame against everything before it and enters its events into x.
func (w *walk) step(f frame, x *index) error {
	if f.First != w.next || f.Watermark > f.First {
		return fmt.Errorf("frame begins at position %d with watermark %d, want position %d", f.First, f.Watermark, w.next)
	}
	w.leaves = w.leaves[:0]
	rest := f.Events
	for range f.Count {
		e, after, err := cutEvent(rest)
		if err != nil {
			return err
		}
		if err := w.event(&e, x); err != nil {
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

func (w *walk) event(e *stored, x *index) error {
	l := x.line(e.stream)
	switch {
	case e.position != w.next:
		return fmt.Errorf("event has position %d, want %d", e.position, w.next)
	case e.revision != es.Revision(len(l.positions)):
		return fmt.Errorf("%s has revision %d at position %d, want %d", e.stream, e.revision, e.position, len(l.positions))
	case !bytes.Equal(e.previous[:], l.leaf[:]):
		return fmt.Errorf("%s at revision %d does not follow the event before", e.stream, e.revision)
	case e.recorded <= w.recorded:
		return fmt.Errorf("event at position %d is not later than the one before", e.position)
	case w.deep && !e.committed():
		return fmt.Errorf("payload at position %d is not what its header commits to", e.position)
	}
	leaf := leafHash(e.header)
	x.put(l, e.id, e.position, leaf)
	w.leaves = append(w.leaves, leaf)
	w.tree.add(leaf)
	w.recorded = e.recorded
	w.next++
	return nil
}

// follow moves over a frame that was checked before.
func (w *walk) follow(f frame) error {
	leaves, err := frameLeaves(f)
	if err != nil {
		return err
	}
	for _, leaf := range leaves {
		w.tree.add(leaf)
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
