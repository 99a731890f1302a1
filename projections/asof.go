package projections

import (
	"context"
	"encoding/json"
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

// become begins with the newest copy that is old enough, or with nothing, and
// folds the rest.
func (d *DB) become(ctx context.Context, now *DB, n es.Position, size int64) error {
	if err := d.close(); err != nil {
		return err
	}
	all := now.copies.list(now.name)
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].at > n {
			continue
		}
		if d.restore(ctx, all[i]) == nil {
			return d.confined(ctx, size)
		}
		if err := d.close(); err != nil {
			return err
		}
	}
	d.wire()
	d.position.Store(0)
	if err := d.open(Memory); err != nil {
		return err
	}
	return d.confined(ctx, size)
}

// confined is fold within so many bytes.
func (d *DB) confined(ctx context.Context, size int64) error {
	if err := d.confine(ctx, size); err != nil {
		return err
	}
	return d.fold(ctx)
}

// fold is catchUp in big steps: nobody waits for what is in between.
func (d *DB) fold(ctx context.Context) error {
	for {
		n, err := d.stepOf(ctx, foldSize)
		if err != nil || n == 0 {
			return err
		}
	}
}

// restore loads a copy. It fails when the copy is of another version or log.
func (d *DB) restore(ctx context.Context, k kept) error {
	write, read, err := connect(Memory)
	if err != nil {
		return err
	}
	d.take(write, read)
	conn, err := write.Conn(ctx)
	if err != nil {
		return err
	}
	err = conn.Raw(func(c any) error { return transfer(c.(copier).NewRestore("file:" + k.path + "?mode=ro")) }) //nolint:forcetypeassert // the only driver there is
	if closeErr := conn.Close(); err != nil || closeErr != nil {
		return fmt.Errorf("%s: %w", k.path, err)
	}
	if !d.belongs(ctx) || d.Position() != k.at {
		return fmt.Errorf("%s is not of this log and version", k.path)
	}
	d.wire()
	return d.remember(ctx)
}

// remember gives views what they remembered when the copy was made.
func (d *DB) remember(ctx context.Context) error {
	for _, v := range d.remembering() {
		var b []byte
		err := d.write.QueryRowContext(ctx, `SELECT memory FROM emet_memory WHERE view = ?`, v.Name()).Scan(&b)
		if err == nil {
			err = json.Unmarshal(b, v.memories())
		}
		if err != nil {
			return fmt.Errorf("what %s remembered: %w", v.Name(), err)
		}
	}
	_, err := d.write.ExecContext(ctx, `DROP TABLE emet_memory`)
	return err
}

// AsOf is the group as it was when the log had n events: it answers the same
// questions and never changes. Close it after use. It fails with [ErrFolds]
// when it takes too long or too much.
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
