// Package projections folds facts into answers. A view can be thrown away and
// made again from the log, up to any moment; it decides nothing.
//
// Views lie in four SQLite databases ([Market], [Activity], [Payment],
// [Node]), each with one follower of the log. A database writes its rows and
// its position in one transaction, so every fact counts once. A question
// waits until its database has seen everything that was in the log when it
// was asked: clients read their own writes.
package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/money"
)

// View answers one kind of question. It has no state of its own: what it
// knows is in its tables.
type View interface {
	// Name has a number at its end ("agreements/1"). Another number makes the
	// tables anew, as does another schema.
	Name() string
	// Schema is the SQL that creates the tables of the view.
	Schema() string
	// Hears lists the types that Apply wants; nil means all of them. It gets
	// their older versions too, in the newest form. A view that wants all is
	// given the content of those that can be intents only: reading content is
	// what takes time.
	Hears() []string
	// Apply writes what one fact means. It is a function of the tables and
	// the fact alone: no clock, no chance, no world.
	Apply(tx *Tx, r es.Recorded) error
}

// remembering is a view that needs more than its tables to know what a fact
// means. What it remembers follows from the facts it heard, so it is made
// again from the log when a database is opened.
type remembering interface {
	View
	fresh() remembering // one that has heard nothing
	remember(r es.Recorded)
}

// errNoRow says that a fact is about something that no fact began.
var errNoRow = errors.New("what it is about is not there")

func values(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case time.Time:
			out[i] = micros(a)
		case money.Amount:
			out[i] = a.String()
		default:
			out[i] = a
		}
	}
	return out
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// stamp keeps the nanoseconds of a time that is hashed into an id.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// moment scans what [plain] and stamp wrote for a time.
type moment struct{ t *time.Time }

// Scan implements sql.Scanner.
func (m moment) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*m.t = time.Time{}
	case int64:
		*m.t = time.Time{}
		if v != 0 {
			*m.t = time.UnixMicro(v).UTC()
		}
	case string:
		*m.t = time.Time{}
		if v == "" {
			return nil
		}
		t, err := time.Parse(time.RFC3339Nano, v)
		if err != nil {
			return err
		}
		*m.t = t
	default:
		return fmt.Errorf("a %T is no time", src)
	}
	return nil
}

// amount scans the text of an amount.
type amount struct{ a *money.Amount }

// Scan implements sql.Scanner.
func (m amount) Scan(src any) error {
	s, ok := src.(string)
	if !ok {
		return fmt.Errorf("a %T is no amount", src)
	}
	a, err := money.Parse(s)
	if err != nil {
		return err
	}
	*m.a = a
	return nil
}

// scanner is a row or rows.
type scanner interface{ Scan(dest ...any) error }

// query waits until the database is fresh and returns all rows.
func query[T any](ctx context.Context, db *DB, scan func(scanner) (T, error), text string, args ...any) ([]T, error) {
	if err := db.Fresh(ctx); err != nil {
		return nil, err
	}
	return queryNow(ctx, db, scan, text, args...)
}

func queryNow[T any](ctx context.Context, db *DB, scan func(scanner) (T, error), text string, args ...any) ([]T, error) {
	db.swap.RLock()
	defer db.swap.RUnlock()
	rows, err := db.read.QueryContext(ctx, text, values(args)...)
	if err != nil {
		return nil, fmt.Errorf("view %s: %w", db.name, err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("view %s: %w", db.name, err)
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// one is query for at most one row.
func one[T any](ctx context.Context, db *DB, scan func(scanner) (T, error), text string, args ...any) (v T, found bool, err error) {
	all, err := query(ctx, db, scan, text, args...)
	if err != nil || len(all) == 0 {
		return v, false, err
	}
	return all[0], true, nil
}

// conditions builds a WHERE clause of the conditions that are set.
type conditions struct {
	text string
	args []any
}

func (c *conditions) add(so bool, text string, args ...any) {
	if !so {
		return
	}
	if c.text == "" {
		c.text = " WHERE "
	} else {
		c.text += " AND "
	}
	c.text += text
	c.args = append(c.args, args...)
}
