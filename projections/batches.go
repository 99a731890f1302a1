package projections

import (
	"context"
	"time"

	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
)

// batches answers "which scripts ran, and which still do?". What they said is
// in their streams.
type batches struct{}

func (batches) Name() string { return "batches/1" }

func (batches) Schema() string {
	return `CREATE TABLE batches (
		side TEXT NOT NULL, activity_id TEXT NOT NULL, id TEXT NOT NULL, agreement_id TEXT NOT NULL, owner TEXT NOT NULL,
		commands INTEGER NOT NULL, finished INTEGER NOT NULL, state TEXT NOT NULL, recorded INTEGER NOT NULL, ended INTEGER NOT NULL,
		PRIMARY KEY (side, activity_id, id)) WITHOUT ROWID;
	CREATE INDEX batches_by_state ON batches (state)`
}

func (batches) Hears() []string {
	return []string{"batch.exec_requested.v2", "batch.accepted.v1", "batch.refused.v1", "batch.command_finished.v1", "batch.closed.v1"}
}

func (v batches) Apply(tx *Tx, r es.Recorded) error {
	side, _ := sideOf(r.Stream)
	switch e := r.Data.(type) {
	case batch.ExecRequested:
		return v.put(tx, r, identity.Requestor, e.ActivityID, e.BatchID, e.AgreementID, e.Requestor, e.Commands, "requested")
	case batch.Accepted:
		owner := e.Requestor
		if e.Side == identity.Provider {
			owner = e.Provider
		}
		return v.put(tx, r, e.Side, e.ActivityID, e.BatchID, e.AgreementID, owner, e.Commands, "running")
	case batch.Refused:
		return v.end(tx, r, side, e.ActivityID, e.BatchID, "refused")
	case batch.CommandFinished:
		return tx.update("batches", func(b *row) { b.set("finished", e.Index+1) }, side, e.ActivityID, e.BatchID)
	case batch.Closed:
		return v.end(tx, r, side, e.ActivityID, e.BatchID, string(e.Outcome))
	}
	return nil
}

func (batches) put(tx *Tx, r es.Recorded, side identity.Side, act, id, deal string, owner identity.NodeID, commands int64, state string) error {
	return tx.merge("batches", []string{"state"}, side, act, id, deal, owner, commands, 0, state, r.Recorded, 0)
}

func (batches) end(tx *Tx, r es.Recorded, side identity.Side, act, id, state string) error {
	return tx.update("batches", func(b *row) {
		if b.int("ended") == 0 {
			b.set("state", state)
			b.set("ended", r.Recorded)
		}
	}, side, act, id)
}

// BatchRow is one side's view of a batch.
type BatchRow struct {
	Side        identity.Side
	ActivityID  string
	ID          string
	AgreementID string
	Owner       identity.NodeID
	Commands    int64
	Finished    int64
	State       string // "requested", "running", "refused", "done", "failed", "aborted"
	Recorded    time.Time
	Ended       time.Time
}

// BatchFilter narrows a list. Zero fields narrow nothing.
type BatchFilter struct {
	Owner      identity.NodeID
	Side       identity.Side
	ActivityID string
	Open       bool
}

// Batches lists batches, oldest first.
func (a *Activity) Batches(ctx context.Context, f BatchFilter) ([]BatchRow, error) {
	var c conditions
	c.add(f.Owner != "", "owner = ?", f.Owner)
	c.add(f.Side != "", "side = ?", f.Side)
	c.add(f.ActivityID != "", "activity_id = ?", f.ActivityID)
	c.add(f.Open, "state IN ('requested', 'running')")
	return query(ctx, a.DB, func(s scanner) (r BatchRow, err error) {
		return r, s.Scan(&r.Side, &r.ActivityID, &r.ID, &r.AgreementID, &r.Owner, &r.Commands, &r.Finished, &r.State,
			moment{&r.Recorded}, moment{&r.Ended})
	}, `SELECT side, activity_id, id, agreement_id, owner, commands, finished, state, recorded, ended FROM batches`+c.text+` ORDER BY recorded, side`, c.args...)
}
