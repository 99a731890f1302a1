package projections

import (
	"context"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
)

// agreementEvents answers "what happened to my agreements since …?". Expiry
// is a fact, but no event that clients know.
type agreementEvents struct{}

func (agreementEvents) Name() string { return "agreement_events/1" }

func (agreementEvents) Schema() string {
	return `CREATE TABLE agreement_events (
		recorded INTEGER PRIMARY KEY, side TEXT NOT NULL, agreement_id TEXT NOT NULL, type TEXT NOT NULL,
		terminator TEXT NOT NULL, reason TEXT NOT NULL, signature TEXT NOT NULL);
	CREATE INDEX agreement_events_by_agreement ON agreement_events (agreement_id, side)`
}

func (agreementEvents) Hears() []string {
	return []string{"agreement.approved.v1", "agreement.rejected.v1", "agreement.cancelled.v1", "agreement.terminated.v1"}
}

func (agreementEvents) Apply(tx *Tx, r es.Recorded) error {
	const events = "agreement_events"
	switch e := r.Data.(type) {
	case agreement.Approved:
		return tx.insert(events, r.Recorded, e.Side, e.AgreementID, "AgreementApprovedEvent", "", "", "")
	case agreement.Rejected:
		return tx.insert(events, r.Recorded, e.Side, e.AgreementID, "AgreementRejectedEvent", e.By, e.Reason, "")
	case agreement.Cancelled:
		return tx.insert(events, r.Recorded, e.Side, e.AgreementID, "AgreementCancelledEvent", e.By, e.Reason, "")
	case agreement.Terminated:
		return tx.insert(events, r.Recorded, e.Side, e.AgreementID, "AgreementTerminatedEvent", e.By, e.Reason, e.Signature)
	}
	return nil
}

// AgreementEventRow is one REST event. Time is its cursor: whole
// microseconds, no two events share one.
type AgreementEventRow struct {
	Time        time.Time
	AgreementID string
	Side        identity.Side // of the owner
	Type        string        // "AgreementApprovedEvent", …
	Terminator  identity.Side // who ended it
	Reason      string        // JSON object, "" for approvals
	Signature   string
}

// AgreementEventFilter says whose events, after which. Session "" means any.
type AgreementEventFilter struct {
	Owner   identity.NodeID
	Side    identity.Side // "" = both
	Session string
	After   time.Time // exclusive
	Limit   int       // 0 = all
	// AgreementID "" means any.
	AgreementID string
}

// AgreementEvents lists events in the order in which they were recorded.
func (m *Market) AgreementEvents(ctx context.Context, f AgreementEventFilter) ([]AgreementEventRow, error) {
	var c conditions
	c.add(true, "a.owner = ? AND e.recorded > ?", f.Owner, f.After)
	c.add(f.Side != "", "e.side = ?", f.Side)
	c.add(f.Session != "", "a.session = ?", f.Session)
	c.add(f.AgreementID != "", "e.agreement_id = ?", f.AgreementID)
	return query(ctx, m.DB, func(s scanner) (r AgreementEventRow, err error) {
		return r, s.Scan(moment{&r.Time}, &r.AgreementID, &r.Side, &r.Type, &r.Terminator, &r.Reason, &r.Signature)
	}, `SELECT e.recorded, e.agreement_id, e.side, e.type, e.terminator, e.reason, e.signature
		FROM agreement_events e JOIN agreements a ON a.side = e.side AND a.id = e.agreement_id`+c.text+
		` ORDER BY e.recorded LIMIT ?`, append(c.args, limit(f.Limit))...)
}

// limit is a number that SQLite takes for "all" when n is 0.
func limit(n int) int {
	if n <= 0 {
		return -1
	}
	return n
}
