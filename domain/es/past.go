package es

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sort"
	"time"
)

// ErrPast is what writing into the past, or waiting for news from it, is
// refused with.
var ErrPast = errors.New("this is the past: nothing more happens in it")

// AsOf is s as it was when it held its first n events. It can be read like any
// store; Append fails with [ErrPast], and a subscription ends with it after
// the last event.
func AsOf(s Store, n Position) Store { return past{s, n} }

type past struct {
	Store
	n Position
}

// Append implements Store.
func (p past) Append(context.Context, []Check, ...Write) (Receipt, error) { return Receipt{}, ErrPast }

// Head implements Store.
func (p past) Head(ctx context.Context) (Position, error) {
	head, err := p.Store.Head(ctx)
	return min(head, p.n), err
}

// ReadAll implements Store.
func (p past) ReadAll(ctx context.Context, from Position, d Direction, f Filter, max int) iter.Seq2[Event, error] {
	if d == Backward && p.n > 0 {
		return p.Store.ReadAll(ctx, min(from, p.n-1), d, f, max)
	}
	return p.cut(p.Store.ReadAll(ctx, from, Forward, f, max))
}

// cut ends events that come in order before the first that is too new.
func (p past) cut(events iter.Seq2[Event, error]) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for e, err := range events {
			if err == nil && e.Position >= p.n || !yield(e, err) {
				return
			}
		}
	}
}

// ReadStream implements Store.
func (p past) ReadStream(ctx context.Context, s Stream, from Revision, d Direction, max int) iter.Seq2[Event, error] {
	if d != Backward {
		return p.cut(p.Store.ReadStream(ctx, s, from, d, max))
	}
	return func(yield func(Event, error) bool) {
		info, err := p.Info(ctx, s)
		if err != nil {
			yield(Event{}, err)
			return
		}
		if from < 0 || from > info.Head {
			from = info.Head
		}
		if from < 0 {
			return
		}
		for e, err := range p.Store.ReadStream(ctx, s, from, d, max) {
			if !yield(e, err) {
				return
			}
		}
	}
}

// Info implements Store.
func (p past) Info(ctx context.Context, s Stream) (StreamInfo, error) {
	info, err := p.Store.Info(ctx, s)
	if err != nil || info.Head < 0 {
		return info, err
	}
	position := func(r Revision) Position {
		for e, fault := range p.Store.ReadStream(ctx, s, r, Forward, 1) {
			if fault != nil {
				err = fault
			}
			return e.Position
		}
		return p.n
	}
	// Mostly the stream was not written to since, or is all newer.
	if position(info.Head) < p.n {
		return info, err
	}
	known := sort.Search(int(info.Head)+1, func(r int) bool { return err != nil || position(Revision(r)) >= p.n })
	info.Head = Revision(known) - 1
	return info, err
}

// Subscribe implements Store.
func (p past) Subscribe(ctx context.Context, after *Position, f Filter) Subscription {
	from := Position(0)
	if after != nil {
		from = *after + 1
	}
	next, stop := iter.Pull2(p.ReadAll(ctx, from, Forward, f, 0))
	return &told{next: next, stop: stop}
}

// told is a subscription to what has an end.
type told struct {
	next func() (Event, error, bool) //nolint:revive // as iter.Pull2 has it
	stop func()
	over bool
}

// Next implements Subscription.
func (t *told) Next(ctx context.Context) (Message, error) {
	if err := ctx.Err(); err != nil {
		return Message{}, err
	}
	if t.over {
		return Message{}, ErrPast
	}
	e, err, ok := t.next()
	if err != nil {
		return Message{}, err
	}
	if !ok {
		t.over = true
		return Message{CaughtUp: true}, nil
	}
	return Message{Event: &e}, nil
}

// Close implements Subscription.
func (t *told) Close() error {
	t.stop()
	return nil
}

// CountAt is how many events s held at a moment: those recorded then or
// before.
func CountAt(ctx context.Context, s Store, at time.Time) (Position, error) {
	head, err := s.Head(ctx)
	if err != nil {
		return 0, err
	}
	n := sort.Search(int(head), func(p int) bool { //nolint:gosec // far below 2^63
		if err != nil {
			return true
		}
		var e Event
		if e, err = EventAt(ctx, s, Position(p)); err != nil { //nolint:gosec // never negative
			return true
		}
		return e.Recorded.After(at)
	})
	return Position(n), err //nolint:gosec // never negative
}

// EventAt reads the event at a position.
func EventAt(ctx context.Context, s Store, p Position) (Event, error) {
	for e, err := range s.ReadAll(ctx, p, Forward, Filter{}, 1) {
		if err == nil && e.Position != p {
			break
		}
		return e, err
	}
	return Event{}, fmt.Errorf("the log has no position %d", p)
}
