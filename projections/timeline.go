package projections

import (
	"context"
	"time"

	"github.com/emet-node/emet/domain/es"
)

// timeline answers "what belongs to this story?".
type timeline struct{}

func (timeline) Name() string { return "timeline/1" }

func (timeline) Schema() string {
	return `CREATE TABLE timeline (
		correlation TEXT NOT NULL, position INTEGER NOT NULL, stream TEXT NOT NULL, type TEXT NOT NULL, recorded INTEGER NOT NULL,
		PRIMARY KEY (correlation, position)) WITHOUT ROWID`
}

func (timeline) Hears() []string { return nil }

func (timeline) Apply(tx *Tx, r es.Recorded) error {
	if r.Info.Correlation == "" {
		return nil
	}
	return tx.insert("timeline", r.Info.Correlation, r.Position, r.Stream, r.Type, r.Recorded)
}

// TimelineRow is a fact of a story.
type TimelineRow struct {
	Position es.Position
	Stream   es.Stream
	Type     string
	Recorded time.Time
}

// Timeline lists the facts of a story (an agreement, mostly) after a position.
func (n *Node) Timeline(ctx context.Context, correlation string, from es.Position, max int) ([]TimelineRow, error) {
	return query(ctx, n.DB, func(s scanner) (r TimelineRow, err error) {
		return r, s.Scan(&r.Position, &r.Stream, &r.Type, moment{&r.Recorded})
	}, `SELECT position, stream, type, recorded FROM timeline WHERE correlation = ? AND position >= ? ORDER BY position LIMIT ?`,
		correlation, int64(from), limit(max)) //nolint:gosec // far below 2^63
}

// Positions lists where the facts of a story are, ascending.
func (n *Node) Positions(ctx context.Context, correlation string) ([]es.Position, error) {
	return query(ctx, n.DB, func(s scanner) (p es.Position, err error) { return p, s.Scan(&p) },
		`SELECT position FROM timeline WHERE correlation = ? ORDER BY position`, correlation)
}
