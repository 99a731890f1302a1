package projections

import (
	"context"
	"encoding/json"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/order"
	"github.com/emet-node/emet/domain/payment/tx"
)

// orders answers "which settlement runs were there, and what do they pay?".
type orders struct{}

func (orders) Name() string { return "orders/2" }

func (orders) Schema() string {
	return `CREATE TABLE orders (
		id TEXT PRIMARY KEY, owner TEXT NOT NULL, payer_addr TEXT NOT NULL, platform TEXT NOT NULL, chain_id INTEGER NOT NULL,
		total TEXT NOT NULL, completed INTEGER NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL);
	CREATE TABLE order_items (
		order_id TEXT NOT NULL, intent TEXT NOT NULL, payee_addr TEXT NOT NULL, amount TEXT NOT NULL, payment_id TEXT NOT NULL,
		ranges TEXT NOT NULL, batch TEXT NOT NULL, paid INTEGER NOT NULL, recorded INTEGER NOT NULL,
		PRIMARY KEY (order_id, intent)) WITHOUT ROWID;
	CREATE INDEX order_items_by_batch ON order_items (batch)`
}

func (orders) Hears() []string {
	return []string{
		"order.opened.v1", "order.intent_recorded.v1", "order.batch_sealed.v1", "order.batch_returned.v1", "order.transfer_adopted.v1",
		"order.completed.v1",
		"tx.included.v1", "tx.orphaned.v1",
	}
}

func (v orders) Apply(t *Tx, r es.Recorded) error {
	switch e := r.Data.(type) {
	case order.Opened:
		return t.insert("orders", e.OrderID, e.PayerID, e.PayerAddr, e.Platform, e.ChainID, e.Total, 0, r.Recorded, r.Recorded)
	case order.IntentRecorded:
		ranges, err := json.Marshal(e.Ranges)
		if err != nil {
			return err
		}
		return t.insertNew("order_items", e.OrderID, e.IntentID, e.PayeeAddr, e.Amount, e.PaymentID, string(ranges), "", 0, r.Recorded)
	case order.BatchSealed:
		for _, intent := range e.Intents {
			if err := t.update("order_items", func(i *row) { i.set("batch", e.BatchID) }, e.OrderID, intent); err != nil {
				return err
			}
		}
		return t.update("orders", func(o *row) { o.set("updated", r.Recorded) }, e.OrderID)
	case order.BatchReturned:
		return v.items(t, e.OrderID, e.BatchID, func(i *row) {
			i.set("batch", "")
			i.set("paid", 0)
		})
	case order.TransferAdopted: // by the chain, before the log lost it
		return t.update("order_items", func(i *row) { i.set("paid", 1) }, e.OrderID, e.IntentID)
	case tx.Included:
		return v.items(t, e.OrderID, e.BatchID, func(i *row) { i.set("paid", e.Status == 1) })
	case tx.Orphaned:
		return v.items(t, e.OrderID, e.BatchID, func(i *row) { i.set("paid", 0) })
	case order.Completed:
		return t.update("orders", func(o *row) {
			o.set("completed", 1)
			o.set("updated", r.Recorded)
		}, e.OrderID)
	}
	return nil
}

// items changes the transfers of a batch.
func (orders) items(t *Tx, id, batch string, change func(i *row)) error {
	all, err := t.group("order_items", id)
	for _, i := range all {
		if i.text("batch") == batch {
			change(i)
		}
	}
	return err
}

// OrderRow is a settlement run ("batch order" in REST).
type OrderRow struct {
	ID        string
	Owner     identity.NodeID
	PayerAddr string
	Platform  payment.Platform
	ChainID   uint64
	Total     money.Amount
	Paid      money.Amount
	Completed bool
	Created   time.Time
	Updated   time.Time
}

// Orders lists settlement runs of owner, oldest first. ID "" means all.
func (p *Payment) Orders(ctx context.Context, owner identity.NodeID, id string) ([]OrderRow, error) {
	var c conditions
	c.add(true, "owner = ?", owner)
	c.add(id != "", "id = ?", id)
	rows, err := query(ctx, p.DB, func(s scanner) (r OrderRow, err error) {
		return r, s.Scan(&r.ID, &r.Owner, &r.PayerAddr, &r.Platform, &r.ChainID, amount{&r.Total}, &r.Completed, moment{&r.Created}, moment{&r.Updated})
	}, `SELECT id, owner, payer_addr, platform, chain_id, total, completed, created, updated FROM orders`+c.text+` ORDER BY created`, c.args...)
	if err != nil || len(rows) == 0 {
		return rows, err
	}
	items, err := p.OrderItems(ctx, owner, id)
	paid := make(map[string]money.Amount)
	for _, it := range items {
		if it.Paid {
			paid[it.OrderID] = paid[it.OrderID].Add(it.Amount)
		}
	}
	for i := range rows {
		rows[i].Paid = paid[rows[i].ID]
	}
	return rows, err
}

// OrderItemRow is one transfer of a settlement run.
type OrderItemRow struct {
	OrderID   string
	Owner     identity.NodeID
	IntentID  string
	PayeeAddr string
	Amount    money.Amount
	PaymentID string
	Ranges    []payment.Range
	BatchID   string // "" while it is in no transaction
	Paid      bool   // a transaction that carries it is in a block
	Recorded  time.Time
}

// OrderItems lists the transfers of one of owner's runs; orderID "" means all.
func (p *Payment) OrderItems(ctx context.Context, owner identity.NodeID, orderID string) ([]OrderItemRow, error) {
	var c conditions
	c.add(true, "o.owner = ?", owner)
	c.add(orderID != "", "i.order_id = ?", orderID)
	return query(ctx, p.DB, func(s scanner) (r OrderItemRow, err error) {
		var ranges string
		err = s.Scan(&r.OrderID, &r.Owner, &r.IntentID, &r.PayeeAddr, amount{&r.Amount}, &r.PaymentID, &ranges, &r.BatchID, &r.Paid, moment{&r.Recorded})
		if err == nil {
			err = json.Unmarshal([]byte(ranges), &r.Ranges)
		}
		return r, err
	}, `SELECT i.order_id, o.owner, i.intent, i.payee_addr, i.amount, i.payment_id, i.ranges, i.batch, i.paid, i.recorded
		FROM order_items i JOIN orders o ON o.id = i.order_id`+c.text+` ORDER BY i.recorded, i.intent`, c.args...)
}
