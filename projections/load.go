package projections

import (
	"context"
	"database/sql"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/emet-node/emet/domain/es"
)

const (
	chunkSize = 2048 // events that are handed on at a time
	chunks    = 4    // that wait for a group
)

// load folds all that is in a log now into groups whose tables are empty, all
// of them at the same time. Each event is read and decoded once. Rows are
// written when there are many, indexes are made at the end, and each group
// commits once.
func load(ctx context.Context, log *es.Log, sides ...*DB) error {
	head, err := log.Store.Head(ctx)
	if err != nil || head == 0 {
		return err
	}
	last, err := es.EventAt(ctx, log.Store, head-1)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	to := make([]chan []es.Recorded, len(sides))
	for i, d := range sides {
		to[i] = make(chan []es.Recorded, chunks)
		g.Go(func() error { return d.loadFrom(ctx, to[i], head, last.ID.String()) })
	}
	g.Go(func() error { return deal(ctx, log, head, sides, to) })
	return g.Wait()
}

// deal reads the first events of a log and hands them to all groups.
func deal(ctx context.Context, log *es.Log, head es.Position, sides []*DB, to []chan []es.Recorded) error {
	defer func() {
		for _, c := range to {
			close(c)
		}
	}()
	dull := make(map[string]bool)
	chunk := make([]es.Recorded, 0, chunkSize)
	hand := func() error {
		for _, c := range to {
			select {
			case c <- chunk:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		chunk = make([]es.Recorded, 0, chunkSize)
		return nil
	}
	for e, err := range log.Store.ReadAll(ctx, 0, es.Forward, wanted(sides), 0) {
		if err != nil {
			return err
		}
		if e.Position >= head {
			break
		}
		asked := slices.ContainsFunc(sides, func(d *DB) bool { return len(d.hearers(e.Type)) > 0 })
		r, err := decode(ctx, log, e, asked, dull)
		if err != nil {
			return err
		}
		if chunk = append(chunk, r); len(chunk) == chunkSize {
			if err := hand(); err != nil {
				return err
			}
		}
	}
	return hand()
}

// wanted matches what some group hears.
func wanted(sides []*DB) es.Filter {
	var f es.Filter
	for _, d := range sides {
		if len(d.all) > 0 {
			return es.Filter{}
		}
		for name := range d.hears {
			if !slices.Contains(f.Facts, name) {
				f.Facts = append(f.Facts, name)
			}
		}
	}
	return f
}

// loadFrom folds the events that come into empty tables.
func (d *DB) loadFrom(ctx context.Context, from <-chan []es.Recorded, head es.Position, last string) error {
	indexes, err := indexesOf(d.write)
	if err != nil {
		return err
	}
	for name := range indexes {
		if _, err := d.write.ExecContext(ctx, `DROP INDEX `+name); err != nil {
			return err
		}
	}
	d.rows.empty()
	tx, err := d.stmts.begin(d.rows)
	if err != nil {
		return err
	}
	defer tx.rollback()
	for chunk := range from {
		if err := d.loadChunk(tx, chunk); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := tx.flush(); err != nil {
		return err
	}
	if err := createAll(tx.tx, indexes); err != nil {
		return err
	}
	if err := d.settle(tx, head, last); err != nil {
		return err
	}
	tables, _, err := d.shape()
	d.rows = newRows(tables, d.every)
	d.stand(head)
	return err
}

func (d *DB) loadChunk(tx *Tx, chunk []es.Recorded) error {
	for i := range chunk {
		if !d.wants(chunk[i].Type) {
			continue
		}
		if err := d.hear(tx, &chunk[i]); err != nil {
			return err
		}
		if d.rows.dirty >= dirtyRows {
			if err := tx.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func createAll(tx *sql.Tx, indexes map[string]string) error {
	for _, text := range indexes {
		if _, err := tx.Exec(text); err != nil {
			return err
		}
	}
	return nil
}
