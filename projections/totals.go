package projections

import (
	"cmp"
	"context"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
)

// totals answers "how much is due, accepted, scheduled and paid, per agreement
// and per activity?". An empty activity stands for what the invoice adds. It
// comes after [bills] in its group and reads its tables.
type totals struct{}

func (totals) Name() string { return "totals/2" }

func (totals) Schema() string {
	return `CREATE TABLE totals (
		side TEXT NOT NULL, agreement_id TEXT NOT NULL, activity_id TEXT NOT NULL, due TEXT NOT NULL, accepted TEXT NOT NULL,
		scheduled TEXT NOT NULL, paid TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL,
		PRIMARY KEY (side, agreement_id, activity_id)) WITHOUT ROWID;
	CREATE INDEX totals_by_activity ON totals (activity_id)`
}

func (totals) Hears() []string {
	return []string{
		"bill.note_issued.v1", "bill.note_received.v1", "bill.invoice_issued.v1", "bill.invoice_received.v1",
		"bill.note_accepted.v1", "bill.invoice_accepted.v1", "bill.note_accepted_by_peer.v1", "bill.invoice_accepted_by_peer.v1",
		"bill.invoice_cancelled.v1", "bill.invoice_cancelled_by_peer.v1", "bill.scheduled.v1", "bill.paid.v1", "bill.payment_reversed.v1",
	}
}

func (v totals) Apply(tx *Tx, r es.Recorded) error {
	switch e := r.Data.(type) {
	case bill.NoteIssued:
		return v.raise(tx, r, e.Side, e.AgreementID, e.ActivityID, "due", e.Amount)
	case bill.NoteReceived:
		return v.raise(tx, r, e.Side, e.AgreementID, e.ActivityID, "due", e.Amount)
	case bill.InvoiceIssued:
		return v.invoice(tx, r, e.Side, e.AgreementID, "due", e.Amount)
	case bill.InvoiceReceived:
		return v.invoice(tx, r, e.Side, e.AgreementID, "due", e.Amount)
	case bill.InvoiceCancelled:
		return v.forget(tx, r, e.Side, e.AgreementID)
	case bill.InvoiceCancelledByPeer:
		return v.forget(tx, r, e.Side, e.AgreementID)
	case bill.NoteAccepted:
		return v.add(tx, r, e.Side, e.AgreementID, e.ActivityID, "accepted", e.Delta)
	case bill.InvoiceAccepted:
		return v.add(tx, r, e.Side, e.AgreementID, "", "accepted", e.Delta)
	case bill.NoteAcceptedByPeer:
		return v.raise(tx, r, e.Side, e.AgreementID, e.ActivityID, "accepted", e.Amount)
	case bill.InvoiceAcceptedByPeer:
		return v.invoice(tx, r, e.Side, e.AgreementID, "accepted", e.Amount)
	case bill.Scheduled:
		return v.ranges(tx, r, e.Side, e.Ranges, "scheduled", false)
	case bill.Paid:
		return v.ranges(tx, r, e.Side, e.Ranges, "paid", false)
	case bill.PaymentReversed:
		return v.ranges(tx, r, e.Side, e.Ranges, "paid", true)
	}
	return nil
}

func (v totals) ranges(tx *Tx, r es.Recorded, side identity.Side, ranges []payment.Range, column string, back bool) error {
	for _, x := range ranges {
		delta := x.Amount()
		if back {
			delta = delta.Neg()
		}
		if err := v.add(tx, r, side, x.AgreementID, x.ActivityID, column, delta); err != nil {
			return err
		}
	}
	return nil
}

// raise sets a column that only grows. What an activity adds after the invoice
// is in the invoice, as far as it goes.
func (v totals) raise(tx *Tx, r es.Recorded, side identity.Side, deal, act, column string, to money.Amount) error {
	var added money.Amount
	err := v.change(tx, r, side, deal, act, column, func(old money.Amount) money.Amount {
		added = to.Sub(old).Max(money.Amount{})
		return old.Add(added)
	})
	rest, found := tx.get("totals", side, deal, "")
	if err = cmp.Or(err, found); err != nil || rest == nil || act == "" || added.IsZero() {
		return err
	}
	return v.change(tx, r, side, deal, "", column, func(old money.Amount) money.Amount { return old.Sub(added).Max(money.Amount{}) })
}

// forget takes out of what is due what a cancelled invoice added.
func (v totals) forget(tx *Tx, r es.Recorded, side identity.Side, deal string) error {
	return v.change(tx, r, side, deal, "", "due", func(money.Amount) money.Amount { return money.Amount{} })
}

func (v totals) add(tx *Tx, r es.Recorded, side identity.Side, deal, act, column string, delta money.Amount) error {
	return v.change(tx, r, side, deal, act, column, func(old money.Amount) money.Amount { return old.Add(delta) })
}

// invoice sets what the invoice adds to the sum over the activities.
func (v totals) invoice(tx *Tx, r es.Recorded, side identity.Side, deal, column string, total money.Amount) error {
	sum, err := v.sum(tx, side, deal, column)
	if err != nil {
		return err
	}
	return v.change(tx, r, side, deal, "", column, func(money.Amount) money.Amount { return total.Sub(sum).Max(money.Amount{}) })
}

func (totals) sum(tx *Tx, side identity.Side, deal, column string) (sum money.Amount, err error) {
	all, err := tx.group("totals", side, deal)
	for _, t := range all {
		if t.text("activity_id") == "" {
			continue
		}
		a, err := t.amount(column)
		if err != nil {
			return sum, err
		}
		sum = sum.Add(a)
	}
	return sum, err
}

func (totals) change(tx *Tx, r es.Recorded, side identity.Side, deal, act, column string, f func(money.Amount) money.Amount) error {
	if err := tx.insertNew("totals", side, deal, act, "0", "0", "0", "0", r.Recorded, r.Recorded); err != nil {
		return err
	}
	t, err := tx.get("totals", side, deal, act)
	if err != nil {
		return err
	}
	old, err := t.amount(column)
	if err != nil {
		return err
	}
	t.set(column, f(old))
	t.set("updated", r.Recorded)
	return nil
}

// TotalsRow is how far a debt has come.
type TotalsRow struct {
	AgreementID string
	ActivityID  string // "" for a whole agreement
	Side        identity.Side
	Owner       identity.NodeID
	Peer        identity.NodeID
	PayeeAddr   string
	PayerAddr   string
	Platform    payment.Platform
	Session     string
	Due         money.Amount
	Accepted    money.Amount
	Scheduled   money.Amount
	Paid        money.Amount
	Created     time.Time
	Updated     time.Time
}

// TotalsFilter narrows a list. Owner must be set.
type TotalsFilter struct {
	Owner       identity.NodeID
	AgreementID string
	ActivityID  string
	After       time.Time // exclusive, of Updated
	Limit       int
}

// PayActivities lists the debts per activity, oldest first.
func (p *Payment) PayActivities(ctx context.Context, f TotalsFilter) ([]TotalsRow, error) {
	rows, err := p.totals(ctx, f, "t.activity_id <> ''")
	return page(rows, f), err
}

// PayAgreements lists the debts per agreement, oldest first.
func (p *Payment) PayAgreements(ctx context.Context, f TotalsFilter) ([]TotalsRow, error) {
	f.ActivityID = ""
	rows, err := p.totals(ctx, f, "true")
	if err != nil {
		return nil, err
	}
	var out []TotalsRow
	at := make(map[string]int)
	for _, r := range rows {
		key := string(r.Side) + r.AgreementID
		i, ok := at[key]
		if !ok {
			r.ActivityID = ""
			at[key] = len(out)
			out = append(out, r)
			continue
		}
		s := &out[i]
		s.Due, s.Accepted = s.Due.Add(r.Due), s.Accepted.Add(r.Accepted)
		s.Scheduled, s.Paid = s.Scheduled.Add(r.Scheduled), s.Paid.Add(r.Paid)
		if r.Updated.After(s.Updated) {
			s.Updated = r.Updated
		}
	}
	return page(out, f), nil
}

func page(rows []TotalsRow, f TotalsFilter) []TotalsRow {
	var out []TotalsRow
	for _, r := range rows {
		if r.Updated.After(f.After) && (f.Limit <= 0 || len(out) < f.Limit) {
			out = append(out, r)
		}
	}
	return out
}

func (p *Payment) totals(ctx context.Context, f TotalsFilter, which string) ([]TotalsRow, error) {
	var c conditions
	c.add(true, "b.owner = ? AND "+which, f.Owner)
	c.add(f.AgreementID != "", "t.agreement_id = ?", f.AgreementID)
	c.add(f.ActivityID != "", "t.activity_id = ?", f.ActivityID)
	return query(ctx, p.DB, func(s scanner) (r TotalsRow, err error) {
		var payee, payer identity.NodeID
		err = s.Scan(&r.AgreementID, &r.ActivityID, &r.Side, &r.Owner, &payee, &payer, &r.PayeeAddr, &r.PayerAddr, &r.Platform, &r.Session,
			amount{&r.Due}, amount{&r.Accepted}, amount{&r.Scheduled}, amount{&r.Paid}, moment{&r.Created}, moment{&r.Updated})
		if r.Peer = payee; r.Side == identity.Provider {
			r.Peer = payer
		}
		return r, err
	}, `SELECT t.agreement_id, t.activity_id, t.side, b.owner, b.payee, b.payer, b.payee_addr, b.payer_addr, b.platform, b.session,
		t.due, t.accepted, t.scheduled, t.paid, t.created, t.updated
		FROM totals t JOIN bills b ON b.side = t.side AND b.agreement_id = t.agreement_id`+c.text+` ORDER BY t.created, t.activity_id`, c.args...)
}
