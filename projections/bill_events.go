package projections

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/wallet"
)

// billEvents answers "what happened to my bills since …?". It comes after
// [bills] in its group and reads its tables.
type billEvents struct{}

func (billEvents) Name() string { return "bill_events/1" }

func (billEvents) Schema() string {
	return `CREATE TABLE bill_events (
		recorded INTEGER NOT NULL, n INTEGER NOT NULL, side TEXT NOT NULL, agreement_id TEXT NOT NULL, kind TEXT NOT NULL,
		document_id TEXT NOT NULL, code TEXT NOT NULL, rejection TEXT NOT NULL, property TEXT NOT NULL,
		PRIMARY KEY (recorded, n)) WITHOUT ROWID;
	CREATE TABLE wallet_health (address TEXT NOT NULL, chain_id INTEGER NOT NULL, platform TEXT NOT NULL, owner TEXT NOT NULL,
		properties TEXT NOT NULL, PRIMARY KEY (address, chain_id)) WITHOUT ROWID`
}

func (billEvents) Hears() []string {
	return []string{
		"bill.note_issued.v1", "bill.note_received.v1", "bill.invoice_issued.v1", "bill.invoice_received.v1",
		"bill.note_accepted.v1", "bill.invoice_accepted.v1", "bill.note_rejected.v1", "bill.invoice_rejected.v1",
		"bill.note_cancelled.v1", "bill.invoice_cancelled.v1",
		"bill.note_accepted_by_peer.v1", "bill.invoice_accepted_by_peer.v1", "bill.note_rejected_by_peer.v1",
		"bill.invoice_rejected_by_peer.v1", "bill.note_cancelled_by_peer.v1", "bill.invoice_cancelled_by_peer.v1",
		"bill.settled.v1", "wallet.opened.v1", "wallet.health_changed.v1",
	}
}

// Codes of bill events, as the request headers spell them.
const (
	CodeReceived  = "RECEIVED"
	CodeAccepted  = "ACCEPTED"
	CodeRejected  = "REJECTED"
	CodeCancelled = "CANCELLED"
	CodeSettled   = "SETTLED"
	CodePayment   = "PAYMENT_EVENT"
	CodePaymentOK = "PAYMENT_OK"
)

func (v billEvents) Apply(tx *Tx, r es.Recorded) error {
	const note, invoice = payment.DebitNote, payment.Invoice
	switch e := r.Data.(type) {
	case bill.NoteIssued:
		return v.add(tx, r, e.Side, e.AgreementID, note, e.DebitNoteID, CodeReceived, "")
	case bill.NoteReceived:
		return v.add(tx, r, e.Side, e.AgreementID, note, e.DebitNoteID, CodeReceived, "")
	case bill.InvoiceIssued:
		return v.add(tx, r, e.Side, e.AgreementID, invoice, e.InvoiceID, CodeReceived, "")
	case bill.InvoiceReceived:
		return v.add(tx, r, e.Side, e.AgreementID, invoice, e.InvoiceID, CodeReceived, "")
	case bill.NoteAccepted:
		return v.add(tx, r, e.Side, e.AgreementID, note, e.DebitNoteID, CodeAccepted, "")
	case bill.InvoiceAccepted:
		return v.add(tx, r, e.Side, e.AgreementID, invoice, e.InvoiceID, CodeAccepted, "")
	case bill.NoteAcceptedByPeer:
		return v.add(tx, r, e.Side, e.AgreementID, note, e.DebitNoteID, CodeAccepted, "")
	case bill.InvoiceAcceptedByPeer:
		return v.add(tx, r, e.Side, e.AgreementID, invoice, e.InvoiceID, CodeAccepted, "")
	case bill.NoteRejected:
		return v.add(tx, r, e.Side, e.AgreementID, note, e.DebitNoteID, CodeRejected, e.Rejection)
	case bill.InvoiceRejected:
		return v.add(tx, r, e.Side, e.AgreementID, invoice, e.InvoiceID, CodeRejected, e.Rejection)
	case bill.NoteRejectedByPeer:
		return v.add(tx, r, e.Side, e.AgreementID, note, e.DebitNoteID, CodeRejected, e.Rejection)
	case bill.InvoiceRejectedByPeer:
		return v.add(tx, r, e.Side, e.AgreementID, invoice, e.InvoiceID, CodeRejected, e.Rejection)
	case bill.NoteCancelled:
		return v.add(tx, r, e.Side, e.AgreementID, note, e.DebitNoteID, CodeCancelled, "")
	case bill.InvoiceCancelled:
		return v.add(tx, r, e.Side, e.AgreementID, invoice, e.InvoiceID, CodeCancelled, "")
	case bill.NoteCancelledByPeer:
		return v.add(tx, r, e.Side, e.AgreementID, note, e.DebitNoteID, CodeCancelled, "")
	case bill.InvoiceCancelledByPeer:
		return v.add(tx, r, e.Side, e.AgreementID, invoice, e.InvoiceID, CodeCancelled, "")
	case bill.Settled:
		return v.add(tx, r, e.Side, e.AgreementID, e.Kind, e.DocumentID, CodeSettled, "")
	}
	return v.health(tx, r)
}

func (billEvents) add(tx *Tx, r es.Recorded, side identity.Side, deal string, kind payment.Kind, id, code, rejection string) error {
	return tx.insert("bill_events", r.Recorded, 0, side, deal, kind, id, code, rejection, "")
}

// health tells a requestor about every accepted bill that its wallet cannot
// pay now, and when it can again.
func (v billEvents) health(tx *Tx, r es.Recorded) error {
	switch e := r.Data.(type) {
	case wallet.Opened:
		return tx.insertNew("wallet_health", strings.ToLower(e.Address), e.ChainID, e.Platform, e.OwnerID, "[]")
	case wallet.HealthChanged:
		var properties []json.RawMessage
		if err := json.Unmarshal([]byte(e.Properties), &properties); err != nil {
			return nil //nolint:nilerr // not a list: nothing that a client could be told
		}
		code := CodePayment
		if len(properties) == 0 {
			properties, code = []json.RawMessage{nil}, CodePaymentOK
		}
		if err := v.tell(tx, r, e, code, properties); err != nil {
			return err
		}
		return tx.update("wallet_health", func(w *row) { w.set("properties", e.Properties) }, strings.ToLower(e.Address), e.ChainID)
	}
	return nil
}

// tell adds an event of each property for each accepted bill that is paid from
// a wallet.
func (billEvents) tell(tx *Tx, r es.Recorded, e wallet.HealthChanged, code string, properties []json.RawMessage) error {
	rows, err := tx.query(`SELECT d.side, d.agreement_id, d.kind, d.id FROM documents d
		JOIN bills b ON b.side = d.side AND b.agreement_id = d.agreement_id JOIN wallet_health w ON w.address = lower(b.payer_addr) AND w.platform = b.platform
		WHERE d.side = 'R' AND d.status = 'ACCEPTED' AND w.address = ? AND w.chain_id = ?`+tx.last("d", "b", "w")+` ORDER BY d.agreement_id, d.id`,
		strings.ToLower(e.Address), int64(e.ChainID)) //nolint:gosec // chain ids are small
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	for n := 1; rows.Next(); n++ {
		var side, deal, kind, id string
		if err := rows.Scan(&side, &deal, &kind, &id); err != nil {
			return err
		}
		for i, p := range properties {
			if err := tx.insert("bill_events", r.Recorded, i*1_000_000+n, side, deal, kind, id, code, "", string(p)); err != nil {
				return err
			}
		}
	}
	return rows.Err()
}

// BillEventRow is one REST event. Time is its cursor; only the status events
// that one fact causes for several bills share a time.
type BillEventRow struct {
	Time       time.Time
	Side       identity.Side // of the owner in the agreement
	Kind       payment.Kind
	DocumentID string
	Code       string
	Rejection  string // JSON text, with [CodeRejected]
	Property   string // JSON text, with [CodePayment]
}

// BillEventFilter says whose events, after which, and which codes on which
// side. Session "" means any.
type BillEventFilter struct {
	Owner          identity.NodeID
	Kind           payment.Kind
	Session        string
	After          time.Time // exclusive
	RequestorCodes []string
	ProviderCodes  []string
	Limit          int // 0 = all
}

// BillEvents lists events in the order in which they were recorded. The codes
// are filtered before the limit counts. Events of one time are never parted.
func (p *Payment) BillEvents(ctx context.Context, f BillEventFilter) ([]BillEventRow, error) {
	var c conditions
	c.add(true, "b.owner = ? AND e.kind = ? AND e.recorded > ?", f.Owner, string(f.Kind), f.After)
	c.add(f.Session != "", "b.session = ?", f.Session)
	c.add(true, "(e.side = 'R' AND e.code IN ("+marks(f.RequestorCodes)+") OR e.side = 'P' AND e.code IN ("+marks(f.ProviderCodes)+"))",
		anys(f.RequestorCodes, f.ProviderCodes)...)
	from := ` FROM bill_events e JOIN bills b ON b.side = e.side AND b.agreement_id = e.agreement_id` + c.text
	args := c.args
	if f.Limit > 0 {
		from += ` AND e.recorded <= coalesce((SELECT e.recorded` + from + ` ORDER BY e.recorded, e.n LIMIT 1 OFFSET ?), ` + forever + `)`
		args = append(append(slices.Clone(c.args), c.args...), f.Limit-1)
	}
	return query(ctx, p.DB, func(s scanner) (r BillEventRow, err error) {
		return r, s.Scan(moment{&r.Time}, &r.Side, &r.Kind, &r.DocumentID, &r.Code, &r.Rejection, &r.Property)
	}, `SELECT e.recorded, e.side, e.kind, e.document_id, e.code, e.rejection, e.property`+from+` ORDER BY e.recorded, e.n`, args...)
}

const forever = "9223372036854775807"

func marks(list []string) string {
	return strings.TrimSuffix(strings.Repeat("?,", len(list)), ",")
}

func anys(lists ...[]string) (out []any) {
	for _, l := range lists {
		for _, s := range l {
			out = append(out, s)
		}
	}
	return out
}

// Health lists what stands in the way of payments of owner (or of anyone, if
// empty), as JSON arrays of status properties by platform.
func (p *Payment) Health(ctx context.Context, owner identity.NodeID) (map[payment.Platform]string, error) {
	var c conditions
	c.add(owner != "", "owner = ?", owner)
	type row struct {
		platform   payment.Platform
		properties string
	}
	rows, err := query(ctx, p.DB, func(s scanner) (r row, err error) { return r, s.Scan(&r.platform, &r.properties) },
		`SELECT platform, properties FROM wallet_health`+c.text, c.args...)
	out := make(map[payment.Platform]string, len(rows))
	for _, r := range rows {
		out[r.platform] = r.properties
	}
	return out, err
}
