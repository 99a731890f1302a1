package projections

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"modernc.org/sqlite"

	"github.com/emet-node/emet/domain/es"
)

const (
	copyEvery  = 50_000 // events
	mostCopies = 16
	// copyShare bounds what copies may weigh, in multiples of the newest one.
	copyShare = 6
)

// copies keeps a group as it was at some moments, so that an answer about the
// past need not begin at the first event. A copy is disposable.
type copies struct {
	dir     string // "" = none are kept
	every   es.Position
	last    es.Position // of the newest
	running *sync.WaitGroup
}

func copiesBeside(path string) copies {
	if path == Memory {
		return copies{}
	}
	return copies{dir: filepath.Join(filepath.Dir(path), "snap"), every: copyEvery, running: &sync.WaitGroup{}}
}

// again is the same for a group that is made anew: what was copied before may
// be of another version.
func (c copies) again() copies {
	c.last, c.running = 0, &sync.WaitGroup{}
	return c
}

// CopyEvery says after how many events a copy of the group is kept for answers
// about the past; 0 = never. It is called before Run.
func (d *DB) CopyEvery(n es.Position) { d.copies.every = n }

// finish waits for a copy that is being written.
func (c *copies) finish() {
	if c.running != nil {
		c.running.Wait()
	}
}

// kept is a copy on disk.
type kept struct {
	path string
	at   es.Position
	size int64
}

// list finds the copies of a group, oldest first.
func (c *copies) list(name string) []kept {
	if c.dir == "" {
		return nil
	}
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return nil
	}
	var out []kept
	for _, e := range entries {
		rest, mine := strings.CutPrefix(e.Name(), name+"@")
		digits, whole := strings.CutSuffix(rest, ".db")
		at, err := strconv.ParseUint(digits, 10, 63)
		info, statErr := e.Info()
		if mine && whole && err == nil && statErr == nil {
			out = append(out, kept{filepath.Join(c.dir, e.Name()), es.Position(at), info.Size()})
		}
	}
	slices.SortFunc(out, func(a, b kept) int { return int(a.at) - int(b.at) }) //nolint:gosec // far below 2^63
	return out
}

// copy begins to write a copy when it is time for one. Writing goes on beside
// the follower; that the copy cannot be written is no failure of the view.
func (d *DB) copy(ctx context.Context) error {
	c, at := &d.copies, d.Position()
	if c.dir == "" || c.every == 0 || d.frozen || at < c.last+c.every {
		return nil
	}
	if c.last == 0 && d.read != d.write { // not while it is made anew
		if all := c.list(d.name); len(all) > 0 && at >= all[len(all)-1].at && at < all[len(all)-1].at+c.every {
			c.last = all[len(all)-1].at
			return nil
		}
	}
	c.finish()
	c.last = at
	memory, err := d.memories()
	if err != nil {
		return err
	}
	d.swap.RLock()
	conn, err := d.read.Conn(ctx)
	d.swap.RUnlock()
	if err != nil {
		return nil //nolint:nilerr // the next one then
	}
	// The read transaction holds on to this moment while the view goes on.
	if err := holds(ctx, conn, at); err != nil {
		release(conn)
		return nil //nolint:nilerr // the next one then
	}
	c.running.Go(func() {
		defer release(conn)
		path := filepath.Join(c.dir, fmt.Sprintf("%s@%020d.db", d.name, at))
		if err := writeCopy(conn, path, memory); err != nil {
			remove(path + ".new")
			return
		}
		c.thin(d.name)
	})
	return nil
}

// holds begins a read transaction and checks that it sees the group at a position.
func holds(ctx context.Context, conn *sql.Conn, at es.Position) error {
	if _, err := conn.ExecContext(ctx, `BEGIN DEFERRED`); err != nil {
		return err
	}
	var seen int64
	if err := conn.QueryRowContext(ctx, `SELECT position FROM emet_view`).Scan(&seen); err != nil {
		return err
	}
	if es.Position(seen) != at { //nolint:gosec // never negative
		return fmt.Errorf("the group is at %d, not at %d", seen, at)
	}
	return nil
}

// release ends the read transaction of holds.
func release(conn *sql.Conn) {
	_, _ = conn.ExecContext(context.Background(), `ROLLBACK`)
	_ = conn.Close()
}

// memories is what views remember beside their tables, by name.
func (d *DB) memories() (map[string][]byte, error) {
	out := make(map[string][]byte)
	for _, v := range d.remembering() {
		b, err := json.Marshal(v.memories())
		if err != nil {
			return nil, fmt.Errorf("view %s: %w", v.Name(), err)
		}
		out[v.Name()] = b
	}
	return out, nil
}

// remembering lists the views that remember.
func (d *DB) remembering() []remembering {
	var out []remembering
	for _, views := range d.hears {
		for _, v := range views {
			if m, ok := v.(remembering); ok && !slices.Contains(out, m) {
				out = append(out, m)
			}
		}
	}
	return out
}

type copier interface {
	NewBackup(to string) (*sqlite.Backup, error)
	NewRestore(from string) (*sqlite.Backup, error)
}

const memorySchema = `CREATE TABLE emet_memory (view TEXT PRIMARY KEY, memory BLOB NOT NULL)`

// writeCopy writes the database that conn reads, and the memories of its
// views, to a new file.
func writeCopy(conn *sql.Conn, path string, memory map[string][]byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	side := path + ".new"
	remove(side)
	if err := private(side); err != nil {
		return err
	}
	const quick = "?_pragma=synchronous(off)&_pragma=journal_mode(off)"
	err := conn.Raw(func(c any) error { return transfer(c.(copier).NewBackup("file:" + side + quick)) }) //nolint:forcetypeassert // the only driver there is
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", "file:"+side+quick)
	if err != nil {
		return err
	}
	_, err = db.Exec(`PRAGMA journal_mode = delete; ` + memorySchema)
	for view, m := range memory {
		if err == nil {
			_, err = db.Exec(`INSERT INTO emet_memory VALUES (?, ?)`, view, m)
		}
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	return os.Rename(side, path)
}

// transfer copies all pages.
func transfer(b *sqlite.Backup, err error) error {
	if err != nil {
		return err
	}
	_, err = b.Step(-1)
	return errors.Join(err, b.Finish())
}

// thin removes copies until what is left is few and light enough: always the
// one whose neighbours are closest, never the newest.
func (c *copies) thin(name string) {
	for {
		all := c.list(name)
		var size int64
		for _, k := range all {
			size += k.size
		}
		if len(all) < 2 || len(all) <= mostCopies && size <= copyShare*all[len(all)-1].size {
			return
		}
		worst, gap := 0, es.Position(0)
		for i := range len(all) - 1 {
			before := es.Position(0)
			if i > 0 {
				before = all[i-1].at
			}
			if g := all[i+1].at - before; gap == 0 || g < gap {
				worst, gap = i, g
			}
		}
		if os.Remove(all[worst].path) != nil {
			return
		}
	}
}
