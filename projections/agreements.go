package projections

import (
	"context"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
)

// agreements answers "which agreements do I have, and in which state?".
type agreements struct{}

func (agreements) Name() string { return "agreements/2" }

func (agreements) Schema() string {
	return `CREATE TABLE agreements (
		side TEXT NOT NULL, id TEXT NOT NULL, owner TEXT NOT NULL, peer TEXT NOT NULL, demand_id TEXT NOT NULL, offer_id TEXT NOT NULL,
		state TEXT NOT NULL, session TEXT NOT NULL, created TEXT NOT NULL, valid_to INTEGER NOT NULL, approved INTEGER NOT NULL,
		reason TEXT NOT NULL, terminator TEXT NOT NULL, recorded INTEGER NOT NULL, ended INTEGER NOT NULL,
		PRIMARY KEY (side, id)) WITHOUT ROWID;
	CREATE INDEX agreements_by_owner ON agreements (owner, state)`
}

func (agreements) Hears() []string {
	return []string{
		"agreement.created.v1", "agreement.received.v1", "agreement.confirmation_requested.v1", "agreement.confirmed.v1",
		"agreement.confirmation_failed.v1", "agreement.approval_requested.v1", "agreement.approval_received.v1",
		"agreement.approval_failed.v1", "agreement.commit_failed.v1", "agreement.approved.v1", "agreement.rejected.v1",
		"agreement.cancelled.v1", "agreement.terminated.v1", "agreement.expired.v1",
	}
}

func (v agreements) Apply(tx *Tx, r es.Recorded) error {
	switch e := r.Data.(type) {
	case agreement.Created:
		return v.begin(tx, r, e.AgreementID, e.Side, e.Terms, "Proposal")
	case agreement.Received:
		return v.begin(tx, r, e.AgreementID, e.Side, e.Terms, "Pending")
	case agreement.ConfirmationRequested:
		return v.update(tx, e.Side, e.AgreementID, func(a *row) { a.set("session", e.Session) })
	case agreement.Confirmed:
		return v.state(tx, e.Side, e.AgreementID, "Pending", "Proposal")
	case agreement.ApprovalRequested:
		return v.update(tx, e.Side, e.AgreementID, func(a *row) {
			if a.text("state") == "Pending" {
				a.set("session", e.Session)
				a.set("approved", e.ApprovedAt)
			}
		})
	case agreement.ApprovalReceived:
		return v.update(tx, e.Side, e.AgreementID, func(a *row) {
			a.set("approved", e.ApprovedAt)
			if a.text("state") == "Proposal" { // it overtook the answer to our confirmation
				a.set("state", "Pending")
			}
		})
	case agreement.Approved:
		return v.state(tx, e.Side, e.AgreementID, "Approved", "Pending")
	case agreement.ApprovalFailed:
		return v.unapproved(tx, e.Side, e.AgreementID)
	case agreement.CommitFailed:
		return v.unapproved(tx, e.Side, e.AgreementID)
	case agreement.Rejected:
		return v.end(tx, r, e.Side, e.AgreementID, "Rejected", e.By, e.Reason)
	case agreement.Cancelled:
		return v.end(tx, r, e.Side, e.AgreementID, "Cancelled", e.By, e.Reason)
	case agreement.Terminated:
		return v.end(tx, r, e.Side, e.AgreementID, "Terminated", e.By, e.Reason)
	case agreement.Expired:
		return v.end(tx, r, e.Side, e.AgreementID, "Expired", "", "")
	}
	return nil
}

func (agreements) begin(tx *Tx, r es.Recorded, id string, side identity.Side, t agreement.Terms, state string) error {
	owner, other := t.Requestor, t.Provider
	if side == identity.Provider {
		owner, other = other, owner
	}
	return tx.insert("agreements", side, id, owner, other, t.DemandID, t.OfferID, state, "", stamp(t.Created), t.ValidTo, 0, "", "", r.Recorded, 0)
}

func (agreements) update(tx *Tx, side identity.Side, id string, change func(a *row)) error {
	return tx.update("agreements", change, side, id)
}

func (v agreements) state(tx *Tx, side identity.Side, id, state, from string) error {
	return v.update(tx, side, id, func(a *row) {
		if a.text("state") == from {
			a.set("state", state)
		}
	})
}

func (v agreements) unapproved(tx *Tx, side identity.Side, id string) error {
	return v.update(tx, side, id, func(a *row) {
		if s := a.text("state"); s != "Approved" && s != "Terminated" {
			a.set("approved", 0)
		}
	})
}

func (v agreements) end(tx *Tx, r es.Recorded, side identity.Side, id, state string, by identity.Side, reason string) error {
	return v.update(tx, side, id, func(a *row) {
		if a.text("state") != "Approved" {
			a.set("approved", 0)
		}
		a.set("state", state)
		a.set("terminator", by)
		a.set("reason", reason)
		a.set("ended", r.Recorded)
	})
}

// AgreementRow is one side's view of an agreement. State is as REST spells it;
// an agreement that is being approved is Pending.
type AgreementRow struct {
	ID         string
	Side       identity.Side
	Owner      identity.NodeID
	Peer       identity.NodeID
	DemandID   string
	OfferID    string
	State      string
	Session    string // appSessionId of the owner
	Created    time.Time
	ValidTo    time.Time
	Approved   time.Time // zero unless it was
	Reason     string    // JSON text, when it ended
	Terminator identity.Side
	Recorded   time.Time
	Ended      time.Time
}

// AgreementFilter narrows a list. Zero fields narrow nothing, but without
// Owner the list spans all identities of the node.
type AgreementFilter struct {
	Owner         identity.NodeID
	Side          identity.Side
	State         string
	Session       string
	After, Before time.Time // exclusive, of Created
	ID            string
}

// Agreements lists agreements, oldest first.
func (m *Market) Agreements(ctx context.Context, f AgreementFilter) ([]AgreementRow, error) {
	var c conditions
	c.add(f.Owner != "", "owner = ?", f.Owner)
	c.add(f.Side != "", "side = ?", f.Side)
	c.add(f.State != "", "state = ?", f.State)
	c.add(f.Session != "", "session = ?", f.Session)
	c.add(f.ID != "", "id = ?", f.ID)
	rows, err := query(ctx, m.DB, scanAgreement, `SELECT side, id, owner, peer, demand_id, offer_id, state, session, created,
		valid_to, approved, reason, terminator, recorded, ended FROM agreements`+c.text+` ORDER BY recorded, side`, c.args...)
	if err != nil || f.After.IsZero() && f.Before.IsZero() {
		return rows, err
	}
	kept := rows[:0]
	for _, r := range rows { // created counts in nanoseconds and is kept as text
		if (f.After.IsZero() || r.Created.After(f.After)) && (f.Before.IsZero() || r.Created.Before(f.Before)) {
			kept = append(kept, r)
		}
	}
	return kept, nil
}

func scanAgreement(s scanner) (r AgreementRow, err error) {
	return r, s.Scan(&r.Side, &r.ID, &r.Owner, &r.Peer, &r.DemandID, &r.OfferID, &r.State, &r.Session, moment{&r.Created},
		moment{&r.ValidTo}, moment{&r.Approved}, &r.Reason, &r.Terminator, moment{&r.Recorded}, moment{&r.Ended})
}
