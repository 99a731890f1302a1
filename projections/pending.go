package projections

import (
	"context"
	"strings"
	"time"

	"github.com/emet-node/emet/domain/es"
)

// pending answers "what was asked of the world and is not answered yet?". It
// knows no fact by name: an intent says that it is one, and an answer is keyed
// by its intent.
type pending struct{}

func (pending) Name() string { return "pending/1" }

func (pending) Schema() string {
	return `CREATE TABLE pending (
		id TEXT PRIMARY KEY, position INTEGER NOT NULL, stream TEXT NOT NULL, type TEXT NOT NULL,
		correlation TEXT NOT NULL, identity TEXT NOT NULL, recorded INTEGER NOT NULL);
	CREATE INDEX pending_by_position ON pending (position)`
}

func (pending) Hears() []string { return nil }

func (pending) Apply(tx *Tx, r es.Recorded) error {
	if id, ok := strings.CutSuffix(r.Info.Key, "/final"); ok {
		if err := tx.remove("pending", id); err != nil {
			return err
		}
	}
	intent, ok := r.Data.(es.Intent)
	if !ok || !intent.IsIntent() {
		return nil
	}
	return tx.insert("pending", r.ID.String(), r.Position, r.Stream, r.Type, r.Info.Correlation, r.Info.Identity, r.Recorded)
}

// PendingRow is an intent without an outcome.
type PendingRow struct {
	ID          string // event id
	Position    es.Position
	Stream      es.Stream
	Type        string
	Correlation string
	Identity    string
	Recorded    time.Time
}

// Pending lists open intents in the order in which they were recorded.
func (n *Node) Pending(ctx context.Context) ([]PendingRow, error) {
	return query(ctx, n.DB, func(s scanner) (r PendingRow, err error) {
		return r, s.Scan(&r.ID, &r.Position, &r.Stream, &r.Type, &r.Correlation, &r.Identity, moment{&r.Recorded})
	}, `SELECT id, position, stream, type, correlation, identity, recorded FROM pending ORDER BY position`)
}

// OpenIntents lists the positions of open intents, as the effect runner wants
// them. It has seen the whole log as of the call.
func (n *Node) OpenIntents(ctx context.Context) ([]es.Position, error) {
	return query(ctx, n.DB, func(s scanner) (p es.Position, err error) { return p, s.Scan(&p) },
		`SELECT position FROM pending ORDER BY position`)
}
