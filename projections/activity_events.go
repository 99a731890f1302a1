package projections

import (
	"context"
	"time"

	life "github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
)

// activityEvents answers "what should a provider's agent do since …?".
type activityEvents struct{}

func (activityEvents) Name() string { return "activity_events/1" }

func (activityEvents) Schema() string {
	return `CREATE TABLE activity_events (
		recorded INTEGER PRIMARY KEY, owner TEXT NOT NULL, agreement_id TEXT NOT NULL, activity_id TEXT NOT NULL,
		type TEXT NOT NULL, requestor_pub_key TEXT NOT NULL);
	CREATE TABLE activity_owners (activity_id TEXT PRIMARY KEY, owner TEXT NOT NULL, agreement_id TEXT NOT NULL) WITHOUT ROWID;
	CREATE TABLE activity_sessions (agreement_id TEXT PRIMARY KEY, session TEXT NOT NULL) WITHOUT ROWID`
}

func (activityEvents) Hears() []string {
	return []string{"activity.created.v1", "activity.destruction_requested.v1", "agreement.approval_requested.v1"}
}

func (activityEvents) Apply(tx *Tx, r es.Recorded) error {
	switch e := r.Data.(type) {
	case agreement.ApprovalRequested:
		return tx.put("activity_sessions", e.AgreementID, e.Session)
	case life.Created:
		if e.Side != identity.Provider {
			return nil
		}
		if err := tx.insert("activity_owners", e.ActivityID, e.Provider, e.AgreementID); err != nil {
			return err
		}
		return tx.insert("activity_events", r.Recorded, e.Provider, e.AgreementID, e.ActivityID, "CreateActivity", e.RequestorPubKey)
	case life.DestructionRequested:
		if side, _ := sideOf(r.Stream); side != identity.Provider {
			return nil
		}
		o, err := tx.get("activity_owners", e.ActivityID)
		if err != nil || o == nil {
			return err
		}
		return tx.insert("activity_events", r.Recorded, o.text("owner"), o.text("agreement_id"), e.ActivityID, "DestroyActivity", "")
	}
	return nil
}

// ActivityEventRow is one event for a provider's agent. Time is its cursor.
type ActivityEventRow struct {
	Time            time.Time
	ActivityID      string
	AgreementID     string
	Type            string // "CreateActivity", "DestroyActivity"
	RequestorPubKey string
}

// ActivityEvents lists the events of a provider after a moment (exclusive).
// Session "" means any.
func (a *Activity) ActivityEvents(ctx context.Context, owner identity.NodeID, session string, after time.Time, max int) ([]ActivityEventRow, error) {
	var c conditions
	c.add(true, "e.owner = ? AND e.recorded > ?", owner, after)
	c.add(session != "", "s.session = ?", session)
	return query(ctx, a.DB, func(s scanner) (r ActivityEventRow, err error) {
		return r, s.Scan(moment{&r.Time}, &r.ActivityID, &r.AgreementID, &r.Type, &r.RequestorPubKey)
	}, `SELECT e.recorded, e.activity_id, e.agreement_id, e.type, e.requestor_pub_key FROM activity_events e
		LEFT JOIN activity_sessions s ON s.agreement_id = e.agreement_id`+c.text+` ORDER BY e.recorded LIMIT ?`,
		append(c.args, limit(max))...)
}
