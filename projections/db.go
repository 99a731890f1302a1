package projections

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/projections/dsn"
)

// Memory is the path of a database that lives in memory only.
const Memory = ":memory:"

// freshness is how long a question waits for its view before it fails.
const freshness = 10 * time.Second

// ErrStale says that a view did not catch up with the log in time.
var ErrStale = errors.New("view has not caught up with the log")

// DB is a group of views in one SQLite file. Open it, then let [DB.Run] follow
// the log; questions may be asked from any number of goroutines.
type DB struct {
	name  string
	path  string
	log   *es.Log
	views []View
	hears map[string][]View // by name of the fact
	all   []View            // that hear everything

	swap  sync.RWMutex // held for writing while a rebuilt file takes the place of the old
	apply sync.Mutex   // held by whoever writes
	write *sql.DB      // one connection
	read  *sql.DB
	stmts *statements // of write
	rows  *rows
	dull  map[string]bool // types that are never intents, of those that were seen

	position  atomic.Uint64 // events seen
	committed es.Position   // of them, as the file says
	moved     broadcast
	failed    atomic.Pointer[error]
	forgot    bool // what views remember is not what the tables say
	frozen    bool // stands at a moment of the past and never moves
	every     bool // the tables keep every version of their rows
	born      birth
	versions  *versions // nil = none are kept

	after []func([]es.Recorded) // memory copies; called after each commit
}

// Open opens the group called name at path (or [Memory]). Tables of another
// version, or of another log, are made anew before it returns.
func Open(ctx context.Context, name, path string, log *es.Log, views ...View) (*DB, error) {
	d := &DB{name: name, path: path, log: log, views: views}
	d.versions = versionsOf(d)
	d.wire()
	if err := d.open(path); err == nil && d.belongs(ctx) {
		d.forgot = true // until there is more to hear
		d.versions.tidy()
		return d, nil
	} else if err == nil {
		_ = d.close() // its files are thrown away
	}
	if err := d.renew(ctx); err != nil {
		return nil, fmt.Errorf("open view %s: %w", name, err)
	}
	d.versions.tidy()
	return d, nil
}

// wire says who hears what. Views that remember begin with nothing.
func (d *DB) wire() {
	d.hears, d.all = make(map[string][]View), nil
	for _, v := range d.views {
		if m, ok := v.(remembering); ok {
			v = m.fresh()
		}
		if v.Hears() == nil {
			d.all = append(d.all, v)
		}
		for _, typ := range v.Hears() {
			name := es.FactName(typ)
			d.hears[name] = append(d.hears[name], v)
		}
	}
}

// hearers are the views that asked for a type, in whichever version it is.
func (d *DB) hearers(typ string) []View { return d.hears[es.FactName(typ)] }

// recall makes what views remember from the events up to the position.
func (d *DB) recall(ctx context.Context) error {
	d.forgot = false
	var facts []string
	for name, views := range d.hears {
		if slices.ContainsFunc(views, func(v View) bool { _, ok := v.(remembering); return ok }) {
			facts = append(facts, name)
		}
	}
	if len(facts) == 0 || d.Position() == 0 {
		return nil
	}
	for r, err := range d.log.ReadAll(ctx, 0, es.Filter{Facts: facts}) {
		if err != nil {
			return fmt.Errorf("view %s: recall: %w", d.name, err)
		}
		if r.Position >= d.Position() {
			break
		}
		for _, v := range d.hearers(r.Type) {
			if m, ok := v.(remembering); ok {
				m.remember(r)
			}
		}
	}
	return nil
}

// open opens the file at path, creating tables in an empty one.
func (d *DB) open(path string) error {
	write, read, err := connect(path)
	if err != nil {
		return err
	}
	if err := d.begin(write, read); err != nil {
		write.Close() //nolint:errcheck // the first error counts
		read.Close()  //nolint:errcheck // the first error counts
		return err
	}
	return nil
}

// begin makes connections those of the database, and the tables if there are none.
func (d *DB) begin(write, read *sql.DB) error {
	if err := d.create(write); err != nil {
		return err
	}
	tables, _, err := d.shape()
	if err == nil {
		d.take(write, read)
		d.rows = newRows(tables, d.every)
	}
	return err
}

// take makes connections those of the database.
func (d *DB) take(write, read *sql.DB) {
	d.write, d.read, d.stmts, d.dull = write, read, newStatements(write), make(map[string]bool)
}

// shape is what tables and indexes the views have.
func (d *DB) shape() (tables []*table, indexes map[string]string, err error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, nil, err
	}
	defer db.Close() //nolint:errcheck // nothing is in it
	db.SetMaxOpenConns(1)
	for _, v := range d.views {
		if _, err := db.Exec(v.Schema()); err != nil {
			return nil, nil, fmt.Errorf("schema of %s: %w", v.Name(), err)
		}
	}
	return describe(db)
}

// openScratch opens a new file that nobody reads before it is whole: what is
// lost with the power is made anew.
func (d *DB) openScratch(path string) error {
	if path == Memory {
		return d.open(path)
	}
	if err := private(path); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", dsn.File(path, "_pragma=synchronous(off)", "_pragma=journal_mode(off)", "_pragma=locking_mode(exclusive)", "_pragma=cache_size(-65536)", "_txlock=immediate"))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	if err := d.begin(db, db); err != nil {
		db.Close() //nolint:errcheck // the first error counts
		return err
	}
	return nil
}

func connect(path string) (write, read *sql.DB, err error) {
	const pragmas = "_pragma=busy_timeout(10000)&_pragma=synchronous(normal)&_pragma=temp_store(memory)&_txlock=immediate"
	if path == Memory {
		db, err := sql.Open("sqlite", ":memory:?"+pragmas)
		if err != nil {
			return nil, nil, err
		}
		db.SetMaxOpenConns(1)
		db.SetConnMaxIdleTime(0)
		return db, db, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, nil, err
	}
	if err := private(path); err != nil {
		return nil, nil, err
	}
	uri := dsn.File(path, pragmas, "_pragma=journal_mode(wal)")
	if write, err = sql.Open("sqlite", uri); err != nil {
		return nil, nil, err
	}
	write.SetMaxOpenConns(1)
	if read, err = sql.Open("sqlite", uri+"&_pragma=query_only(1)"); err != nil {
		write.Close() //nolint:errcheck // the first error counts
		return nil, nil, err
	}
	read.SetMaxOpenConns(max(4, runtime.GOMAXPROCS(0)))
	return write, read, nil
}

// private makes the file for its owner alone; the database gives the files
// beside it the same mode.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o600), f.Close())
}

const metaSchema = `CREATE TABLE IF NOT EXISTS emet_view (
	id INTEGER PRIMARY KEY CHECK (id = 0), version TEXT NOT NULL, position INTEGER NOT NULL, last TEXT NOT NULL)`

// create makes the tables if there are none.
func (d *DB) create(w *sql.DB) error {
	if _, err := w.Exec(metaSchema); err != nil {
		return err
	}
	var n int
	if err := w.QueryRow(`SELECT count(*) FROM emet_view`).Scan(&n); err != nil || n > 0 {
		return err
	}
	tx, err := w.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	if err := d.createTables(tx); err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO emet_view (id, version, position, last) VALUES (0, ?, 0, '')`, d.version()); err != nil {
		return err
	}
	return tx.Commit()
}

func (d *DB) createTables(tx *sql.Tx) error {
	if !d.every {
		for _, v := range d.views {
			if _, err := tx.Exec(v.Schema()); err != nil {
				return fmt.Errorf("schema of %s: %w", v.Name(), err)
			}
		}
		return nil
	}
	tables, indexes, err := d.shape()
	for _, t := range tables {
		if err == nil {
			_, err = tx.Exec(t.pastSchema())
		}
	}
	for _, text := range indexes {
		if err == nil {
			_, err = tx.Exec(text)
		}
	}
	return err
}

// version changes when a view's name, schema or hearing does.
func (d *DB) version() string {
	h := sha256.New()
	if d.every {
		h.Write([]byte("every version 2\n"))
	}
	for _, v := range d.views {
		fmt.Fprintf(h, "%s\x00%s\x00%q\x00", v.Name(), v.Schema(), v.Hears())
	}
	return hex.EncodeToString(h.Sum(nil))
}

// belongs says whether the tables are of this version and this log, and takes
// up their position.
func (d *DB) belongs(ctx context.Context) bool {
	var (
		version, last string
		position      int64
	)
	if d.write.QueryRow(`SELECT version, position, last FROM emet_view`).Scan(&version, &position, &last) != nil || version != d.version() {
		return false
	}
	if position > 0 && !d.inLog(ctx, es.Position(position-1), last) {
		return false
	}
	d.stand(es.Position(position)) //nolint:gosec // never negative
	return true
}

func (d *DB) inLog(ctx context.Context, at es.Position, id string) bool {
	for e, err := range d.log.Store.ReadAll(ctx, at, es.Forward, es.Filter{}, 1) {
		return err == nil && e.Position == at && e.ID.String() == id
	}
	return false
}

// stand says how many events the tables have seen.
func (d *DB) stand(at es.Position) {
	d.position.Store(uint64(at))
	d.committed = at
}

// Position is the number of events that the views have seen.
func (d *DB) Position() es.Position { return es.Position(d.position.Load()) }

// Name is the name of the group.
func (d *DB) Name() string { return d.name }

// Close closes the files. What follows the log ends with [es.ErrClosed].
func (d *DB) Close() error {
	d.versions.close()
	d.apply.Lock()
	defer d.apply.Unlock()
	d.swap.Lock()
	defer d.swap.Unlock()
	return d.close()
}

func (d *DB) close() error {
	if d.write == nil {
		return nil
	}
	err := d.write.Close()
	if d.read != d.write {
		err = errors.Join(err, d.read.Close())
	}
	d.write, d.read, d.stmts, d.rows = nil, nil, nil, nil
	return err
}

// tables lists the tables of the views.
func (d *DB) tables(ctx context.Context) ([]string, error) {
	from, kind := "sqlite_master", "table"
	if d.every {
		from, kind = "sqlite_temp_master", "view"
	}
	names, err := queryNow(ctx, d, func(s scanner) (n string, err error) { return n, s.Scan(&n) },
		`SELECT name FROM `+from+` WHERE type = '`+kind+`' AND name NOT LIKE 'sqlite_%' AND name <> 'emet_view'`)
	slices.Sort(names)
	return names, err
}

// broadcast wakes everyone who waits.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{}
}

// next is closed by the next call of wake.
func (b *broadcast) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *broadcast) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}
