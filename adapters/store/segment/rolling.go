package segment

import (
	"errors"
	"fmt"

	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

// makeRoom begins a new segment when a frame does not fit into this one. There
// is always room left for a frame that covers the last.
func (s *Store) makeRoom(size int64) error {
	segment := s.index.last()
	room := segment.size - frameHead
	if s.off+size <= room {
		if s.off-headerBytes > segment.size/2 || s.tight.Load() {
			s.prepare()
		}
		return nil
	}
	s.land()
	if err := s.degraded(); err != nil {
		return err
	}
	return s.roll(segment, size)
}

// prepare makes the next segment in the background, if it is not there, and
// notes how the last attempt ended.
func (s *Store) prepare() {
	s.filler.begin(min(2*s.index.last().size, s.options.SegmentBytes))
	if s.filler.failed != nil || s.filler.ready != nil {
		s.tighten(s.filler.failed)
	}
}

// tighten notes whether there is space for the next segment.
func (s *Store) tighten(err error) {
	if s.tight.Swap(err != nil) == (err != nil) {
		return
	}
	if err != nil {
		s.options.Logger.Error("there is no space for the next segment of the log; nothing that opens obligations is accepted", "error", err)
		return
	}
	s.options.Logger.Info("there is space for the next segment of the log again")
	wake(s.index.unsealed)
	s.behind.Go(s.putBy)
}

// putBy keeps space for the day when the disk is full.
func (s *Store) putBy() {
	s.space.Lock()
	defer s.space.Unlock()
	if err := s.ballast.take(); err != nil {
		s.options.Logger.Warn("no space can be put by for the day when the disk is full", "error", err)
	}
}

// takeBallast tries once more with the space that was put by.
func (s *Store) takeBallast(need int64, full error) (vfs.File, int64, error) {
	s.space.Lock()
	defer s.space.Unlock()
	released, err := s.ballast.release()
	if !released {
		return nil, 0, errors.Join(full, err)
	}
	s.options.Logger.Warn("the space that was put by for a full disk is used", "bytes", s.ballast.size)
	return s.filler.take(max(need, s.ballast.size))
}

// roll ends a segment. Everything in it is durable.
func (s *Store) roll(old *file, size int64) error {
	need := roundUp(headerBytes + size + 2*frameHead)
	f, got, err := s.filler.take(max(need, min(2*old.size, s.options.SegmentBytes)))
	if err != nil {
		s.tighten(err)
		if f, got, err = s.takeBallast(need, err); err != nil {
			return fmt.Errorf("%w: no space for the next segment: %w", es.ErrDegraded, err)
		}
	}
	size = got
	h := header{LogID: s.logID, First: s.next, Salt: newSalt(), Chain: s.chain, Root: s.grown.Root(), Created: s.options.Now().UnixNano()}
	next, err := publish(s.options.FS, s.dir, f, size, h)
	if err != nil {
		_ = f.Close()
		s.fail(err)
		return fmt.Errorf("%w: %w", es.ErrDegraded, err)
	}
	old.sum = summary{
		header: old.header, events: uint64(s.next - old.First), end: s.off, recorded: s.clock.Last().UnixNano(),
		chain: s.chain, tree: s.grown.Clone(),
	}
	next.setTable(newMemTable())
	s.index.add(next)
	wake(s.index.unsealed)
	next.bypass(s.options.FS, s.dir)
	s.off, s.covered = headerBytes, s.next
	s.batch.restart(headerBytes, nil)
	return old.finish()
}
