package store

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/emet-node/emet/domain/es"
)

// ErrInvalid says that an append makes no sense, whatever the store holds.
var ErrInvalid = errors.New("append is not well formed")

// MaxNameBytes is what a type or a subject may weigh. Together with
// [es.MaxStreamNameSize] it keeps every event header below 64 KiB.
const MaxNameBytes = 1024

// Validate checks an append against the limits of [es.Store]. Errors are
// [es.ErrTooLarge] or [ErrInvalid] and name the stream.
func Validate(checks []es.Check, writes []es.Write) error {
	if len(writes) == 0 {
		return fmt.Errorf("%w: there is nothing to write", ErrInvalid)
	}
	for _, c := range checks {
		if err := validStream(c.Stream, c.Expected); err != nil {
			return err
		}
	}
	var bytes, events int
	for i, w := range writes {
		if err := validWrite(w); err != nil {
			return err
		}
		for _, other := range writes[:i] {
			if other.Stream == w.Stream {
				return fmt.Errorf("%w: stream %s is written twice; put its events into one write", ErrInvalid, w.Stream)
			}
		}
		events += len(w.Events)
		for _, e := range w.Events {
			bytes += len(e.Data) + len(e.Meta)
		}
	}
	if events > es.MaxAppendEvents {
		return fmt.Errorf("%d events in one append, at most %d: %w", events, es.MaxAppendEvents, es.ErrTooLarge)
	}
	if bytes > es.MaxAppendBytes {
		return fmt.Errorf("%d bytes in one append, at most %d: %w", bytes, es.MaxAppendBytes, es.ErrTooLarge)
	}
	return uniqueIDs(writes, events)
}

func validStream(s es.Stream, expected es.Revision) error {
	switch {
	case s == "" || !utf8.ValidString(string(s)):
		return fmt.Errorf("%w: stream name %q is empty or not UTF-8", ErrInvalid, s)
	case len(s) > es.MaxStreamNameSize:
		return fmt.Errorf("stream name of %d bytes, at most %d: %w", len(s), es.MaxStreamNameSize, es.ErrTooLarge)
	case expected < 0 && expected != es.Any && expected != es.NoStream && expected != es.StreamExists:
		return fmt.Errorf("%w: stream %s: expected revision %d has no meaning", ErrInvalid, s, expected)
	}
	return nil
}

func validWrite(w es.Write) error {
	if err := validStream(w.Stream, w.Expected); err != nil {
		return err
	}
	if len(w.Events) == 0 {
		return fmt.Errorf("%w: no events for stream %s; use a check", ErrInvalid, w.Stream)
	}
	for i, e := range w.Events {
		switch size := len(e.Data) + len(e.Meta); {
		case e.ID.IsZero():
			return fmt.Errorf("%w: event %d for stream %s has no id", ErrInvalid, i, w.Stream)
		case e.Type == "" || !utf8.ValidString(e.Type) || !utf8.ValidString(e.Subject):
			return fmt.Errorf("%w: event %d for stream %s: type %q or subject %q is empty or not UTF-8", ErrInvalid, i, w.Stream, e.Type, e.Subject)
		case size > es.MaxEventBytes:
			return fmt.Errorf("event %d for stream %s has %d bytes, at most %d: %w", i, w.Stream, size, es.MaxEventBytes, es.ErrTooLarge)
		case len(e.Type) > MaxNameBytes || len(e.Subject) > MaxNameBytes:
			return fmt.Errorf("event %d for stream %s: type or subject above %d bytes: %w", i, w.Stream, MaxNameBytes, es.ErrTooLarge)
		}
	}
	return nil
}

func uniqueIDs(writes []es.Write, events int) error {
	if events < 2 {
		return nil
	}
	seen := make(map[es.ID]struct{}, events)
	for _, w := range writes {
		for _, e := range w.Events {
			if _, ok := seen[e.ID]; ok {
				return fmt.Errorf("event id %s twice in one append to %s: %w", e.ID, w.Stream, es.ErrIDConflict)
			}
			seen[e.ID] = struct{}{}
		}
	}
	return nil
}
