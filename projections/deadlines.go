package projections

import (
	"context"
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

func (deadlines) Name() string { return "deadlines/4" }

func (deadlines) Schema() string {
	return `CREATE TABLE deadlines (stream TEXT NOT NULL, what TEXT NOT NULL, due INTEGER NOT NULL, PRIMARY KEY (stream, what)) WITHOUT ROWID;
	CREATE INDEX deadlines_by_time ON deadlines (due);
	CREATE TABLE deadline_cycles (stream TEXT PRIMARY KEY, next INTEGER NOT NULL, interval INTEGER NOT NULL) WITHOUT ROWID;
	CREATE TABLE deadline_bills (stream TEXT PRIMARY KEY, cycle TEXT NOT NULL) WITHOUT ROWID;
	CREATE TABLE deadline_debts (cycle TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (cycle, document)) WITHOUT ROWID;
	CREATE TABLE deadline_owing (cycle TEXT PRIMARY KEY, documents INTEGER NOT NULL) WITHOUT ROWID`
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
		if err := tx.put("deadline_cycles", r.Stream, e.NextAt, e.IntervalSec); err != nil {
			return err
		}
		return v.settlement(tx, r, r.Stream)
	case cycle.RunRequested:
		if err := tx.update("deadline_cycles", func(c *row) { c.set("next", e.NextAt) }, r.Stream); err != nil {
			return err
		}
		return v.settlement(tx, r, r.Stream)
	case bill.Event:
		return v.hearBill(tx, r)
	case nil, es.Erased:
		return nil
	}
	return v.end(tx, r.Stream) // all others end what they are about
}

func (v deadlines) hearBill(tx *Tx, r es.Recorded) error {
	switch e := r.Data.(type) {
	case bill.Opened:
		if e.Side != identity.Requestor {
			return nil
		}
		payer := es.StreamOf(cycle.Category, cycle.StreamID(e.Platform, e.PayerAddr))
		return tx.put("deadline_bills", r.Stream, payer)
	case bill.NoteAccepted:
		return v.owes(tx, r, e.DebitNoteID, true)
	case bill.InvoiceAccepted:
		return v.owes(tx, r, e.InvoiceID, true)
	case bill.Unsettled:
		return v.owes(tx, r, e.DocumentID, true)
	case bill.Settled:
		return v.owes(tx, r, e.DocumentID, false)
	}
	return nil
}

// owes notes that a document of a payer's bill waits to be paid, or does not.
func (v deadlines) owes(tx *Tx, r es.Recorded, document string, so bool) error {
	b, err := tx.get("deadline_bills", r.Stream)
	if err != nil || b == nil { // the payee's
		return err
	}
	payer := b.text("cycle")
	document = string(r.Stream) + "/" + document // their issuers choose the ids
	debt, err := tx.get("deadline_debts", payer, document)
	if err != nil {
		return err
	}
	if was := debt != nil; was != so {
		if err := v.count(tx, payer, map[bool]int64{true: 1, false: -1}[so]); err != nil {
			return err
		}
		if was {
			debt.remove()
		} else if err := tx.insert("deadline_debts", payer, document); err != nil {
			return err
		}
	}
	return v.settlement(tx, r, es.Stream(payer))
}

// count changes how many documents a payer owes.
func (deadlines) count(tx *Tx, payer string, change int64) error {
	if err := tx.insertNew("deadline_owing", payer, 0); err != nil {
		return err
	}
	return tx.update("deadline_owing", func(o *row) { o.set("documents", o.int("documents")+change) }, payer)
}

// settlement sets when a cycle settles next, which it does only while it owes
// something. Runs that were left out keep the beat.
func (v deadlines) settlement(tx *Tx, r es.Recorded, payer es.Stream) error {
	c, err := tx.get("deadline_cycles", payer)
	if err != nil {
		return err
	}
	owing, err := tx.get("deadline_owing", payer)
	if err != nil {
		return err
	}
	if c == nil || owing == nil || owing.int("documents") == 0 {
		return v.end(tx, payer)
	}
	next, err := c.time("next")
	if err != nil {
		return err
	}
	if late, interval := r.Recorded.Sub(next), time.Duration(c.int("interval"))*time.Second; late > 0 && interval > 0 {
		next = next.Add((late/interval + 1) * interval)
	}
	r.Stream = payer
	return v.set(tx, r, "settlement", next)
}

func (deadlines) set(tx *Tx, r es.Recorded, what string, due time.Time) error {
	if due.IsZero() {
		return nil
	}
	return tx.merge("deadlines", []string{"due"}, r.Stream, what, due)
}

func (deadlines) clear(tx *Tx, r es.Recorded, what string) error {
	return tx.remove("deadlines", r.Stream, what)
}

// dueIn is what may be due in the streams of a category.
var dueIn = map[string][]string{
	offer.Category: {"expiry"}, demand.Category: {"expiry"}, agreement.Category: {"approval", "commit"}, allocation.Category: {"release"}, cycle.Category: {"settlement"},
}

// end clears all that is due in a stream.
func (deadlines) end(tx *Tx, s es.Stream) error {
	for _, what := range dueIn[s.Category()] {
		if err := tx.remove("deadlines", s, what); err != nil {
			return err
		}
	}
	return nil
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
