package projections

import (
	"context"
	"encoding/json"
	"time"

	life "github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/usage"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
)

// activities answers "which activities are there, how are they, and what have
// they used?".
type activities struct{}

func (activities) Name() string { return "activities/2" }

func (activities) Schema() string {
	return `CREATE TABLE activities (
		side TEXT NOT NULL, id TEXT NOT NULL, alias TEXT NOT NULL, agreement_id TEXT NOT NULL, owner TEXT NOT NULL, peer TEXT NOT NULL,
		state TEXT NOT NULL, pending TEXT NOT NULL, before TEXT NOT NULL, reason TEXT NOT NULL, error TEXT NOT NULL, runtime TEXT NOT NULL,
		usage TEXT NOT NULL, usage_names TEXT NOT NULL, usage_at INTEGER NOT NULL, recorded INTEGER NOT NULL, ended INTEGER NOT NULL,
		PRIMARY KEY (side, id)) WITHOUT ROWID;
	CREATE INDEX activities_by_agreement ON activities (agreement_id, side);
	CREATE INDEX activities_by_owner ON activities (owner, state)`
}

func (activities) Hears() []string {
	return []string{
		"activity.created.v1", "activity.state_observed.v1", "activity.state_changed.v1", "activity.spawn_requested.v1",
		"activity.unresponsive.v1", "activity.recovered.v1", "activity.terminated.v1", "usage.sampled.v1", "usage.finalised.v1",
	}
}

func (v activities) Apply(tx *Tx, r es.Recorded) error {
	side, id := sideOf(r.Stream)
	switch e := r.Data.(type) {
	case life.Created:
		return v.begin(tx, r, e)
	case life.StateObserved:
		return v.state(tx, side, id, e.State, e.Pending, e.Reason, e.ErrorMessage)
	case life.StateChanged:
		return v.state(tx, side, id, e.State, e.Pending, e.Reason, e.ErrorMessage)
	case life.SpawnRequested:
		return tx.update("activities", func(a *row) { a.set("runtime", e.Runtime) }, side, id)
	case life.Unresponsive:
		return tx.update("activities", func(a *row) {
			a.set("before", a.text("state"))
			a.set("state", "Unresponsive")
		}, side, id)
	case life.Recovered:
		return tx.update("activities", func(a *row) {
			if before := a.text("before"); before != "" {
				a.set("state", before)
				a.set("before", "")
			}
		}, side, id)
	case life.Terminated:
		return tx.update("activities", func(a *row) {
			a.set("state", "Terminated")
			a.set("pending", "")
			a.set("reason", e.Reason)
			a.set("error", e.ErrorMessage)
			a.set("ended", r.Recorded)
		}, side, id)
	case usage.Sampled:
		return v.used(tx, side, id, e.Vector, e.Names, e.At)
	case usage.Finalised:
		return v.used(tx, side, id, e.Vector, e.Names, e.At)
	}
	return nil
}

func (activities) begin(tx *Tx, r es.Recorded, e life.Created) error {
	owner, other, state := e.Requestor, e.Provider, life.Initialized
	if e.Side == identity.Provider {
		owner, other, state = other, owner, life.New
	}
	return tx.insert("activities", e.Side, e.ActivityID, e.Alias, e.AgreementID, owner, other, state, "", "", "", "", "", "", "[]", 0, r.Recorded, 0)
}

func (activities) state(tx *Tx, side identity.Side, id string, state, next life.Phase, reason, message string) error {
	return tx.update("activities", func(a *row) {
		a.set("state", state)
		a.set("before", "")
		a.set("pending", next)
		a.set("reason", reason)
		a.set("error", message)
	}, side, id)
}

func (activities) used(tx *Tx, side identity.Side, id, vector string, names []string, at time.Time) error {
	list, err := json.Marshal(names)
	if err != nil {
		return err
	}
	return tx.update("activities", func(a *row) {
		a.set("usage", vector)
		a.set("usage_names", string(list))
		a.set("usage_at", at)
	}, side, id)
}

// sideOf splits the id of a stream "<category>-<R|P>-<id>".
func sideOf(s es.Stream) (identity.Side, string) {
	key := s.Key()
	if len(key) < 2 {
		return "", key
	}
	return identity.Side(key[:1]), key[2:]
}

// ActivityRow is one side's view of an activity.
type ActivityRow struct {
	ID          string
	Alias       string // the provider's id for it, when that is another one
	Side        identity.Side
	AgreementID string
	Owner       identity.NodeID
	Peer        identity.NodeID
	State       life.Phase
	Pending     life.Phase // "" = none
	Reason      string
	Error       string
	Runtime     string // at the provider
	Usage       string // JSON array, "" before the first sample
	UsageNames  []string
	UsageAt     time.Time
	Recorded    time.Time
	Ended       time.Time // zero while it lives
}

// ActivityFilter narrows a list. Zero fields narrow nothing.
type ActivityFilter struct {
	Owner       identity.NodeID
	Side        identity.Side
	AgreementID string
	ID          string
	Alive       bool
}

// Activities lists activities, oldest first.
func (a *Activity) Activities(ctx context.Context, f ActivityFilter) ([]ActivityRow, error) {
	var c conditions
	c.add(f.Owner != "", "owner = ?", f.Owner)
	c.add(f.Side != "", "side = ?", f.Side)
	c.add(f.AgreementID != "", "agreement_id = ?", f.AgreementID)
	c.add(f.ID != "", "id = ?", f.ID)
	c.add(f.Alive, "ended = 0")
	return query(ctx, a.DB, scanActivity, `SELECT id, alias, side, agreement_id, owner, peer, state, pending, reason, error, runtime,
		usage, usage_names, usage_at, recorded, ended FROM activities`+c.text+` ORDER BY recorded, side`, c.args...)
}

func scanActivity(s scanner) (r ActivityRow, err error) {
	var names string
	err = s.Scan(&r.ID, &r.Alias, &r.Side, &r.AgreementID, &r.Owner, &r.Peer, &r.State, &r.Pending, &r.Reason, &r.Error, &r.Runtime,
		&r.Usage, &names, moment{&r.UsageAt}, moment{&r.Recorded}, moment{&r.Ended})
	if err == nil {
		err = json.Unmarshal([]byte(names), &r.UsageNames)
	}
	return r, err
}
