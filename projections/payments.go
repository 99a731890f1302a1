package projections

import (
	"context"
	"encoding/json"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/payment"
)

// payments answers "what did I pay, what was I paid?". A payment is listed
// when it is signed (sent) or found on the chain (received).
type payments struct{}

func (payments) Name() string { return "payments/2" }

func (payments) Schema() string {
	return `CREATE TABLE payments (
		side TEXT NOT NULL, payee TEXT NOT NULL, id TEXT NOT NULL, payer TEXT NOT NULL, payee_addr TEXT NOT NULL, payer_addr TEXT NOT NULL,
		platform TEXT NOT NULL, amount TEXT NOT NULL, shares TEXT NOT NULL, timestamp TEXT NOT NULL, tx_hash TEXT NOT NULL,
		signature BLOB, canonical BLOB, state TEXT NOT NULL, why TEXT NOT NULL, listed INTEGER NOT NULL, recorded INTEGER NOT NULL,
		PRIMARY KEY (side, payee, id)) WITHOUT ROWID;
	CREATE INDEX payments_by_time ON payments (listed)`
}

func (payments) Hears() []string {
	return []string{
		"payment.signing_requested.v1", "payment.signed.v1", "payment.signing_failed.v1", "payment.delivered.v1", "payment.refused.v1",
		"payment.claimed.v1", "payment.verified.v1", "payment.disproved.v1", "payment.finalised.v1", "payment.reversed.v1",
	}
}

func (v payments) Apply(tx *Tx, r es.Recorded) error {
	switch e := r.Data.(type) {
	case payment.SigningRequested:
		return v.begin(tx, r, PaymentRow{
			Side: e.Side, Payee: e.PayeeID, ID: e.PaymentID, Payer: e.PayerID, PayeeAddr: e.PayeeAddr, PayerAddr: e.PayerAddr,
			Platform: e.Platform, Amount: sum(e.Shares), Shares: e.Shares, Timestamp: e.Timestamp, TxHash: e.TxHash, State: "signing",
		})
	case payment.Claimed:
		return v.begin(tx, r, PaymentRow{
			Side: e.Side, Payee: e.PayeeID, ID: e.PaymentID, Payer: e.PayerID, PayeeAddr: e.PayeeAddr, PayerAddr: e.PayerAddr,
			Platform: e.Platform, Amount: e.Amount, Shares: e.Shares, Timestamp: e.Timestamp, TxHash: e.TxHash, State: "claimed",
			Signature: e.Signature, Canonical: e.Canonical,
		})
	case payment.Signed:
		return v.update(tx, e.Side, e.PayeeID, e.PaymentID, func(p *row) {
			p.set("state", "signed")
			p.set("signature", e.Signature)
			p.set("canonical", e.Canonical)
			list(p, r)
		})
	case payment.Verified:
		return v.update(tx, e.Side, e.PayeeID, e.PaymentID, func(p *row) {
			p.set("state", "verified")
			p.set("why", "")
			list(p, r)
		})
	case payment.Reversed:
		return v.update(tx, e.Side, e.PayeeID, e.PaymentID, func(p *row) {
			p.set("state", "reversed")
			p.set("why", e.Why)
			p.set("listed", 0)
		})
	case payment.SigningFailed:
		return v.state(tx, e.Side, e.PayeeID, e.PaymentID, "unsigned", e.Why)
	case payment.Delivered:
		return v.sent(tx, e.Side, e.PayeeID, e.PaymentID, "delivered", "")
	case payment.Refused:
		return v.sent(tx, e.Side, e.PayeeID, e.PaymentID, "refused", e.Why)
	case payment.Disproved:
		return v.state(tx, e.Side, e.PayeeID, e.PaymentID, "disproved", e.Why)
	case payment.Finalised:
		return v.state(tx, e.Side, e.PayeeID, e.PaymentID, "finalised", "")
	}
	return nil
}

func (payments) begin(tx *Tx, r es.Recorded, p PaymentRow) error {
	shares, err := json.Marshal(p.Shares)
	if err != nil {
		return err
	}
	return tx.put("payments", p.Side, p.Payee, p.ID, p.Payer, p.PayeeAddr, p.PayerAddr, p.Platform, p.Amount, string(shares), stamp(p.Timestamp),
		p.TxHash, p.Signature, p.Canonical, p.State, "", 0, r.Recorded)
}

func (payments) update(tx *Tx, side identity.Side, payee identity.NodeID, id string, change func(p *row)) error {
	return tx.update("payments", change, side, payee, id)
}

// list makes REST list a payment from now on, unless it does.
func list(p *row, r es.Recorded) {
	if p.int("listed") == 0 {
		p.set("listed", r.Recorded)
	}
}

func (v payments) state(tx *Tx, side identity.Side, payee identity.NodeID, id, state, why string) error {
	return v.update(tx, side, payee, id, func(p *row) {
		p.set("state", state)
		p.set("why", why)
	})
}

// sent says how a delivery ended, unless it was of a proof that is being made
// anew.
func (v payments) sent(tx *Tx, side identity.Side, payee identity.NodeID, id, state, why string) error {
	return v.update(tx, side, payee, id, func(p *row) {
		if s := p.text("state"); s != "signing" && s != "unsigned" {
			p.set("state", state)
			p.set("why", why)
		}
	})
}

func sum(shares []pay.Share) (total money.Amount) {
	for _, s := range shares {
		total = total.Add(s.Amount)
	}
	return total
}

// PaymentRow is a payment that was sent (side R) or received (side P).
type PaymentRow struct {
	ID        string
	Side      identity.Side
	Payer     identity.NodeID
	Payee     identity.NodeID
	PayeeAddr string
	PayerAddr string
	Platform  pay.Platform
	Amount    money.Amount
	Shares    []pay.Share
	Timestamp time.Time
	TxHash    string
	Signature []byte // with Canonical, or neither
	Canonical []byte // the bytes that were signed
	State     string // "signing", "unsigned", "signed", "delivered", "refused"; "claimed", "verified", "disproved", "finalised", "reversed"
	Why       string
	Listed    time.Time // since when REST lists it: its cursor; zero = it does not
	Recorded  time.Time
}

// PaymentFilter narrows a list. Owner must be set.
type PaymentFilter struct {
	Owner       identity.NodeID
	ID          string
	Side        identity.Side
	Driver      string
	Network     string
	AgreementID string // that a share is about
	ActivityIDs []string
	Session     string    // of the agreement of a share
	After       time.Time // exclusive, of Listed
	Unlisted    bool      // also those that REST does not list
	Limit       int
}

const paymentColumns = `p.id, p.side, p.payer, p.payee, p.payee_addr, p.payer_addr, p.platform, p.amount, p.shares, p.timestamp, p.tx_hash,
	p.signature, p.canonical, p.state, p.why, p.listed, p.recorded`

// Payments lists payments in the order in which REST came to list them.
func (p *Payment) Payments(ctx context.Context, f PaymentFilter) ([]PaymentRow, error) {
	var c conditions
	c.add(true, "(p.side = 'R' AND p.payer = ? OR p.side = 'P' AND p.payee = ?)", f.Owner, f.Owner)
	c.add(!f.Unlisted, "p.listed > 0 AND p.listed > ?", f.After)
	c.add(f.ID != "", "p.id = ?", f.ID)
	c.add(f.Side != "", "p.side = ?", f.Side)
	c.add(f.Driver != "", "p.platform LIKE ? || '-%'", f.Driver)
	c.add(f.Network != "", "p.platform LIKE '%-' || ? || '-%'", f.Network)
	c.add(f.AgreementID != "", `EXISTS (SELECT 1 FROM json_each(p.shares) s WHERE s.value ->> 'agreementId' = ?)`, f.AgreementID)
	c.add(len(f.ActivityIDs) > 0, `EXISTS (SELECT 1 FROM json_each(p.shares) s WHERE s.value ->> 'activityId' IN (`+marks(f.ActivityIDs)+`))`, anys(f.ActivityIDs)...)
	c.add(f.Session != "", `EXISTS (SELECT 1 FROM json_each(p.shares) s JOIN bills b ON b.side = p.side AND b.agreement_id = s.value ->> 'agreementId'
		WHERE b.session = ?)`, f.Session)
	return query(ctx, p.DB, scanPayment, `SELECT `+paymentColumns+` FROM payments p`+c.text+
		` ORDER BY p.listed, p.recorded LIMIT ?`, append(c.args, limit(f.Limit))...)
}

// Received lists the payments to all identities, also those that were dropped
// since, that rest on a transaction.
func (p *Payment) Received(ctx context.Context, txHash string) ([]PaymentRow, error) {
	return query(ctx, p.DB, scanPayment, `SELECT `+paymentColumns+` FROM payments p WHERE p.side = 'P' AND p.tx_hash = ? ORDER BY p.recorded`, txHash)
}

func scanPayment(s scanner) (r PaymentRow, err error) {
	var shares string
	err = s.Scan(&r.ID, &r.Side, &r.Payer, &r.Payee, &r.PayeeAddr, &r.PayerAddr, &r.Platform, amount{&r.Amount}, &shares,
		moment{&r.Timestamp}, &r.TxHash, &r.Signature, &r.Canonical, &r.State, &r.Why, moment{&r.Listed}, moment{&r.Recorded})
	if err == nil {
		err = json.Unmarshal([]byte(shares), &r.Shares)
	}
	return r, err
}
