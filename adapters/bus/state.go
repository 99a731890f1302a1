package bus

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the database

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/projections/dsn"
)

// State remembers how far each webhook was told, and what was set aside. It
// holds positions, no facts. Losing it means that webhooks are told again what
// they know. It is safe for concurrent use.
type State struct {
	// MaxAside is how much is set aside for one webhook, 0 = 10 000. Then it has
	// to wait, so that nothing is forgotten.
	MaxAside int

	db *sql.DB
}

const schema = `
CREATE TABLE IF NOT EXISTS log (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS trying (
	hook TEXT PRIMARY KEY, position INTEGER NOT NULL, attempts INTEGER NOT NULL, refused INTEGER NOT NULL, since TEXT NOT NULL, next TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS hook (
	id TEXT PRIMARY KEY, next INTEGER NOT NULL DEFAULT -1, delivered INTEGER NOT NULL DEFAULT 0, last TEXT NOT NULL DEFAULT '',
	failures INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '', failed TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS aside (
	hook TEXT NOT NULL, position INTEGER NOT NULL, event TEXT NOT NULL, type TEXT NOT NULL, stream TEXT NOT NULL,
	reason TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (hook, position));`

// OpenState opens the file at path and makes it when it is not there.
func OpenState(path string) (*State, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dsn.File(path, "_pragma=busy_timeout(10000)", "_pragma=journal_mode(wal)", "_pragma=synchronous(normal)", "_txlock=immediate"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(schema); err != nil {
		db.Close() //nolint:errcheck // the first error counts
		return nil, fmt.Errorf("state of webhooks in %s: %w; when it is removed, webhooks are told again from their beginning", path, err)
	}
	return &State{db: db}, nil
}

// Close closes the file.
func (s *State) Close() error { return s.db.Close() }

// Status is where a webhook stands.
type Status struct {
	Next      es.Position // the first that it was not told
	Delivered int64
	Last      time.Time // when it last took something; zero = never
	Failures  int       // attempts in a row that failed
	Error     string    // of the last one
	Failed    time.Time // when that was
	Again     time.Time // the next attempt at what failed; zero = nothing waits for one
	Aside     int       // facts that were set aside
}

// Status tells where a webhook stands.
func (s *State) Status(ctx context.Context, h Hook) (Status, error) {
	st := Status{Next: h.From}
	var (
		next         int64
		last, failed string
	)
	err := s.db.QueryRowContext(ctx, `SELECT next, delivered, last, failures, error, failed FROM hook WHERE id = ?`, h.ID).
		Scan(&next, &st.Delivered, &last, &st.Failures, &st.Error, &failed)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return st, fmt.Errorf("state of webhook %s: %w", h.ID, err)
	}
	if err == nil && next >= 0 {
		st.Next = es.Position(next)
	}
	st.Last, st.Failed = parseTime(last), parseTime(failed)
	t, err := s.Trying(ctx, h.ID)
	if err != nil {
		return st, err
	}
	if t.Attempts > 0 && t.Position >= st.Next {
		st.Again = t.Next
	}
	if err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM aside WHERE hook = ?`, h.ID).Scan(&st.Aside); err != nil {
		return st, fmt.Errorf("state of webhook %s: %w", h.ID, err)
	}
	return st, nil
}

// Passed notes that a webhook was told everything before next. It never goes
// back.
func (s *State) Passed(ctx context.Context, id string, next es.Position) error {
	return s.put(ctx, id, `INSERT INTO hook (id, next) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET next = max(next, ?2)`, int64(next))
}

// Took notes that a webhook took something.
func (s *State) Took(ctx context.Context, id string, at time.Time) error {
	return s.put(ctx, id, `INSERT INTO hook (id, delivered, last) VALUES (?1, 1, ?2)
		ON CONFLICT (id) DO UPDATE SET delivered = delivered + 1, last = ?2, failures = 0, error = ''`, formatTime(at))
}

// Refused notes that an attempt failed.
func (s *State) Refused(ctx context.Context, id, why string, at time.Time) error {
	return s.put(ctx, id, `INSERT INTO hook (id, failures, error, failed) VALUES (?1, 1, ?2, ?3)
		ON CONFLICT (id) DO UPDATE SET failures = failures + 1, error = ?2, failed = ?3`, clip(why), formatTime(at))
}

func (s *State) put(ctx context.Context, id, query string, args ...any) error {
	if _, err := s.db.ExecContext(ctx, query, append([]any{id}, args...)...); err != nil {
		return fmt.Errorf("state of webhook %s: %w", id, err)
	}
	return nil
}

// Forget drops everything about a webhook.
func (s *State) Forget(ctx context.Context, id string) error {
	return errors.Join(s.put(ctx, id, `DELETE FROM aside WHERE hook = ?1`), s.put(ctx, id, `DELETE FROM trying WHERE hook = ?1`), s.put(ctx, id, `DELETE FROM hook WHERE id = ?1`))
}

// Aside is a fact that a webhook was not told.
type Aside struct {
	Hook     string
	Position es.Position
	Event    string // id
	Type     string
	Stream   string
	Reason   string
	At       time.Time
}

const maxAside = 10_000

// ErrFull says that so much was set aside that a webhook has to wait for the
// operator.
var ErrFull = errors.New("too many facts are set aside; retry or drop them")

// SetAside keeps a fact for the operator. It fails with [ErrFull].
func (s *State) SetAside(ctx context.Context, a Aside) error {
	var n int
	err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM aside WHERE hook = ? AND position <> ?`, a.Hook, int64(a.Position)).Scan(&n)
	if err != nil {
		return fmt.Errorf("state of webhook %s: %w", a.Hook, err)
	}
	if n >= cmp.Or(s.MaxAside, maxAside) {
		return ErrFull
	}
	return s.put(ctx, a.Hook, `INSERT OR REPLACE INTO aside (hook, position, event, type, stream, reason, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)`,
		int64(a.Position), a.Event, a.Type, a.Stream, clip(a.Reason), formatTime(a.At))
}

// Aside lists what was set aside, in order; id "" means of all webhooks.
func (s *State) Aside(ctx context.Context, id string) ([]Aside, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT hook, position, event, type, stream, reason, at FROM aside
		WHERE ?1 = '' OR hook = ?1 ORDER BY hook, position`, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // only read
	var out []Aside
	for rows.Next() {
		var (
			a  Aside
			p  int64
			at string
		)
		if err := rows.Scan(&a.Hook, &p, &a.Event, &a.Type, &a.Stream, &a.Reason, &at); err != nil {
			return nil, err
		}
		a.Position, a.At = es.Position(p), parseTime(at)
		out = append(out, a)
	}
	return out, rows.Err()
}

// Drop forgets a fact that was set aside.
func (s *State) Drop(ctx context.Context, id string, p es.Position) error {
	return s.put(ctx, id, `DELETE FROM aside WHERE hook = ?1 AND position = ?2`, int64(p))
}

const maxReason = 500 // bytes

func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxReason)], "") }

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func parseTime(s string) time.Time {
	t, _ := time.Parse(time.RFC3339Nano, s)
	return t
}
