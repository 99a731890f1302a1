package es

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A MomentError says why a text names no moment of a log, and what would.
type MomentError struct {
	Text, Why string
	Last      Position // of the log; meaningless when Empty
	Empty     bool
}

func (e *MomentError) Error() string {
	last := fmt.Sprintf("the last fact is at position %d", e.Last)
	if e.Empty {
		last = "the log is empty"
	}
	return fmt.Sprintf("as of %q: %s; give a position (42: as it was after fact 42) or a time (2026-01-02T15:04:05Z); %s", e.Text, e.Why, last)
}

// A Moment is a state of the log: what was true after the fact at Last, which
// was recorded at Recorded.
type Moment struct {
	Last     Position
	Recorded time.Time
}

// Count is how many facts the log held then.
func (m Moment) Count() Position { return m.Last + 1 }

// MomentOf reads a moment of the past: a position, whose fact is included, or
// a time in RFC 3339 (or a date), with everything that was recorded by then. A
// moment after now, or one before the first fact, is a [*MomentError].
func MomentOf(ctx context.Context, s Store, text string, now time.Time) (Moment, error) {
	text = strings.TrimSpace(text)
	head, err := s.Head(ctx)
	if err != nil {
		return Moment{}, err
	}
	bad := func(why string, args ...any) (Moment, error) {
		return Moment{}, &MomentError{Text: text, Why: fmt.Sprintf(why, args...), Last: max(head, 1) - 1, Empty: head == 0}
	}
	var m Moment
	switch p, err := strconv.ParseUint(text, 10, 63); {
	case head == 0:
		return bad("nothing has happened yet")
	case err == nil && Position(p) >= head:
		return bad("that has not happened yet")
	case err == nil:
		m.Last = Position(p)
	case text == "now":
		m.Last = head - 1
	default:
		at, err := parseTime(text)
		if err != nil {
			return bad("that is neither a position nor a time")
		}
		if at.After(now) {
			return bad("that has not come yet, it is %s", now.UTC().Format(time.RFC3339))
		}
		n, err := CountAt(ctx, s, at)
		if err != nil {
			return Moment{}, err
		}
		if n == 0 {
			return bad("the log begins later")
		}
		m.Last = n - 1
	}
	e, err := EventAt(ctx, s, m.Last)
	m.Recorded = e.Recorded
	return m, err
}

// FirstFrom is the first fact from a moment on: the one at a position, or the
// first that was recorded at a time or later (the end of the log when none was).
// What names no moment is a [*MomentError], but for a time before the first fact.
func FirstFrom(ctx context.Context, s Store, text string, now time.Time) (Position, error) {
	text = strings.TrimSpace(text)
	if at, err := parseTime(text); err == nil && !at.After(now) {
		return CountAt(ctx, s, at.Add(-1))
	}
	m, err := MomentOf(ctx, s, text, now)
	return m.Last, err
}

func parseTime(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, strings.ReplaceAll(text, " ", "+")) // a "+" in a query is read as a blank
	if err == nil {
		return at, nil
	}
	return time.Parse(time.DateOnly, text)
}
