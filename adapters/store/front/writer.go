package front

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emet-node/emet/adapters/store"
	"github.com/emet-node/emet/adapters/store/leaf"
	"github.com/emet-node/emet/domain/es"
)

// A request waits, until the writer takes it or its caller gives up.
const (
	waiting int32 = iota
	taken
	abandoned
)

// request is an append on its way.
type request struct {
	checks  []es.Check
	writes  []es.Write
	state   atomic.Int32
	done    chan struct{}
	receipt es.Receipt
	err     error
}

// queue gathers requests while the writer is busy.
type queue struct {
	mu      sync.Mutex
	waiting []*request
	closed  bool
	wake    chan struct{}
}

func (q *queue) put(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.waiting = append(q.waiting, r)
	q.notify()
	return true
}

func (q *queue) notify() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.notify()
}

func (q *queue) take() (all []*request, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	all, q.waiting = q.waiting, nil
	return all, q.closed
}

// run is the writer.
func (s *Store) run(ctx context.Context) {
	for range s.queue.wake {
		for {
			all, closed := s.queue.take()
			if len(all) == 0 {
				if closed {
					return
				}
				break
			}
			for len(all) > 0 {
				all = s.commit(ctx, all)
			}
		}
	}
}

// commit carries out as many requests as fit into one write and returns the
// rest. All are answered after the write, since a verdict may rest on others
// of the same batch.
func (s *Store) commit(ctx context.Context, all []*request) (rest []*request) {
	err := s.settle(ctx)
	size, n := 0, 0
	for ; n < len(all); n++ {
		r := all[n]
		if more := weight(r); size > 0 && size+more > s.o.MaxBatch {
			break
		} else if r.state.CompareAndSwap(waiting, taken) {
			if err != nil {
				r.err = err
				continue
			}
			size += more
			r.err = s.stage(ctx, r)
		}
	}
	if err := s.flush(ctx); err != nil {
		for _, r := range all[:n] {
			r.receipt, r.err = es.Receipt{}, err
		}
	}
	for _, r := range all[:n] {
		close(r.done)
	}
	return all[n:]
}

func weight(r *request) (n int) {
	for _, w := range r.writes {
		for _, e := range w.Events {
			n += len(e.Data) + len(e.Meta)
		}
	}
	return n
}

// stage decides on r and makes its rows.
func (s *Store) stage(ctx context.Context, r *request) error {
	if err := s.writable(); err != nil && !errors.Is(err, es.ErrClosed) {
		return err
	}
	old, err := store.Judge(judged{ctx, s}, r.checks, r.writes)
	if err != nil {
		return err
	}
	if old != nil {
		r.receipt = *old
		return nil
	}
	n := 0
	for _, w := range r.writes {
		n += len(w.Events)
	}
	x := s.index
	at := s.clock.Reserve(n)
	r.receipt = es.Receipt{First: x.next, Last: x.next + es.Position(n) - 1, Recorded: at, Heads: make([]es.Revision, len(r.writes))}
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, w := range r.writes {
		for _, e := range w.Events {
			x.pending = append(x.pending, s.row(w.Stream, e, at))
			x.put(&x.pending[len(x.pending)-1])
			at = at.Add(time.Microsecond)
		}
		r.receipt.Heads[i] = judged{s: s}.Last(w.Stream)
	}
	return nil
}

// row gives an event its place. Its content is copied: it outlives the call of
// a caller that gives up.
func (s *Store) row(stream es.Stream, e es.NewEvent, at time.Time) Row {
	e.Data, e.Meta = bytes.Clone(e.Data), bytes.Clone(e.Meta)
	r := Row{Event: es.Event{NewEvent: e, Stream: stream, Position: s.index.next, Recorded: at}, Salts: leaf.Fresh()}
	if l, ok := s.index.lines[stream]; ok {
		r.Revision, r.PrevInStream = es.Revision(len(l.positions)), l.leaf
	}
	r.Leaf = leaf.Hash(leaf.Header(&r.Event, r.Salts))
	return r
}

// flush writes what is pending.
func (s *Store) flush(ctx context.Context) error {
	x := s.index
	if len(x.pending) == 0 {
		return nil
	}
	rows := x.pending
	err := s.table.Write(ctx, rows)
	if err == nil {
		x.mu.Lock()
		for i := range rows {
			x.tree.Add(rows[i].Leaf)
		}
		x.pending = nil
		x.mu.Unlock()
		s.durable.Publish(x.next)
		s.outline.note(rows, x)
		return nil
	}
	x.undo(rows)
	x.pending = nil
	s.unsure = errors.Is(err, es.ErrCommitUnknown)
	s.fail(err)
	return err
}

// fail makes errors final that are.
func (s *Store) fail(err error) {
	if s.o.Final != nil && s.o.Final(err) {
		s.failed.CompareAndSwap(nil, &err)
	}
}

// settle finds out what became of a write whose outcome was not known.
func (s *Store) settle(ctx context.Context) error {
	t, ok := s.table.(Settler)
	if !s.unsure || !ok || s.Failed() != nil {
		return nil
	}
	for r, err := range t.Settle(ctx, s.index.next) {
		if err == nil {
			err = s.index.found(&r)
		}
		if err != nil {
			s.fail(err)
			return fmt.Errorf("%w: an earlier append is not settled: %w", es.ErrDegraded, err)
		}
		s.clock.Resume(r.Recorded)
		s.durable.Publish(s.index.next)
		s.outline.note([]Row{r}, s.index)
	}
	s.unsure = false
	return nil
}
