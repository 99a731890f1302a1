package es

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// Codec turns facts into their written form and back. eventschemas.Registry is
// the one there is.
type Codec interface {
	// Encode returns the type name, the canonical JSON and the subject whose
	// key seals the data ("" = none).
	Encode(fact any) (typ string, data []byte, subject string, err error)
	// Decode returns the fact in its newest form. A type this build does not
	// know yields [ErrUnknownType].
	// It does not keep data.
	Decode(typ string, data []byte) (any, error)
}

// Sealer encrypts the data of facts that have a subject. Open returns
// [ErrErased] when the subject's key is gone for good.
type Sealer interface {
	Seal(ctx context.Context, s Stream, e *NewEvent) error
	Open(ctx context.Context, e *Event) error
}

// Errors of the typed face. With [ErrTrouble] nothing was decided: an event
// could not be read now or a fact not be sealed, and the same may do well a
// moment later. What is damaged stays so, and is no such trouble.
var (
	ErrUnknownType = errors.New("event type is not known to this build")
	ErrErased      = errors.New("content was erased")
	ErrTrouble     = errors.New("the log could not be used now")
)

// trouble is an error that is an [ErrTrouble] too.
type trouble struct{ error }

func (t trouble) Unwrap() error        { return t.error }
func (t trouble) Is(target error) bool { return target == ErrTrouble }

func troubled(err error) error {
	if err == nil || errors.Is(err, ErrCorrupt) {
		return err
	}
	return trouble{err}
}

// Erased stands for the content of a fact whose key was deleted.
type Erased struct{ Type string }

// Log is the typed face of a store: what aggregates, sagas, effects and views
// use. Sealer may be nil when nothing that is written has a subject.
type Log struct {
	Store  Store
	Codec  Codec
	Sealer Sealer
	Build  string // version written into Meta.Node
}

// Recorded is an event with its content decoded. Data is nil for types this
// build does not know and [Erased] where the content was erased.
type Recorded struct {
	Event
	Info Meta
	Data any
}

// Facts are what one command adds to one stream.
type Facts struct {
	Stream   Stream
	Expected Revision
	Facts    []any
}

// Append encodes and seals facts and appends them with event ids derived from
// m.Key.
func (l *Log) Append(ctx context.Context, m Meta, checks []Check, writes ...Facts) (Receipt, error) {
	if m.Key == "" {
		return Receipt{}, errors.New("append: the command has no idempotency key")
	}
	if m.Node == "" {
		m.Node = l.Build
	}
	meta, err := m.MarshalJSON()
	if err != nil {
		return Receipt{}, fmt.Errorf("append: metadata: %w", err)
	}
	out := make([]Write, len(writes))
	for i, w := range writes {
		events := make([]NewEvent, len(w.Facts))
		for j, f := range w.Facts {
			e, err := l.encode(ctx, w.Stream, f, EventID(w.Stream, m.Key, j), meta)
			if err != nil {
				return Receipt{}, err
			}
			events[j] = e
		}
		out[i] = Write{Stream: w.Stream, Expected: w.Expected, Events: events}
	}
	return l.Store.Append(ctx, checks, out...)
}

func (l *Log) encode(ctx context.Context, s Stream, fact any, id ID, meta []byte) (NewEvent, error) {
	typ, data, subject, err := l.Codec.Encode(fact)
	if err != nil {
		return NewEvent{}, fmt.Errorf("append to %s: %w", s, err)
	}
	if len(data) > MaxFactBytes {
		return NewEvent{}, fmt.Errorf("append %s to %s: %d bytes, at most %d: %w", typ, s, len(data), MaxFactBytes, ErrTooLarge)
	}
	e := NewEvent{ID: id, Type: typ, Data: data, Meta: meta, Subject: subject}
	if subject != "" && l.Sealer != nil {
		if err := l.Sealer.Seal(ctx, s, &e); err != nil {
			return NewEvent{}, fmt.Errorf("seal %s of %s: %w", typ, s, troubled(err))
		}
	}
	return e, nil
}

// Glance decodes the metadata of one event and leaves its content alone.
func (l *Log) Glance(e Event) (Recorded, error) {
	r := Recorded{Event: e}
	if err := r.Info.read(e.Meta); err != nil {
		return r, fmt.Errorf("event %d of %s: %w", e.Position, e.Stream, err)
	}
	return r, nil
}

// Decode opens and decodes one event.
func (l *Log) Decode(ctx context.Context, e Event) (Recorded, error) {
	r, err := l.Glance(e)
	if err != nil {
		return r, err
	}
	r.Data, err = l.Content(ctx, &e)
	r.Event.Data = e.Data
	return r, err
}

// Content opens and decodes the content of an event and leaves its metadata
// alone. e.Data is in the clear afterwards.
func (l *Log) Content(ctx context.Context, e *Event) (any, error) {
	if e.Subject != "" && l.Sealer != nil {
		switch err := l.Sealer.Open(ctx, e); {
		case errors.Is(err, ErrErased):
			return Erased{Type: e.Type}, nil
		case err != nil:
			return nil, fmt.Errorf("open event %d of %s: %w", e.Position, e.Stream, err)
		}
	}
	return l.decode(e.Type, e.Data, func() (Position, Stream) { return e.Position, e.Stream })
}

// decode reads a fact. where it lies is asked for when it cannot be read.
func (l *Log) decode(typ string, data []byte, where func() (Position, Stream)) (any, error) {
	fact, err := l.Codec.Decode(typ, data)
	if errors.Is(err, ErrUnknownType) {
		return nil, nil
	}
	if err != nil {
		p, s := where()
		return nil, fmt.Errorf("decode event %d of %s: %w", p, s, err)
	}
	return fact, nil
}

// ReadStream yields the decoded facts of a stream from a revision on.
func (l *Log) ReadStream(ctx context.Context, s Stream, from Revision) iter.Seq2[Recorded, error] {
	return l.decodeAll(ctx, l.Store.ReadStream(ctx, s, from, Forward, 0))
}

// ReadAll yields the decoded facts of the log from a position on.
func (l *Log) ReadAll(ctx context.Context, from Position, f Filter) iter.Seq2[Recorded, error] {
	return l.decodeAll(ctx, l.Store.ReadAll(ctx, from, Forward, f, 0))
}

func (l *Log) decodeAll(ctx context.Context, events iter.Seq2[Event, error]) iter.Seq2[Recorded, error] {
	return func(yield func(Recorded, error) bool) {
		for e, err := range events {
			r, err := Recorded{}, troubled(err)
			if err == nil {
				r, err = l.Decode(ctx, e)
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// Wait blocks until a matching event later than after is in the log, or ctx
// ends.
func (l *Log) Wait(ctx context.Context, after Position, f Filter) error {
	var cursor *Position
	if after > 0 {
		p := after - 1
		cursor = &p
	}
	sub := l.Store.Subscribe(ctx, cursor, f)
	defer sub.Close() //nolint:errcheck // nothing is written
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		if m.Event != nil {
			return nil
		}
	}
}
