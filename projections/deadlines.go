package projections

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/demand"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/cycle"
)

// deadlines answers "what happens next by itself?".
type deadlines struct{}

func (deadlines) Name() string { return "deadlines/2" }

func (deadlines) Schema() string {
	return `CREATE TABLE deadlines (stream TEXT NOT NULL, what TEXT NOT NULL, due INTEGER NOT NULL, PRIMARY KEY (stream, what)) WITHOUT ROWID;
	CREATE INDEX deadlines_by_time ON deadlines (due);
	CREATE TABLE deadline_cycles (stream TEXT PRIMARY KEY, next INTEGER NOT NULL, interval INTEGER NOT NULL) WITHOUT ROWID;
	CREATE TABLE deadline_bills (stream TEXT PRIMARY KEY, cycle TEXT NOT NULL) WITHOUT ROWID;
	CREATE TABLE deadline_debts (cycle TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (cycle, document)) WITHOUT ROWID`
}

func (deadlines) Hears() []string {
	return []string{
		"demand.published.v1", "demand.withdrawn.v1", "demand.expired.v1",
		"offer.published.v1", "offer.withdrawn.v1", "offer.expired.v1",
		"agreement.created.v1", "agreement.received.v1", "agreement.approval_requested.v1", "agreement.approval_failed.v1",
		"agreement.approved.v1", "agreement.rejected.v1", "agreement.cancelled.v1", "agreement.terminated.v1", "agreement.expired.v1",
		"allocation.created.v1", "allocation.amended.v1", "allocation.released.v1", "allocation.expired.v1",
		"cycle.configured.v1", "cycle.run_requested.v1",
		"bill.opened.v1", "bill.note_accepted.v1", "bill.invoice_accepted.v1", "bill.settled.v1", "bill.unsettled.v1",
	}
}

func (v deadlines) Apply(tx *Tx, r es.Recorded) error {
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
		if err := exec(tx, `INSERT OR REPLACE INTO deadline_cycles VALUES (?, ?, ?)`, string(r.Stream), e.NextAt, e.IntervalSec); err != nil {
			return err
		}
		return v.settlement(tx, r, r.Stream)
	case cycle.RunRequested:
		if err := exec(tx, `UPDATE deadline_cycles SET next = ? WHERE stream = ?`, e.NextAt, string(r.Stream)); err != nil {
			return err
		}
		return v.settlement(tx, r, r.Stream)
	case bill.Event:
		return v.hearBill(tx, r)
	case nil, es.Erased:
		return nil
	}
	return exec(tx, `DELETE FROM deadlines WHERE stream = ?`, string(r.Stream)) // all others end what they are about
}

func (v deadlines) hearBill(tx *Tx, r es.Recorded) error {
	switch e := r.Data.(type) {
	case bill.Opened:
		if e.Side != identity.Requestor {
			return nil
		}
		payer := es.StreamOf(cycle.Category, cycle.StreamID(e.Platform, e.PayerAddr))
		return exec(tx, `INSERT OR REPLACE INTO deadline_bills VALUES (?, ?)`, string(r.Stream), string(payer))
	case bill.NoteAccepted:
		return v.owes(tx, r, `INSERT OR IGNORE INTO deadline_debts VALUES (?, ?)`, e.DebitNoteID)
	case bill.InvoiceAccepted:
		return v.owes(tx, r, `INSERT OR IGNORE INTO deadline_debts VALUES (?, ?)`, e.InvoiceID)
	case bill.Unsettled:
		return v.owes(tx, r, `INSERT OR IGNORE INTO deadline_debts VALUES (?, ?)`, e.DocumentID)
	case bill.Settled:
		return v.owes(tx, r, `DELETE FROM deadline_debts WHERE cycle = ? AND document = ?`, e.DocumentID)
	}
	return nil
}

// owes notes that a document of a payer's bill waits to be paid, or does not.
func (v deadlines) owes(tx *Tx, r es.Recorded, change, document string) error {
	var payer string
	err := tx.QueryRow(`SELECT cycle FROM deadline_bills WHERE stream = ?`, string(r.Stream)).Scan(&payer)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // the payee's
	}
	if err != nil {
		return err
	}
	if err := exec(tx, change, payer, document); err != nil {
		return err
	}
	return v.settlement(tx, r, es.Stream(payer))
}

// settlement sets when a cycle settles next, which it does only while it owes
// something. Runs that were left out keep the beat.
func (v deadlines) settlement(tx *Tx, r es.Recorded, payer es.Stream) error {
	var next time.Time
	var seconds int64
	err := tx.QueryRow(`SELECT next, interval FROM deadline_cycles WHERE stream = ? AND EXISTS (SELECT 1 FROM deadline_debts WHERE cycle = stream)`,
		string(payer)).Scan(moment{&next}, &seconds)
	if errors.Is(err, sql.ErrNoRows) {
		return exec(tx, `DELETE FROM deadlines WHERE stream = ?`, string(payer))
	}
	if err != nil {
		return err
	}
	if late, interval := r.Recorded.Sub(next), time.Duration(seconds)*time.Second; late > 0 && interval > 0 {
		next = next.Add((late/interval + 1) * interval)
	}
	r.Stream = payer
	return v.set(tx, r, "settlement", next)
}

func (deadlines) set(tx *Tx, r es.Recorded, what string, due time.Time) error {
	if due.IsZero() {
		return nil
	}
	return exec(tx, `INSERT INTO deadlines VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET due = excluded.due`, string(r.Stream), what, due)
}

func (deadlines) clear(tx *Tx, r es.Recorded, what string) error {
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
