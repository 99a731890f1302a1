// Package sqlite keeps an event store in one SQLite file, with WAL and
// synchronous=FULL: the second embedded engine. It is slower than the segment
// log and its file is not the evidence, but leaves and proofs are the same, and
// any SQLite tool can read it. docs/formats.md has its table.
package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite" // also the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/emet-node/emet/adapters/store/front"
	"github.com/emet-node/emet/adapters/store/leaf"
	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/projections/dsn"
)

// Options of a store. The zero value is what a node runs with.
type Options struct {
	Now func() time.Time // nil = time.Now
}

// Store is an [es.Store] in a file. Create it with [Open].
type Store struct {
	*front.Store
	table *table
}

var _ es.Store = (*Store)(nil)

const format = 1

const schema = `
CREATE TABLE log (format INTEGER NOT NULL, log_id TEXT NOT NULL, created TEXT NOT NULL) STRICT;
CREATE TABLE events (
	position INTEGER PRIMARY KEY,
	stream   TEXT NOT NULL,
	revision INTEGER NOT NULL,
	id       BLOB NOT NULL,
	type     TEXT NOT NULL,
	recorded INTEGER NOT NULL,
	subject  TEXT NOT NULL,
	data     BLOB,
	meta     BLOB,
	salts    BLOB NOT NULL,
	previous BLOB NOT NULL,
	leaf     BLOB NOT NULL
) STRICT;`

// Open opens the store at path and creates it if there is none. Errors:
// [es.ErrLocked] when another process has it open, [es.ErrCorrupt] when its
// events do not follow each other.
func Open(ctx context.Context, path string, o Options) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	lock, err := vfs.OS{}.Lock(path + ".lock")
	if err != nil {
		var held *vfs.Held
		if errors.As(err, &held) {
			return nil, fmt.Errorf("store %s is open in %s: %w", path, held.Holder, es.ErrLocked)
		}
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	var s *Store
	if err = private(path); err == nil {
		s, err = open(ctx, path, false, o)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", path, err), lock.Close())
	}
	s.table.lock = lock
	return s, nil
}

// private makes the file, so that nobody else may read it; SQLite gives those
// beside it the same mode.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// OpenReadOnly opens the store at path for reading, beside a process that
// writes it or not. It shows what was there at this moment.
func OpenReadOnly(ctx context.Context, path string) (*Store, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s, err := open(ctx, path, true, Options{})
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return s, nil
}

func open(ctx context.Context, path string, readOnly bool, o Options) (*Store, error) {
	t, err := openTable(path, readOnly)
	if err != nil {
		return nil, err
	}
	id, err := t.identify(ctx, readOnly)
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	f, err := front.Open(ctx, t, func(from es.Position) iter.Seq2[front.Row, error] { return t.outline(ctx, from) }, front.Options{
		Name: "sqlite", Outline: path + ".outline", LogID: id, Now: o.Now, ReadOnly: readOnly, Final: func(err error) bool { return errors.Is(err, es.ErrCommitUnknown) },
	})
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return &Store{Store: f, table: t}, nil
}

// table is the events in the file.
type table struct {
	write *sql.DB // one connection
	read  *sql.DB
	lock  io.Closer
}

var _ front.Table = (*table)(nil)

func openTable(path string, readOnly bool) (*table, error) {
	uri := func(pragmas ...string) string {
		return dsn.File(path, append([]string{"_pragma=busy_timeout(5000)", "_pragma=cache_size(-16384)"}, pragmas...)...)
	}
	t := &table{}
	var err error
	if !readOnly {
		if t.write, err = sql.Open("sqlite", uri("_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)", "_pragma=wal_autocheckpoint(4000)")); err != nil {
			return nil, err
		}
		t.write.SetMaxOpenConns(1)
	}
	t.read, err = sql.Open("sqlite", uri("_pragma=query_only(1)"))
	return t, err
}

// identify reads which log this is, or makes a new one.
func (t *table) identify(ctx context.Context, readOnly bool) (id [16]byte, err error) {
	db := t.write
	if readOnly {
		db = t.read
	}
	var tables int
	if err = db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name IN ('log', 'events')`).Scan(&tables); err != nil {
		return id, fmt.Errorf("%w: %w", es.ErrCorrupt, err)
	}
	if tables == 0 && !readOnly {
		_, _ = rand.Read(id[:]) // never fails
		return id, t.create(ctx, id)
	}
	var version int
	var text string
	if err = db.QueryRowContext(ctx, `SELECT format, log_id FROM log`).Scan(&version, &text); err != nil {
		return id, fmt.Errorf("%w: it is no store of emet: %w", es.ErrCorrupt, err)
	}
	b, err := hex.DecodeString(text)
	if version != format || err != nil || len(b) != len(id) {
		return id, fmt.Errorf("%w: format %d, log %q; this build knows format %d", es.ErrCorrupt, version, text, format)
	}
	return [16]byte(b), nil
}

func (t *table) create(ctx context.Context, id [16]byte) error {
	tx, err := t.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	if _, err := tx.ExecContext(ctx, schema); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO log VALUES (?, ?, ?)`, format, hex.EncodeToString(id[:]), time.Now().UTC().Format(time.RFC3339)); err != nil {
		return err
	}
	return tx.Commit()
}

// outline yields the rows from a position on without their content.
func (t *table) outline(ctx context.Context, from es.Position) iter.Seq2[front.Row, error] {
	return t.query(ctx, `SELECT position, stream, revision, id, type, recorded, subject, NULL, NULL, salts, previous, leaf FROM events WHERE position >= ? ORDER BY position`, int64(from))
}

const (
	insert  = `INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	columns = `position, stream, revision, id, type, recorded, subject, data, meta, salts, previous, leaf`
)

// Write implements [front.Table].
func (t *table) Write(ctx context.Context, rows []front.Row) error {
	tx, err := t.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", es.ErrDegraded, err)
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	stmt, err := tx.PrepareContext(ctx, insert)
	if err != nil {
		return fmt.Errorf("%w: %w", es.ErrDegraded, err)
	}
	defer stmt.Close() //nolint:errcheck // it ends with the transaction
	for i := range rows {
		r := &rows[i]
		_, err := stmt.ExecContext(ctx, int64(r.Position), string(r.Stream), int64(r.Revision), r.ID[:], r.Type, r.Recorded.UnixMicro(), r.Subject,
			r.Data, r.Meta, r.Salts.Bytes(), r.PrevInStream[:], r.Leaf[:])
		if err != nil {
			return fmt.Errorf("%w: %w", es.ErrDegraded, err)
		}
	}
	if err := tx.Commit(); err != nil {
		if full(err) {
			return fmt.Errorf("%w: no space: %w", es.ErrDegraded, err)
		}
		return fmt.Errorf("%w: %w", es.ErrCommitUnknown, err)
	}
	return nil
}

// full says whether SQLite found no space and took the transaction back.
func full(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_FULL
}

// Range implements [front.Table].
func (t *table) Range(ctx context.Context, from, to es.Position, d es.Direction, f es.Filter) iter.Seq2[front.Row, error] {
	order := "ASC"
	if d == es.Backward {
		order = "DESC"
	}
	return func(yield func(front.Row, error) bool) {
		if from >= to {
			return
		}
		rows := t.query(ctx, `SELECT `+columns+` FROM events WHERE position >= ? AND position < ? ORDER BY position `+order, int64(from), int64(to))
		n := es.Position(0) // rows so far
		for r, err := range rows {
			want := from + n
			if d == es.Backward {
				want = to - 1 - n
			}
			if n++; err == nil && r.Position != want {
				r, err = front.Row{}, fmt.Errorf("%w: position %d is missing", es.ErrCorrupt, want)
			}
			if err == nil && !f.Match(r.Stream, r.Type) {
				continue
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// At implements [front.Table].
func (t *table) At(ctx context.Context, positions []es.Position) iter.Seq2[front.Row, error] {
	return func(yield func(front.Row, error) bool) {
		stmt, err := t.read.PrepareContext(ctx, `SELECT `+columns+` FROM events WHERE position = ?`)
		if err != nil {
			yield(front.Row{}, err)
			return
		}
		defer stmt.Close() //nolint:errcheck // it was for reading
		for _, p := range positions {
			r, err := scan(stmt.QueryRowContext(ctx, int64(p)))
			if errors.Is(err, sql.ErrNoRows) {
				err = fmt.Errorf("%w: position %d is missing", es.ErrCorrupt, p)
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// LeafHashes yields the leaves of the tree over [from, to), as far as they are
// durable, without the events.
func (s *Store) LeafHashes(ctx context.Context, from, to es.Position) iter.Seq2[es.Hash, error] {
	return func(yield func(es.Hash, error) bool) {
		rows, err := s.table.read.QueryContext(ctx, `SELECT leaf FROM events WHERE position >= ? AND position < ? ORDER BY position`, int64(from), int64(min(to, s.Durable().Head())))
		if err != nil {
			yield(es.Hash{}, err)
			return
		}
		defer rows.Close() //nolint:errcheck // it was for reading
		for rows.Next() {
			var b sql.RawBytes
			err := rows.Scan(&b)
			if err == nil && len(b) != len(es.Hash{}) {
				err = fmt.Errorf("%w: a leaf has %d bytes", es.ErrCorrupt, len(b))
			}
			if err != nil {
				yield(es.Hash{}, err)
				return
			}
			if !yield(es.Hash(b), nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(es.Hash{}, err)
		}
	}
}

func (t *table) query(ctx context.Context, q string, args ...any) iter.Seq2[front.Row, error] {
	return func(yield func(front.Row, error) bool) {
		rows, err := t.read.QueryContext(ctx, q, args...)
		if err != nil {
			yield(front.Row{}, err)
			return
		}
		defer rows.Close() //nolint:errcheck // it was for reading
		for rows.Next() {
			r, err := scan(rows)
			if !yield(r, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(front.Row{}, err)
		}
	}
}

func scan(from interface{ Scan(...any) error }) (r front.Row, err error) {
	var position, revision, recorded int64
	var stream string
	var id, salts, previous, hash []byte
	if err := from.Scan(&position, &stream, &revision, &id, &r.Type, &recorded, &r.Subject, &r.Data, &r.Meta, &salts, &previous, &hash); err != nil {
		return r, err
	}
	var ok bool
	r.Salts, ok = leaf.ParseSalts(salts)
	if !ok || len(id) != len(r.ID) || len(previous) != len(r.PrevInStream) || len(hash) != len(r.Leaf) {
		return r, fmt.Errorf("%w: position %d: a column has another length", es.ErrCorrupt, position)
	}
	r.Position, r.Stream, r.Revision, r.Recorded = es.Position(position), es.Stream(stream), es.Revision(revision), time.UnixMicro(recorded).UTC()
	r.ID, r.PrevInStream, r.Leaf = es.ID(id), es.Hash(previous), es.Hash(hash)
	return r, nil
}

// Close implements [front.Table].
func (t *table) Close() error {
	err := t.read.Close()
	if t.write != nil {
		err = errors.Join(err, t.write.Close())
	}
	if t.lock != nil {
		err = errors.Join(err, t.lock.Close())
	}
	return err
}
