package bus

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/emet-node/emet/domain/es"
)

// Trying returns what a webhook is tried with; the zero one when that is nothing.
func (s *State) Trying(ctx context.Context, id string) (t Trying, err error) {
	var position int64
	var since, next string
	err = s.db.QueryRowContext(ctx, `SELECT position, attempts, refused, since, next FROM trying WHERE hook = ?`, id).
		Scan(&position, &t.Attempts, &t.Refused, &since, &next)
	if errors.Is(err, sql.ErrNoRows) {
		return Trying{}, nil
	}
	if err != nil {
		return t, fmt.Errorf("state of webhook %s: %w", id, err)
	}
	t.Position, t.Since, t.Next = es.Position(position), parseTime(since), parseTime(next)
	return t, nil
}

// Try keeps what a webhook is tried with.
func (s *State) Try(ctx context.Context, id string, t Trying) error {
	return s.put(ctx, id, `INSERT OR REPLACE INTO trying VALUES (?1, ?2, ?3, ?4, ?5, ?6)`,
		int64(t.Position), t.Attempts, t.Refused, formatTime(t.Since), formatTime(t.Next))
}

// Hurry ends the pause before the next attempt.
func (s *State) Hurry(ctx context.Context, id string) error {
	return s.put(ctx, id, `UPDATE trying SET next = since WHERE hook = ?1`)
}

// Adopt says which log the positions are of from now on, and how many facts it
// shares with another one, if it knows that (see ledger.Lineage). Webhooks that were told
// more go on where the two part. When the other log is not known they begin anew,
// for nobody knows what they were told. It returns how many were moved.
func (s *State) Adopt(ctx context.Context, id string, shared func(id string) (es.Position, bool), head es.Position) (moved int64, err error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	var old string
	if err := tx.QueryRowContext(ctx, `SELECT id FROM log`).Scan(&old); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("state of webhooks: %w", err)
	}
	if old == id {
		return 0, nil
	}
	limit, next := int64(head), int64(head) // nobody was told what is not there
	if old != "" {
		if facts, known := shared(old); known {
			limit = int64(min(head, facts))
			next = limit
		} else {
			limit, next = 0, -1 // the beginning of each
		}
	}
	for _, q := range []string{`DELETE FROM aside WHERE position >= ?1`, `DELETE FROM trying WHERE position >= ?1`, `UPDATE hook SET next = ?2 WHERE next > ?1`} {
		r, err := tx.ExecContext(ctx, q, limit, next)
		if err != nil {
			return 0, fmt.Errorf("state of webhooks: %w", err)
		}
		if moved, err = r.RowsAffected(); err != nil {
			return 0, err
		}
	}
	if _, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO log VALUES (1, ?)`, id); err != nil {
		return 0, fmt.Errorf("state of webhooks: %w", err)
	}
	return moved, tx.Commit()
}
