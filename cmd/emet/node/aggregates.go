package node

import (
	"context"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/adapters/ledger"
	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/activity/usage"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity/account"
	"github.com/emet-node/emet/domain/identity/appkey"
	"github.com/emet-node/emet/domain/identity/contact"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/demand"
	"github.com/emet-node/emet/domain/market/inbox"
	"github.com/emet-node/emet/domain/market/negotiation"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/cycle"
	"github.com/emet-node/emet/domain/payment/ops"
	"github.com/emet-node/emet/domain/payment/order"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
	"github.com/emet-node/emet/domain/provider/agent"
)

// Aggregates are all streams of a node, by category.
type Aggregates struct {
	Accounts     *es.Aggregate[account.Command, account.Event, account.State]
	AppKeys      *es.Aggregate[appkey.Command, appkey.Event, appkey.State]
	Offers       *es.Aggregate[offer.Command, offer.Event, offer.State]
	Demands      *es.Aggregate[demand.Command, demand.Event, demand.State]
	Inboxes      *es.Aggregate[inbox.Command, inbox.Event, inbox.State]
	Negotiations *es.Aggregate[negotiation.Command, negotiation.Event, negotiation.State]
	Agreements   *es.Aggregate[agreement.Command, agreement.Event, agreement.State]
	Activities   *es.Aggregate[activity.Command, activity.Event, activity.State]
	Batches      *es.Aggregate[batch.Command, batch.Event, batch.State]
	Usage        *es.Aggregate[usage.Command, usage.Event, usage.State]
	Bills        *es.Aggregate[bill.Command, bill.Event, bill.State]
	Allocations  *es.Aggregate[allocation.Command, allocation.Event, allocation.State]
	Wallets      *es.Aggregate[wallet.Command, wallet.Event, wallet.State]
	Orders       *es.Aggregate[order.Command, order.Event, order.State]
	Txs          *es.Aggregate[tx.Command, tx.Event, tx.State]
	Payments     *es.Aggregate[payment.Command, payment.Event, payment.State]
	Cycles       *es.Aggregate[cycle.Command, cycle.Event, cycle.State]
	Providers    *es.Aggregate[agent.Command, agent.Event, agent.State]
	Contacts     *es.Aggregate[contact.Command, contact.Event, contact.State]
	Ops          *ops.Ops
	// Watch knows whether the log is the newest copy.
	Watch *ledger.Watch
}

func newAggregates(l *es.Log) *Aggregates {
	a := &Aggregates{
		Accounts:     es.NewAggregate(l, account.Category, account.Rules),
		AppKeys:      es.NewAggregate(l, appkey.Category, appkey.Rules),
		Offers:       es.NewAggregate(l, offer.Category, offer.Rules),
		Demands:      es.NewAggregate(l, demand.Category, demand.Rules),
		Inboxes:      es.NewAggregate(l, inbox.Category, inbox.Rules),
		Negotiations: es.NewAggregate(l, negotiation.Category, negotiation.Rules),
		Agreements:   es.NewAggregate(l, agreement.Category, agreement.Rules),
		Activities:   es.NewAggregate(l, activity.Category, activity.Rules),
		Batches:      es.NewAggregate(l, batch.Category, batch.Rules),
		Usage:        es.NewAggregate(l, usage.Category, usage.Rules),
		Bills:        es.NewAggregate(l, bill.Category, bill.Rules),
		Allocations:  es.NewAggregate(l, allocation.Category, allocation.Rules),
		Wallets:      es.NewAggregate(l, wallet.Category, wallet.Rules),
		Orders:       es.NewAggregate(l, order.Category, order.Rules),
		Txs:          es.NewAggregate(l, tx.Category, tx.Rules),
		Payments:     es.NewAggregate(l, payment.Category, payment.Rules),
		Cycles:       es.NewAggregate(l, cycle.Category, cycle.Rules),
		Providers:    es.NewAggregate(l, agent.Category, agent.Rules),
		Contacts:     es.NewAggregate(l, contact.Category, contact.Rules),
	}
	a.Watch = ledger.NewWatch(l, nil)
	a.Agreements.Guard, a.Wallets.Guard = a.guardAgreement, a.guardWallet
	a.Ops = &ops.Ops{Log: l, Allocations: a.Allocations, Bills: a.Bills, Orders: a.Orders, Txs: a.Txs, Wallets: a.Wallets}
	return a
}

// guardAgreement lets a node that lost some of its history agree to nothing new.
func (a *Aggregates) guardAgreement(ctx context.Context, c agreement.Command) error {
	switch c.(type) {
	case agreement.Create, agreement.Confirm, agreement.Receive, agreement.Approve:
		return a.Watch.Held(ctx)
	}
	return nil
}

// guardWallet lets it pay nothing.
func (a *Aggregates) guardWallet(ctx context.Context, c wallet.Command) error {
	if _, pays := c.(wallet.ReserveNonce); pays {
		return a.Watch.Held(ctx)
	}
	return nil
}

// router finds the aggregate of an order.
func (a *Aggregates) router() effects.Router {
	return effects.Router{
		account.Category: a.Accounts, appkey.Category: a.AppKeys, offer.Category: a.Offers, demand.Category: a.Demands,
		inbox.Category: a.Inboxes, negotiation.Category: a.Negotiations, agreement.Category: a.Agreements,
		activity.Category: a.Activities, batch.Category: a.Batches, usage.Category: a.Usage, bill.Category: a.Bills,
		allocation.Category: a.Allocations, wallet.Category: a.Wallets, order.Category: a.Orders, tx.Category: a.Txs,
		payment.Category: a.Payments, cycle.Category: a.Cycles, agent.Category: a.Providers, contact.Category: a.Contacts, ops.Category: a.Ops,
	}
}
