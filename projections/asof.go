package projections

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/emet-node/emet/domain/es"
)

// birth makes the tables of a group of the past when they are first asked for.
type birth struct {
	mu   sync.Mutex
	make func(context.Context) error // nil = they are there
}

func (b *birth) ready(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.make == nil {
		return nil
	}
	if err := b.make(ctx); err != nil {
		return err
	}
	b.make = nil
	return nil
}

// asOf is the group as it was when the log had n events. Nothing is read
// before the first question.
func (d *DB) asOf(n es.Position) *DB { return d.asOfWithin(n, maxFoldTime, maxFoldSize) }

func (d *DB) asOfWithin(n es.Position, within time.Duration, size int64) *DB {
	past := &DB{name: d.name + "@" + fmt.Sprint(n), path: Memory, views: d.views, frozen: true}
	past.log = &es.Log{Store: es.AsOf(d.log.Store, n), Codec: d.log.Codec, Sealer: d.log.Sealer}
	past.born.make = func(ctx context.Context) error {
		if err := past.bounded(ctx, d, n, within, size); err != nil {
			past.close() //nolint:errcheck // the first error counts
			return fmt.Errorf("view %s as of %d: %w", d.name, n, err)
		}
		return nil
	}
	return past
}

// become shows the versions that were the last ones when the log had n events.
// Where none are kept it folds the log into memory.
func (d *DB) become(ctx context.Context, now *DB, n es.Position, size int64) error {
	if err := d.close(); err != nil {
		return err
	}
	if now.versions != nil {
		err := d.show(ctx, now.versions, n)
		if err == nil || !errors.Is(err, ErrStale) {
			return err
		}
	}
	d.wire()
	if err := d.openScratch(Memory); err != nil {
		return err
	}
	if err := d.confine(ctx, size); err != nil {
		return err
	}
	return load(ctx, d.log, d)
}

// show opens the versions of a group, as they were when the log had n events.
func (d *DB) show(ctx context.Context, v *versions, n es.Position) error {
	if err := v.reach(ctx, n); err != nil {
		return err
	}
	db, err := openReading(v.path)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1) // the one that has the views
	db.SetConnMaxIdleTime(0)
	tables, _, err := d.shape()
	for _, t := range tables {
		if err == nil {
			_, err = db.ExecContext(ctx, t.pastView(n))
		}
	}
	if err != nil {
		db.Close() //nolint:errcheck // the first error counts
		return err
	}
	d.every = true
	d.take(db, db)
	d.stand(n)
	return nil
}

// AsOf is the group as it was when the log had n events: it answers the same
// questions and never changes. Close it after use. It fails with [ErrFolds]
// when it takes too long or, where no versions are kept, too much.
func (d *DB) AsOf(ctx context.Context, n es.Position) (*DB, error) {
	past := d.asOf(n)
	return past, past.Fresh(ctx)
}

// Past is all groups as they were when the log had some number of events. Each
// is made when it is first asked.
type Past struct {
	Market   *Market
	Activity *Activity
	Payment  *Payment
	Node     *Node
}

// PastOf is the past of four groups.
func PastOf(m *Market, a *Activity, p *Payment, n *Node, count es.Position) *Past {
	return &Past{
		Market: &Market{DB: m.DB.asOf(count)}, Activity: &Activity{DB: a.DB.asOf(count)}, Payment: &Payment{DB: p.DB.asOf(count)},
		Node: &Node{DB: n.DB.asOf(count)},
	}
}

// Close frees what was made.
func (p *Past) Close() error {
	var first error
	for _, d := range []*DB{p.Market.DB, p.Activity.DB, p.Payment.DB, p.Node.DB} {
		if err := d.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// PositionsUntil is [Node.Positions] of what was there when the log had count events.
func (n *Node) PositionsUntil(ctx context.Context, correlation string, count es.Position) ([]es.Position, error) {
	return query(ctx, n.DB, func(s scanner) (p es.Position, err error) { return p, s.Scan(&p) },
		`SELECT position FROM timeline WHERE correlation = ? AND position < ? ORDER BY position`, correlation, int64(count)) //nolint:gosec // far below 2^63
}
