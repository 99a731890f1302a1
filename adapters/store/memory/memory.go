// Package memory keeps an event store in memory. It is the model that the
// other engines are held against, and what tests and simulations run on. It
// starts no goroutines and works in a synctest bubble.
package memory

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/emet-node/emet/adapters/store"
	"github.com/emet-node/emet/domain/es"
)

// Store is an [es.Store] that forgets everything with the process. Create it
// with [New].
type Store struct {
	mu      sync.RWMutex
	events  []es.Event // by position
	streams map[es.Stream][]es.Position
	ids     map[es.ID]es.Position
	clock   store.Clock
	closed  bool
	durable store.Watermark
}

var _ es.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store {
	return &Store{streams: make(map[es.Stream][]es.Position), ids: make(map[es.ID]es.Position)}
}

// WithClock makes the store ask now for the time.
func (s *Store) WithClock(now func() time.Time) *Store {
	s.clock.Now = now
	return s
}

// Caps implements [es.Store].
func (s *Store) Caps() es.Caps { return es.Caps{Name: "memory"} }

// Durable is what may be seen: everything.
func (s *Store) Durable() *store.Watermark { return &s.durable }

// Close ends all subscriptions and refuses further use.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.durable.Close()
	return nil
}

// Append implements [es.Store].
func (s *Store) Append(ctx context.Context, checks []es.Check, writes ...es.Write) (es.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return es.Receipt{}, err
	}
	if err := store.Validate(checks, writes); err != nil {
		return es.Receipt{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return es.Receipt{}, es.ErrClosed
	}
	old, err := store.Judge(index{s}, checks, writes)
	if err != nil {
		return es.Receipt{}, err
	}
	if old != nil {
		return *old, nil
	}
	r := s.write(writes)
	s.durable.Publish(es.Position(len(s.events)))
	return r, nil
}

func (s *Store) write(writes []es.Write) es.Receipt {
	n := 0
	for _, w := range writes {
		n += len(w.Events)
	}
	at := s.clock.Reserve(n)
	r := es.Receipt{First: es.Position(len(s.events)), Recorded: at, Heads: make([]es.Revision, len(writes))}
	for i, w := range writes {
		for _, e := range w.Events {
			s.add(w.Stream, e, at)
			at = at.Add(time.Microsecond)
		}
		r.Heads[i] = index{s}.Last(w.Stream)
	}
	r.Last = es.Position(len(s.events)) - 1
	return r
}

func (s *Store) add(stream es.Stream, e es.NewEvent, at time.Time) {
	p := es.Position(len(s.events))
	s.events = append(s.events, es.Event{
		NewEvent: clone(e), Stream: stream, Revision: es.Revision(len(s.streams[stream])), Position: p, Recorded: at,
	})
	s.streams[stream] = append(s.streams[stream], p)
	s.ids[e.ID] = p
}

func clone(e es.NewEvent) es.NewEvent {
	e.Data, e.Meta = bytes.Clone(e.Data), bytes.Clone(e.Meta)
	return e
}

// at copies one event, so that readers may do with it what they like.
func (s *Store) at(p es.Position) (es.Event, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return es.Event{}, es.ErrClosed
	}
	e := s.events[p]
	e.NewEvent = clone(e.NewEvent)
	return e, nil
}

// ReadStream implements [es.Store].
func (s *Store) ReadStream(ctx context.Context, stream es.Stream, from es.Revision, d es.Direction, limit int) iter.Seq2[es.Event, error] {
	return func(yield func(es.Event, error) bool) {
		s.mu.RLock()
		positions := s.streams[stream]
		s.mu.RUnlock()
		lo, hi := store.Span(from, es.Revision(len(positions))-1, d)
		if lo >= hi {
			return
		}
		each := slices.Values(positions[lo:hi])
		if d == es.Backward {
			each = backward(positions[lo:hi])
		}
		store.Limit(s.read(ctx, each), limit)(yield)
	}
}

// ReadAll implements [es.Store].
func (s *Store) ReadAll(ctx context.Context, from es.Position, d es.Direction, f es.Filter, limit int) iter.Seq2[es.Event, error] {
	return func(yield func(es.Event, error) bool) {
		lo, hi := store.SpanAll(from, s.durable.Head(), d)
		store.Limit(s.read(ctx, s.matching(lo, hi, d, f)), limit)(yield)
	}
}

// Range yields the events of [from, to) that f matches.
func (s *Store) Range(ctx context.Context, from, to es.Position, f es.Filter) iter.Seq2[es.Event, error] {
	return s.read(ctx, s.matching(from, to, es.Forward, f))
}

func (s *Store) read(ctx context.Context, positions iter.Seq[es.Position]) iter.Seq2[es.Event, error] {
	return func(yield func(es.Event, error) bool) {
		for p := range positions {
			e, err := s.at(p)
			if ctx.Err() != nil {
				e, err = es.Event{}, ctx.Err()
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// matching looks at stream and type only; it holds no lock while it yields.
func (s *Store) matching(lo, hi es.Position, d es.Direction, f es.Filter) iter.Seq[es.Position] {
	return func(yield func(es.Position) bool) {
		for i := range max(hi, lo) - lo {
			p := lo + i
			if d == es.Backward {
				p = hi - 1 - i
			}
			s.mu.RLock()
			pass := f.Match(s.events[p].Stream, s.events[p].Type)
			s.mu.RUnlock()
			if pass && !yield(p) {
				return
			}
		}
	}
}

func backward(ps []es.Position) iter.Seq[es.Position] {
	return func(yield func(es.Position) bool) {
		for _, p := range slices.Backward(ps) {
			if !yield(p) {
				return
			}
		}
	}
}

// Subscribe implements [es.Store].
func (s *Store) Subscribe(ctx context.Context, after *es.Position, f es.Filter) es.Subscription {
	return store.Follow(ctx, s, after, f)
}

// Info implements [es.Store].
func (s *Store) Info(ctx context.Context, stream es.Stream) (es.StreamInfo, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return es.StreamInfo{}, es.ErrClosed
	}
	return es.StreamInfo{Head: index{s}.Last(stream)}, ctx.Err()
}

// Head implements [es.Store].
func (s *Store) Head(ctx context.Context) (es.Position, error) { return s.durable.Head(), ctx.Err() }

// index is the store as [store.Judge] sees it, under the lock.
type index struct{ *Store }

func (x index) Last(s es.Stream) es.Revision { return es.Revision(len(x.streams[s])) - 1 }

func (x index) Has(id es.ID) bool { _, ok := x.ids[id]; return ok }

func (x index) Find(id es.ID) (es.Event, bool, error) {
	p, ok := x.ids[id]
	if !ok {
		return es.Event{}, false, nil
	}
	return x.events[p], true, nil
}
