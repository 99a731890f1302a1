package projections

import (
	"context"
	"database/sql"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/demand"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/cycle"
)

// deadlines answers "what happens next by itself?".
type deadlines struct{}

func (deadlines) Name() string { return "deadlines/1" }

func (deadlines) Schema() string {
	return `CREATE TABLE deadlines (stream TEXT NOT NULL, what TEXT NOT NULL, due INTEGER NOT NULL, PRIMARY KEY (stream, what)) WITHOUT ROWID;
	CREATE INDEX deadlines_by_time ON deadlines (due)`
}

func (deadlines) Hears() []string {
	return []string{
		"demand.published.v1", "demand.withdrawn.v1", "demand.expired.v1",
		"offer.published.v1", "offer.withdrawn.v1", "offer.expired.v1",
		"agreement.created.v1", "agreement.received.v1", "agreement.approval_requested.v1", "agreement.approval_failed.v1",
		"agreement.approved.v1", "agreement.rejected.v1", "agreement.cancelled.v1", "agreement.terminated.v1", "agreement.expired.v1",
		"allocation.created.v1", "allocation.amended.v1", "allocation.released.v1", "allocation.expired.v1",
		"cycle.configured.v1", "cycle.run_requested.v1",
	}
}

func (v deadlines) Apply(tx *sql.Tx, r es.Recorded) error {
	switch e := r.Data.(type) {
	case demand.Published:
		return v.set(tx, r, "expiry", e.Expires)
	case offer.Published:
		return v.set(tx, r, "expiry", e.Expires)
	case agreement.Created:
		return v.set(tx, r, "approval", e.Terms.ValidTo)
	case agreement.Received:
		return v.set(tx, r, "approval", e.Terms.ValidTo)
	case agreement.ApprovalRequested:
		return v.set(tx, r, "commit", e.Deadline)
	case agreement.ApprovalFailed:
		return v.clear(tx, r, "commit")
	case allocation.Created:
		return v.set(tx, r, "release", e.Timeout)
	case allocation.Amended:
		return v.set(tx, r, "release", e.Timeout)
	case cycle.Configured:
		return v.set(tx, r, "settlement", e.NextAt)
	case cycle.RunRequested:
		return v.set(tx, r, "settlement", e.NextAt)
	case nil, es.Erased:
		return nil
	}
	return exec(tx, `DELETE FROM deadlines WHERE stream = ?`, string(r.Stream)) // all others end what they are about
}

func (deadlines) set(tx *sql.Tx, r es.Recorded, what string, due time.Time) error {
	if due.IsZero() {
		return nil
	}
	return exec(tx, `INSERT INTO deadlines VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET due = excluded.due`, string(r.Stream), what, due)
}

func (deadlines) clear(tx *sql.Tx, r es.Recorded, what string) error {
	return exec(tx, `DELETE FROM deadlines WHERE stream = ? AND what = ?`, string(r.Stream), what)
}

// DeadlineRow is something that is due.
type DeadlineRow struct {
	Stream es.Stream
	What   string // "expiry", "approval", "commit", "release", "settlement"
	Due    time.Time
}

// Deadlines lists what is due before a moment (zero = ever), earliest first.
func (n *Node) Deadlines(ctx context.Context, before time.Time, max int) ([]DeadlineRow, error) {
	var c conditions
	c.add(!before.IsZero(), "due < ?", before)
	return query(ctx, n.DB, func(s scanner) (r DeadlineRow, err error) {
		return r, s.Scan(&r.Stream, &r.What, moment{&r.Due})
	}, `SELECT stream, what, due FROM deadlines`+c.text+` ORDER BY due, stream LIMIT ?`, append(c.args, limit(max))...)
}
