package store

import (
	"context"
	"iter"
	"sync"

	"github.com/emet-node/emet/domain/es"
)

// Source is a log that can be followed.
type Source interface {
	// Range yields the events of [from, to) that f matches, in order.
	Range(ctx context.Context, from, to es.Position, f es.Filter) iter.Seq2[es.Event, error]
	// Durable is what may be seen.
	Durable() *Watermark
}

// How far a subscription looks and how much it holds at a time.
const (
	pageSpan   = 4096
	pageEvents = 256
	pageBytes  = 1 << 20
)

// Follow subscribes to src after a position (nil = from the beginning). Old and
// new events come from the same log in the same way, so there is no gap where
// catching up ends.
//
// CaughtUp is sent when the end of the log is reached for the first time and
// again after every run of events. A Checkpoint is sent when the end was
// reached, or many events passed, without one that the filter lets through.
func Follow(ctx context.Context, src Source, after *es.Position, f es.Filter) es.Subscription {
	s := &follower{ctx: ctx, src: src, filter: f, done: make(chan struct{}), owesCaughtUp: true}
	if after != nil {
		s.next = max(*after, *after+1) // the last position there is has no successor
	}
	return s
}

type follower struct {
	ctx    context.Context //nolint:containedctx // the subscription lives as long as it
	src    Source
	filter es.Filter
	done   chan struct{}
	once   sync.Once

	next         es.Position // to be looked at next
	page         []es.Event  // looked at, not yet handed out
	skipped      bool        // something was looked at since the last message
	owesCaughtUp bool
}

func (s *follower) Close() error {
	s.once.Do(func() { close(s.done) })
	return nil
}

func (s *follower) Next(ctx context.Context) (es.Message, error) {
	for {
		if err := s.ended(ctx); err != nil {
			return es.Message{}, err
		}
		if m, ok := s.ready(); ok {
			return m, nil
		}
		if s.next < s.src.Durable().Head() {
			if err := s.fill(ctx); err != nil {
				return es.Message{}, err
			}
			continue
		}
		if err := s.wait(ctx); err != nil {
			return es.Message{}, err
		}
	}
}

// ready says what can be told without looking further.
func (s *follower) ready() (es.Message, bool) {
	behind := s.next < s.src.Durable().Head()
	switch {
	case len(s.page) > 0:
		e := s.page[0]
		s.page = s.page[1:]
		s.owesCaughtUp = true
		return es.Message{Event: &e}, true
	case s.skipped:
		s.skipped = false
		p := s.next - 1
		return es.Message{Checkpoint: &p}, true
	case s.owesCaughtUp && !behind:
		s.owesCaughtUp = false
		return es.Message{CaughtUp: true}, true
	}
	return es.Message{}, false
}

func (s *follower) fill(ctx context.Context) error {
	to := min(s.src.Durable().Head(), s.next+pageSpan)
	s.page = s.page[:0:0]
	size := 0
	for e, err := range s.src.Range(ctx, s.next, to, s.filter) {
		if err != nil {
			s.page = nil // it is read again
			return err
		}
		s.page = append(s.page, e)
		size += len(e.Data) + len(e.Meta)
		if len(s.page) == pageEvents || size >= pageBytes {
			to = e.Position + 1
			break
		}
	}
	s.next = to
	s.skipped = len(s.page) == 0 || s.page[len(s.page)-1].Position != to-1
	return nil
}

func (s *follower) ended(ctx context.Context) error {
	select {
	case <-s.done:
		return es.ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.ctx.Err()
}

func (s *follower) wait(ctx context.Context) error {
	moved, open := s.src.Durable().Beyond(s.next)
	if !open {
		return es.ErrClosed
	}
	select {
	case <-moved:
		return nil
	case <-s.done:
		return es.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}
