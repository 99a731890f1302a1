package es

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"time"
)

// Lent is an event that a store shows instead of handing out a copy. Stream,
// Data and Meta are the store's memory: they are valid until the next event is
// asked for, and nobody writes to them. What the ledger knows about the event
// is left out.
type Lent struct {
	ID         ID
	Type       string
	Subject    string
	Stream     []byte
	Data, Meta []byte
	Revision   Revision
	Position   Position
	Recorded   time.Time
}

// Lender is a [Store] that can lend events. Reading a long log that way takes
// neither memory nor time for what is looked at once.
type Lender interface {
	// Lend yields events from position from on (inclusive) that f matches.
	Lend(ctx context.Context, from Position, f Filter) iter.Seq2[*Lent, error]
}

// Lend yields the events of s from a position on. They are lent where s can,
// else read.
func Lend(ctx context.Context, s Store, from Position, f Filter) iter.Seq2[*Lent, error] {
	if l, ok := s.(Lender); ok {
		return l.Lend(ctx, from, f)
	}
	return func(yield func(*Lent, error) bool) {
		var l Lent
		for e, err := range s.ReadAll(ctx, from, Forward, f, 0) {
			l = Lent{
				ID: e.ID, Type: e.Type, Subject: e.Subject, Stream: []byte(e.Stream), Data: e.Data, Meta: e.Meta,
				Revision: e.Revision, Position: e.Position, Recorded: e.Recorded,
			}
			if !yield(&l, err) || err != nil {
				return
			}
		}
	}
}

// Category is the part of the stream's name before the first '-'.
func (e *Lent) Category() []byte {
	c, _, _ := bytes.Cut(e.Stream, []byte{'-'})
	return c
}

// Event is a copy to keep, without Leaf and PrevInStream.
func (e *Lent) Event() Event {
	return Event{
		NewEvent: NewEvent{ID: e.ID, Type: e.Type, Subject: e.Subject, Data: slices.Clone(e.Data), Meta: slices.Clone(e.Meta)},
		Stream:   Stream(e.Stream), Revision: e.Revision, Position: e.Position, Recorded: e.Recorded,
	}
}

// Fact opens and decodes the content of a lent event, as [Log.Content] does.
func (l *Log) Fact(ctx context.Context, e *Lent) (any, error) {
	if e.Subject != "" && l.Sealer != nil {
		kept := e.Event()
		return l.Content(ctx, &kept)
	}
	return l.decode(e.Type, e.Data, func() (Position, Stream) { return e.Position, Stream(e.Stream) })
}
