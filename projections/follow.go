package projections

import (
	"context"
	"errors"
	"fmt"

	"github.com/emet-node/emet/domain/es"
)

// batchSize is how many events one transaction takes at most. A view that has
// caught up commits at once.
const batchSize = 512

// foldSize is batchSize where nobody reads before the end.
const foldSize = 8192

// quiet is after how many facts that no view wants the position is written.
const quiet = 4096

// Run follows the log until ctx ends. An error means that the views stopped:
// a fact could not be applied or the disk failed.
func (d *DB) Run(ctx context.Context) error {
	d.failed.Store(nil)
	err := d.follow(ctx)
	if ctx.Err() != nil || errors.Is(err, es.ErrClosed) {
		return nil
	}
	err = fmt.Errorf("view %s stopped at event %d: %w", d.name, d.Position(), err)
	d.failed.Store(&err)
	d.moved.wake()
	return err
}

// follow ends with an error always, if only that of ctx.
func (d *DB) follow(ctx context.Context) error {
	for {
		if err := d.catchUp(ctx); err != nil {
			return err
		}
		d.versions.later(d.Position())
		if err := d.log.Wait(ctx, d.Position(), es.Filter{}); err != nil {
			return err
		}
	}
}

// catchUp applies everything that is in the log now.
func (d *DB) catchUp(ctx context.Context) error {
	for {
		n, err := d.step(ctx)
		if err != nil || n == 0 {
			return err
		}
	}
}

// step applies one batch and says how many events it had.
func (d *DB) step(ctx context.Context) (int, error) { return d.stepOf(ctx, batchSize) }

func (d *DB) stepOf(ctx context.Context, size int) (int, error) {
	d.apply.Lock()
	defer d.apply.Unlock()
	if d.write == nil {
		return 0, es.ErrClosed
	}
	if err := d.remember(ctx); err != nil {
		return 0, err
	}
	var heard []es.Recorded
	at, last := d.Position(), ""
	for e, err := range d.log.Store.ReadAll(ctx, at, es.Forward, es.Filter{}, size) {
		if err != nil {
			return 0, err
		}
		at, last = e.Position+1, e.ID.String()
		if !d.wants(e.Type) {
			continue
		}
		r, err := d.decode(ctx, e)
		if err != nil {
			return 0, err
		}
		heard = append(heard, r)
	}
	n := int(at - d.Position()) //nolint:gosec // at most batchSize
	if n == 0 {
		return 0, nil
	}
	if len(heard) > 0 || at-d.committed >= quiet {
		if err := d.commit(heard, at, last); err != nil {
			d.forgot = true
			return 0, err
		}
		d.committed = at
	}
	for _, f := range d.after {
		f(heard)
	}
	d.position.Store(uint64(at))
	d.moved.wake()
	return n, nil
}

// remember makes what views remember, unless it is there or nothing new is in
// the log.
func (d *DB) remember(ctx context.Context) error {
	if !d.forgot {
		return nil
	}
	if head, err := d.log.Store.Head(ctx); err != nil || head <= d.Position() {
		return err
	}
	d.wire()
	return d.recall(ctx)
}

// wants says whether a view hears a type.
func (d *DB) wants(typ string) bool { return len(d.all) > 0 || len(d.hearers(typ)) > 0 }

// decode reads what the views want of an event: its content only if one of
// them asks for the type, or it may be an intent.
func (d *DB) decode(ctx context.Context, e es.Event) (es.Recorded, error) {
	return decode(ctx, d.log, e, len(d.hearers(e.Type)) > 0, d.dull)
}

func decode(ctx context.Context, log *es.Log, e es.Event, asked bool, dull map[string]bool) (es.Recorded, error) {
	if !asked && dull[e.Type] {
		return log.Glance(e)
	}
	r, err := log.Decode(ctx, e)
	if _, intent := r.Data.(es.Intent); err == nil && !intent && r.Data != nil {
		if _, erased := r.Data.(es.Erased); !erased {
			dull[e.Type] = true
		}
	}
	return r, err
}

// commit writes the rows and the position in one transaction.
func (d *DB) commit(heard []es.Recorded, at es.Position, last string) error {
	tx, err := d.stmts.begin(d.rows)
	if err != nil {
		return err
	}
	defer tx.rollback()
	if err := d.hearAll(tx, heard); err != nil {
		return err
	}
	return d.settle(tx, at, last)
}

// settle ends a transaction.
func (d *DB) settle(tx *Tx, at es.Position, last string) error {
	if err := tx.exec(`UPDATE emet_view SET position = ?, last = ?`, int64(at), last); err != nil { //nolint:gosec // far below 2^63
		return err
	}
	return tx.commit()
}

func (d *DB) hearAll(tx *Tx, heard []es.Recorded) error {
	for i := range heard {
		if err := d.hear(tx, &heard[i]); err != nil {
			return err
		}
	}
	return nil
}

func (d *DB) hear(tx *Tx, r *es.Recorded) error {
	tx.rows.now = r.Position
	for _, views := range [][]View{d.all, d.hearers(r.Type)} {
		for _, v := range views {
			if err := v.Apply(tx, *r); err != nil {
				return fmt.Errorf("%s: event %d (%s of %s): %w", v.Name(), r.Position, r.Type, r.Stream, err)
			}
		}
	}
	return nil
}

// Fresh waits until the views have seen everything that is in the log now.
// After ten seconds it gives up with [ErrStale].
func (d *DB) Fresh(ctx context.Context) error {
	if d.frozen {
		return d.born.ready(ctx)
	}
	head, err := d.log.Store.Head(ctx)
	if err != nil {
		return err
	}
	return d.WaitFor(ctx, head)
}

// WaitFor waits until the views have seen the first pos events of the log,
// for ten seconds at most.
func (d *DB) WaitFor(ctx context.Context, pos es.Position) error {
	if d.Position() >= pos {
		return nil
	}
	limited, cancel := context.WithTimeoutCause(ctx, freshness, ErrStale)
	defer cancel()
	err := d.Await(limited, pos)
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(limited), ErrStale) {
		return fmt.Errorf("view %s is at event %d, the question needs %d: %w", d.name, d.Position(), pos, ErrStale)
	}
	return err
}

// Await waits until the views have seen the first pos events, as long as ctx
// lasts. Long polls use it to look again when something happened.
func (d *DB) Await(ctx context.Context, pos es.Position) error {
	for {
		next := d.moved.next()
		if d.Position() >= pos {
			return nil
		}
		if err := d.failed.Load(); err != nil {
			return *err
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// CatchUp applies everything that is in the log now. It is for those who do
// not Run.
func (d *DB) CatchUp(ctx context.Context) error { return d.catchUp(ctx) }
