package segment

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
)

// LeafHashes yields the leaves of the tree over [from, to), as far as they are
// durable, without copying payloads.
func (s *Store) LeafHashes(ctx context.Context, from, to es.Position) iter.Seq2[es.Hash, error] {
	return func(yield func(es.Hash, error) bool) {
		size, _ := s.Root() // it may be ahead of what readers see by a moment
		for to = min(to, es.Position(size)); from < to; {
			segment, off, err := s.index.find(from)
			if err != nil {
				yield(es.Hash{}, s.closedOr(err))
				return
			}
			c, begin := newCursor(segment, off), from
			for from < to {
				f, err := c.next()
				if errors.Is(err, errEnd) && from > begin {
					break // the next segment goes on
				}
				if err != nil {
					yield(es.Hash{}, s.unreadable(segment, c.off, from, err))
					return
				}
				if !yieldLeaves(ctx, f, from, to, yield) {
					return
				}
				from = max(from, f.First+es.Position(f.Count))
			}
		}
	}
}

func yieldLeaves(ctx context.Context, f frame, from, to es.Position, yield func(es.Hash, error) bool) bool {
	if err := ctx.Err(); err != nil {
		yield(es.Hash{}, err)
		return false
	}
	rest := f.Events
	for i := range f.Count {
		e, after, err := cutEvent(rest)
		if err != nil {
			yield(es.Hash{}, err)
			return false
		}
		rest = after
		if p := f.First + es.Position(i); p < from || p >= to {
			continue
		}
		if !yield(leafHash(e.header), nil) {
			return false
		}
	}
	return true
}

// Entry returns an event as it lies in the log, with what is needed to check
// it against its leaf. It fails with [ledger.ErrRange] beyond the end.
func (s *Store) Entry(ctx context.Context, p es.Position) (ledger.Entry, error) {
	if head := s.durable.Head(); p >= head {
		return ledger.Entry{}, fmt.Errorf("%w: position %d, the log ends at %d", ledger.ErrRange, p, head)
	}
	if err := ctx.Err(); err != nil {
		return ledger.Entry{}, err
	}
	r := &reader{s: s}
	if err := r.load(p); err != nil {
		return ledger.Entry{}, err
	}
	e, err := r.frame.event(p)
	if err != nil {
		return ledger.Entry{}, err
	}
	return ledger.Entry{
		Header: slices.Clone(e.header),
		Data:   slices.Clone(e.dataSalted[saltBytes:]), DataSalt: slices.Clone(e.dataSalted[:saltBytes]),
		Meta: slices.Clone(e.meta[saltBytes:]), MetaSalt: slices.Clone(e.meta[:saltBytes]),
	}, nil
}
