package projections

import (
	"context"
	"encoding/json"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
)

// bills answers "which debit notes and invoices do I have, and where do they
// stand?". Ids of documents are their issuer's choice, so they are unique
// within an agreement only.
type bills struct{}

func (bills) Name() string { return "bills/1" }

func (bills) Schema() string {
	return `CREATE TABLE bills (
		side TEXT NOT NULL, agreement_id TEXT NOT NULL, owner TEXT NOT NULL, payee TEXT NOT NULL, payer TEXT NOT NULL,
		payee_addr TEXT NOT NULL, payer_addr TEXT NOT NULL, platform TEXT NOT NULL, session TEXT NOT NULL, recorded INTEGER NOT NULL,
		PRIMARY KEY (side, agreement_id)) WITHOUT ROWID;
	CREATE TABLE documents (
		side TEXT NOT NULL, agreement_id TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, activity_ids TEXT NOT NULL,
		amount TEXT NOT NULL, amount_text TEXT NOT NULL, due INTEGER NOT NULL, nonce INTEGER NOT NULL, previous TEXT NOT NULL,
		timestamp TEXT NOT NULL, usage TEXT NOT NULL, status TEXT NOT NULL, rejection TEXT NOT NULL, allocation TEXT NOT NULL,
		recorded INTEGER NOT NULL, PRIMARY KEY (side, agreement_id, id)) WITHOUT ROWID;
	CREATE INDEX documents_by_id ON documents (id);
	CREATE INDEX documents_by_time ON documents (recorded)`
}

func (bills) Hears() []string {
	return []string{
		"bill.opened.v1", "bill.note_issued.v1", "bill.note_received.v1", "bill.invoice_issued.v1", "bill.invoice_received.v1",
		"bill.note_delivered.v1", "bill.invoice_delivered.v1", "bill.note_accepted.v1", "bill.invoice_accepted.v1",
		"bill.note_rejected.v1", "bill.invoice_rejected.v1", "bill.note_cancelled.v1", "bill.invoice_cancelled.v1",
		"bill.note_accepted_by_peer.v1", "bill.invoice_accepted_by_peer.v1", "bill.note_rejected_by_peer.v1",
		"bill.invoice_rejected_by_peer.v1", "bill.note_cancelled_by_peer.v1", "bill.invoice_cancelled_by_peer.v1",
		"bill.settled.v1", "bill.unsettled.v1",
	}
}

func (v bills) Apply(tx *Tx, r es.Recorded) error {
	switch e := r.Data.(type) {
	case bill.Opened:
		owner := e.PayerID
		if e.Side == identity.Provider {
			owner = e.PayeeID
		}
		return tx.insert("bills", e.Side, e.AgreementID, owner, e.PayeeID, e.PayerID, e.PayeeAddr, e.PayerAddr, e.Platform, e.AppSessionID, r.Recorded)
	case bill.NoteIssued:
		return v.add(tx, r, e.Side, e.AgreementID, document{
			e.DebitNoteID, payment.DebitNote, []string{e.ActivityID}, e.Amount, "", e.DueDate, e.Nonce, e.PreviousID, e.Timestamp, e.UsageVector, payment.Issued,
		})
	case bill.NoteReceived:
		return v.add(tx, r, e.Side, e.AgreementID, document{
			e.DebitNoteID, payment.DebitNote, []string{e.ActivityID}, e.Amount, e.AmountText, e.DueDate, e.Nonce, e.PreviousID, e.Timestamp, e.UsageVector, payment.Received,
		})
	case bill.InvoiceIssued:
		return v.add(tx, r, e.Side, e.AgreementID, document{
			e.InvoiceID, payment.Invoice, e.ActivityIDs, e.Amount, "", e.DueDate, 0, "", e.Timestamp, "", payment.Issued,
		})
	case bill.InvoiceReceived:
		return v.add(tx, r, e.Side, e.AgreementID, document{
			e.InvoiceID, payment.Invoice, e.ActivityIDs, e.Amount, e.AmountText, e.DueDate, 0, "", e.Timestamp, "", payment.Received,
		})
	}
	return v.answer(tx, r)
}

type document struct {
	id         string
	kind       payment.Kind
	activities []string
	amount     money.Amount
	text       string
	due        time.Time
	nonce      int
	previous   string
	timestamp  time.Time
	usage      string
	status     payment.Status
}

func (bills) add(tx *Tx, r es.Recorded, side identity.Side, deal string, d document) error {
	if d.activities == nil {
		d.activities = []string{}
	}
	activities, err := json.Marshal(d.activities)
	if err != nil {
		return err
	}
	return tx.put("documents", side, deal, d.id, d.kind, string(activities), d.amount, d.text, d.due, d.nonce, d.previous,
		stamp(d.timestamp), d.usage, d.status, "", "", r.Recorded)
}

// answer is what became of a document.
func (v bills) answer(tx *Tx, r es.Recorded) error {
	switch e := r.Data.(type) {
	case bill.NoteDelivered:
		return v.delivered(tx, e.Side, e.AgreementID, e.DebitNoteID)
	case bill.InvoiceDelivered:
		return v.delivered(tx, e.Side, e.AgreementID, e.InvoiceID)
	case bill.NoteAccepted:
		return v.accepted(tx, e.Side, e.AgreementID, e.DebitNoteID, e.AllocationID)
	case bill.InvoiceAccepted:
		return v.accepted(tx, e.Side, e.AgreementID, e.InvoiceID, e.AllocationID)
	case bill.NoteAcceptedByPeer:
		return v.accepted(tx, e.Side, e.AgreementID, e.DebitNoteID, "")
	case bill.InvoiceAcceptedByPeer:
		return v.accepted(tx, e.Side, e.AgreementID, e.InvoiceID, "")
	case bill.NoteRejected:
		return v.rejected(tx, e.Side, e.AgreementID, e.DebitNoteID, e.Rejection)
	case bill.InvoiceRejected:
		return v.rejected(tx, e.Side, e.AgreementID, e.InvoiceID, e.Rejection)
	case bill.NoteRejectedByPeer:
		return v.rejected(tx, e.Side, e.AgreementID, e.DebitNoteID, e.Rejection)
	case bill.InvoiceRejectedByPeer:
		return v.rejected(tx, e.Side, e.AgreementID, e.InvoiceID, e.Rejection)
	}
	return v.closed(tx, r)
}

func (v bills) closed(tx *Tx, r es.Recorded) error {
	switch e := r.Data.(type) {
	case bill.NoteCancelled:
		return v.status(tx, e.Side, e.AgreementID, e.DebitNoteID, payment.Cancelled)
	case bill.InvoiceCancelled:
		return v.status(tx, e.Side, e.AgreementID, e.InvoiceID, payment.Cancelled)
	case bill.NoteCancelledByPeer:
		return v.status(tx, e.Side, e.AgreementID, e.DebitNoteID, payment.Cancelled)
	case bill.InvoiceCancelledByPeer:
		return v.status(tx, e.Side, e.AgreementID, e.InvoiceID, payment.Cancelled)
	case bill.Settled:
		return v.status(tx, e.Side, e.AgreementID, e.DocumentID, payment.Settled)
	case bill.Unsettled:
		return v.status(tx, e.Side, e.AgreementID, e.DocumentID, payment.Accepted)
	}
	return nil
}

func (bills) status(tx *Tx, side identity.Side, deal, id string, s payment.Status) error {
	return tx.update("documents", func(d *row) { d.set("status", s) }, side, deal, id)
}

func (bills) delivered(tx *Tx, side identity.Side, deal, id string) error {
	return tx.update("documents", func(d *row) {
		if d.text("status") == string(payment.Issued) {
			d.set("status", payment.Received)
		}
	}, side, deal, id)
}

func (bills) accepted(tx *Tx, side identity.Side, deal, id, allocation string) error {
	return tx.update("documents", func(d *row) {
		d.set("status", payment.Accepted)
		d.set("allocation", allocation)
	}, side, deal, id)
}

func (bills) rejected(tx *Tx, side identity.Side, deal, id, rejection string) error {
	return tx.update("documents", func(d *row) {
		d.set("status", payment.Rejected)
		d.set("rejection", rejection)
	}, side, deal, id)
}

// DocumentRow is a debit note or an invoice as one side has it.
type DocumentRow struct {
	Kind         payment.Kind
	ID           string
	Side         identity.Side
	Owner        identity.NodeID
	AgreementID  string
	ActivityIDs  []string // one for a note
	Issuer       identity.NodeID
	Recipient    identity.NodeID
	PayeeAddr    string // as in the agreement
	PayerAddr    string
	Platform     payment.Platform
	Session      string
	Amount       money.Amount
	AmountText   string // as the provider wrote it, when finer than the token
	Due          time.Time
	Nonce        int
	PreviousID   string
	Timestamp    time.Time
	UsageVector  string // JSON text
	Status       payment.Status
	Rejection    string // JSON text
	AllocationID string // that it was accepted on
	Recorded     time.Time
}

// DocumentFilter narrows a list. Zero fields narrow nothing but Owner, which
// must be set.
type DocumentFilter struct {
	Owner       identity.NodeID
	Side        identity.Side
	Kind        payment.Kind
	ID          string
	AgreementID string
	ActivityID  string
	Status      payment.Status
	After       time.Time // exclusive, of Recorded
	Limit       int
}

// Documents lists debit notes and invoices, oldest first.
func (p *Payment) Documents(ctx context.Context, f DocumentFilter) ([]DocumentRow, error) {
	var c conditions
	c.add(true, "b.owner = ?", f.Owner)
	c.add(f.Side != "", "d.side = ?", f.Side)
	c.add(f.Kind != "", "d.kind = ?", string(f.Kind))
	c.add(f.ID != "", "d.id = ?", f.ID)
	c.add(f.AgreementID != "", "d.agreement_id = ?", f.AgreementID)
	c.add(f.ActivityID != "", "EXISTS (SELECT 1 FROM json_each(d.activity_ids) WHERE value = ?)", f.ActivityID)
	c.add(f.Status != "", "d.status = ?", string(f.Status))
	c.add(!f.After.IsZero(), "d.recorded > ?", f.After)
	return query(ctx, p.DB, scanDocument, `SELECT d.kind, d.id, d.side, b.owner, d.agreement_id, d.activity_ids, b.payee, b.payer,
		b.payee_addr, b.payer_addr, b.platform, b.session, d.amount, d.amount_text, d.due, d.nonce, d.previous, d.timestamp, d.usage,
		d.status, d.rejection, d.allocation, d.recorded
		FROM documents d JOIN bills b ON b.side = d.side AND b.agreement_id = d.agreement_id`+c.text+
		` ORDER BY d.recorded LIMIT ?`, append(c.args, limit(f.Limit))...)
}

func scanDocument(s scanner) (r DocumentRow, err error) {
	var activities string
	err = s.Scan(&r.Kind, &r.ID, &r.Side, &r.Owner, &r.AgreementID, &activities, &r.Issuer, &r.Recipient,
		&r.PayeeAddr, &r.PayerAddr, &r.Platform, &r.Session, amount{&r.Amount}, &r.AmountText, moment{&r.Due}, &r.Nonce, &r.PreviousID,
		moment{&r.Timestamp}, &r.UsageVector, &r.Status, &r.Rejection, &r.AllocationID, moment{&r.Recorded})
	if err == nil {
		err = json.Unmarshal([]byte(activities), &r.ActivityIDs)
	}
	return r, err
}

// Document finds one of owner's documents. If several agreements have one of
// that id it is the oldest.
func (p *Payment) Document(ctx context.Context, owner identity.NodeID, kind payment.Kind, id string) (DocumentRow, bool, error) {
	rows, err := p.Documents(ctx, DocumentFilter{Owner: owner, Kind: kind, ID: id, Limit: 1})
	if err != nil || len(rows) == 0 {
		return DocumentRow{}, false, err
	}
	return rows[0], true, nil
}
