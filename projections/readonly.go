package projections

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/projections/dsn"
)

// patience is how long a reader waits for the process that keeps the views.
const patience = 3 * time.Second

// opener is [Open] or [OpenReadOnly].
type opener func(ctx context.Context, name, path string, log *es.Log, views ...View) (*DB, error)

// OpenReadOnly reads a group that another process keeps, and changes nothing.
// It waits until that process has taken in everything that is in log now, for
// three seconds at most; then it fails with [ErrStale], as it does when the
// tables are of another version. Do not Run it: it follows by itself.
func OpenReadOnly(ctx context.Context, name, path string, log *es.Log, views ...View) (*DB, error) {
	d := &DB{name: name, path: path, log: log, views: views, frozen: true}
	d.versions = versionsOf(d)
	d.wire()
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("view %s: %w: %w", name, ErrStale, err)
	}
	db, err := openReading(path)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(max(4, runtime.GOMAXPROCS(0)))
	d.take(db, db)
	if err := d.reach(ctx); err != nil {
		db.Close() //nolint:errcheck // the first error counts
		return nil, fmt.Errorf("view %s: %w", name, err)
	}
	return d, nil
}

// openReading opens a file that somebody else may be writing.
func openReading(path string) (*sql.DB, error) {
	return sql.Open("sqlite", dsn.File(path, "mode=ro", "_pragma=busy_timeout(3000)", "_pragma=temp_store(memory)"))
}

// reach waits until the tables have seen what is in the log now.
func (d *DB) reach(ctx context.Context) error {
	head, err := d.log.Store.Head(ctx)
	if err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		var version string
		var at int64
		err := d.read.QueryRowContext(ctx, `SELECT version, position FROM emet_view`).Scan(&version, &at)
		switch {
		case err != nil:
			return fmt.Errorf("%w: %w", ErrStale, err)
		case version != d.version():
			return fmt.Errorf("%w: another build keeps it", ErrStale)
		case d.seenAll(ctx, es.Position(at), head): //nolint:gosec // never negative
			d.stand(head)
			return nil
		}
		select {
		case <-tick.C:
		case <-end:
			return fmt.Errorf("%w: it is at event %d of %d", ErrStale, at, head)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// seenAll says whether tables that stand at a position lack nothing that is in
// the log before head: who keeps them does not write down that it saw facts
// that no view wants.
func (d *DB) seenAll(ctx context.Context, at, head es.Position) bool {
	if at >= head {
		return true
	}
	if head-at > quiet {
		return false
	}
	for e, err := range d.log.Store.ReadAll(ctx, at, es.Forward, wanted([]*DB{d}), 1) {
		return err == nil && e.Position >= head
	}
	return true
}
