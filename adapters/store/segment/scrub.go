package segment

import (
	"errors"
	"path"
	"time"

	"github.com/emet-node/emet/domain/es"
)

// A start trusts the indexes of sealed segments. What is beneath them is read
// again and again, slowly, so that rot is found while there are copies.
const (
	scrubRate  = 4 << 20        // bytes a second
	scrubEvery = 24 * time.Hour // from the end of one round to the next
	scrubStep  = 256 << 10      // bytes between two pauses
)

// scrub reads all sealed segments, round after round, until the store is closed.
// Damage makes the store read-only, and takes the segment's index away, so
// that the next start reads it too and refuses.
func (s *Store) scrub() {
	for {
		for i := 0; ; i++ {
			segments := s.index.all()
			if i >= len(segments)-1 {
				break
			}
			err := s.scrubSegment(segments[i])
			var d *Damage
			switch {
			case errors.Is(err, es.ErrClosed):
				return
			case errors.As(err, &d):
				s.options.Logger.Error("the log is damaged", "segment", d.File, "error", d)
				_ = s.options.FS.Remove(path.Join(s.dir, segDir, indexName(segments[i].First))) // or else the next round finds it again
				s.fail(d)
				return
			case err != nil:
				s.options.Logger.Warn("a segment of the log cannot be checked", "segment", segments[i].name, "error", err)
			}
		}
		if !s.pause(scrubEvery) {
			return
		}
	}
}

func (s *Store) pause(d time.Duration) (open bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-s.stop:
		return false
	case <-t.C:
		return true
	}
}

// scrubSegment checks the frames of a sealed segment and the chain through them.
func (s *Store) scrubSegment(f *file) error {
	w := walk{next: f.First, chain: f.Chain}
	paused := int64(0)
	c := newCursor(f, headerBytes)
	for c.off < f.sum.end {
		if c.off-paused >= scrubStep {
			if !s.pause(time.Duration(c.off-paused) * time.Second / scrubRate) {
				return es.ErrClosed
			}
			paused = c.off
		}
		at := c.off
		fr, err := c.next()
		if err == nil {
			if err = w.follow(fr); err == nil && w.chain != fr.Chain {
				err = errors.New("frame does not continue the chain")
			}
		}
		if err != nil {
			return s.closedOr(s.index.damaged(f, at, w.next, err))
		}
	}
	if w.chain != f.sum.chain {
		return s.index.damaged(f, c.off, w.next, errors.New("segment does not end where its index says"))
	}
	return nil
}
