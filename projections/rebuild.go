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
	"strings"

	"github.com/emet-node/emet/domain/es"
)

// Rebuild makes the tables of groups of one log anew in side files, which then
// take the place of the old ones. The log is read once for all of them.
// Questions go on being answered meanwhile; should the process end, the old
// tables are there.
func Rebuild(ctx context.Context, groups ...*DB) error {
	if len(groups) == 0 {
		return nil
	}
	sides := make([]*DB, 0, len(groups))
	defer func() {
		for _, s := range sides {
			s.close() //nolint:errcheck // those that took a place are open no more
		}
	}()
	for _, d := range groups {
		side, err := d.sideOf(d.side())
		if err != nil {
			return fmt.Errorf("rebuild view %s: %w", d.name, err)
		}
		sides = append(sides, side)
	}
	if err := load(ctx, groups[0].log, sides...); err != nil {
		return fmt.Errorf("rebuild views: %w", err)
	}
	for i, d := range groups {
		if err := d.exchange(sides[i]); err != nil {
			return fmt.Errorf("rebuild view %s: %w", d.name, err)
		}
	}
	return nil
}

// Rebuild is [Rebuild] of one group.
func (d *DB) Rebuild(ctx context.Context) error { return Rebuild(ctx, d) }

func (d *DB) side() string {
	if d.path == Memory {
		return Memory
	}
	return d.path + ".new"
}

// sideOf opens a fresh file for the same views.
func (d *DB) sideOf(path string) (*DB, error) {
	remove(path)
	side := &DB{name: d.name, path: path, log: d.log, views: d.views, every: d.every}
	side.wire()
	return side, side.openScratch(path)
}

// build folds the whole log into a fresh file.
func (d *DB) build(ctx context.Context, path string) (*DB, error) {
	side, err := d.sideOf(path)
	if err != nil {
		return nil, err
	}
	if err := load(ctx, side.log, side); err != nil {
		side.close() //nolint:errcheck // the first error counts
		remove(path)
		return nil, err
	}
	return side, nil
}

// exchange puts side in the place of d.
func (d *DB) exchange(side *DB) error {
	d.apply.Lock() // the follower waits; it goes on from the new position
	defer d.apply.Unlock()
	d.swap.Lock()
	defer d.swap.Unlock()
	return d.replace(side)
}

// replace puts side in the place of d. Both locks are held.
func (d *DB) replace(side *DB) error {
	position := side.Position()
	if d.write != nil && d.path != Memory {
		_, _ = d.write.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`) // the old file is whole without its log until the new one is in its place
	}
	if err := d.close(); err != nil {
		return err
	}
	if d.path == Memory {
		d.take(side.write, side.read)
		d.rows = side.rows
		side.write = nil // it is d's
	} else {
		// The file is in the mode in which it is opened: nothing is written to it
		// after it took its place, so that a kill leaves nothing to be undone.
		if _, err := side.write.Exec(`PRAGMA journal_mode = wal`); err != nil {
			return err
		}
		if err := side.close(); err != nil {
			return err
		}
		if err := syncFile(side.path); err != nil {
			return err
		}
		remove(d.path, besides...)
		if err := os.Rename(side.path, d.path); err != nil {
			return err
		}
		if err := d.open(d.path); err != nil {
			return err
		}
	}
	d.hears, d.all, d.forgot = side.hears, side.all, false
	d.stand(position)
	d.moved.wake()
	return nil
}

// renew is Rebuild for a group that is not open.
func (d *DB) renew(ctx context.Context) error {
	side, err := d.build(ctx, d.side())
	if err != nil {
		return err
	}
	return d.replace(side)
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Check makes the tables anew beside those that are there, and says whether
// they are the same. It changes nothing.
func (d *DB) Check(ctx context.Context) (same bool, err error) {
	at := d.Position()
	dir, err := os.MkdirTemp(filepath.Dir(d.path), "check-")
	if d.path == Memory {
		dir, err = os.MkdirTemp("", "emet-check-")
	}
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what is left is no harm
	then := &DB{name: d.name, views: d.views}
	then.log = &es.Log{Store: es.AsOf(d.log.Store, at), Codec: d.log.Codec, Sealer: d.log.Sealer}
	side, err := then.build(ctx, filepath.Join(dir, d.name+".db"))
	if err != nil {
		return false, fmt.Errorf("view %s: %w", d.name, err)
	}
	defer side.close() //nolint:errcheck // it is thrown away
	side.frozen = true
	want, err := side.TableHash(ctx)
	if err != nil {
		return false, err
	}
	have, err := d.TableHash(ctx)
	return have == want, err
}

// besides are the ends of the names of what SQLite keeps beside a file.
var besides = []string{"-wal", "-shm", "-journal"}

// remove deletes a database with what SQLite keeps beside it, or only what
// ends so.
func remove(path string, ends ...string) {
	if path == Memory {
		return
	}
	if len(ends) == 0 {
		ends = append([]string{""}, besides...)
	}
	for _, end := range ends {
		os.Remove(path + end) //nolint:errcheck // it may not be there; opening will tell
	}
}

// TableHash is the SHA-256 of all rows of all tables, in an order that does
// not depend on how they got there.
func (d *DB) TableHash(ctx context.Context) (string, error) {
	if err := d.Fresh(ctx); err != nil {
		return "", err
	}
	tables, err := d.tables(ctx)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, table := range tables {
		columns, err := queryNow(ctx, d, func(s scanner) (n string, err error) { return n, s.Scan(&n) },
			`SELECT 'quote("' || name || '")' FROM pragma_table_info(?) ORDER BY cid`, table)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s\n", table)
		row := strings.Join(columns, " || ',' || ")
		_, err = queryNow(ctx, d, func(s scanner) (none struct{}, err error) {
			var text sql.RawBytes
			err = s.Scan(&text)
			h.Write(text)
			h.Write([]byte{'\n'})
			return none, err
		}, `SELECT `+row+` AS r FROM "`+table+`" ORDER BY r`)
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
