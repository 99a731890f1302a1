package replay

import (
	"context"

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
	"github.com/emet-node/emet/domain/payment/order"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
	"github.com/emet-node/emet/domain/provider/agent"
)

// folder holds the states of all streams of one category.
type folder interface {
	fold(stream []byte, fact any)
	streams() int
}

type states[C, E, S any] struct {
	rules  es.Decider[C, E, S]
	states map[string]*S
}

func (x *states[C, E, S]) fold(stream []byte, fact any) {
	e, ok := fact.(E)
	if !ok {
		return
	}
	state := x.states[string(stream)]
	if state == nil {
		state = new(S)
		x.states[string(stream)] = state
	}
	*state = x.rules.Evolve(*state, e)
}

func (x *states[C, E, S]) streams() int { return len(x.states) }

func statesOf[C, E, S any](rules es.Decider[C, E, S]) folder {
	return &states[C, E, S]{rules: rules, states: make(map[string]*S)}
}

// folders are the states of a share of all streams, by category.
type folders struct {
	log *es.Log
	all map[string]folder
}

func newFolders(log *es.Log) folders {
	return folders{log, map[string]folder{
		account.Category: statesOf(account.Rules), appkey.Category: statesOf(appkey.Rules), offer.Category: statesOf(offer.Rules),
		demand.Category: statesOf(demand.Rules), inbox.Category: statesOf(inbox.Rules), negotiation.Category: statesOf(negotiation.Rules),
		agreement.Category: statesOf(agreement.Rules), activity.Category: statesOf(activity.Rules), batch.Category: statesOf(batch.Rules),
		usage.Category: statesOf(usage.Rules), bill.Category: statesOf(bill.Rules), allocation.Category: statesOf(allocation.Rules),
		wallet.Category: statesOf(wallet.Rules), order.Category: statesOf(order.Rules), tx.Category: statesOf(tx.Rules),
		payment.Category: statesOf(payment.Rules), cycle.Category: statesOf(cycle.Rules), agent.Category: statesOf(agent.Rules),
		contact.Category: statesOf(contact.Rules),
	}}
}

// see implements worker.
func (f folders) see(ctx context.Context, e *es.Lent) error {
	states := f.all[string(e.Category())]
	if states == nil {
		return nil
	}
	fact, err := f.log.Fact(ctx, e)
	if err == nil {
		states.fold(e.Stream, fact)
	}
	return err
}

// Fold folds every fact of a log into the state of its stream, all in memory,
// and says how many streams there are. It is what a node does with the streams
// that it works on, for all of them, on all processors.
func Fold(ctx context.Context, log *es.Log) (streams int, err error) {
	shares, err := share(ctx, log.Store, func() folders { return newFolders(log) })
	if err != nil {
		return 0, err
	}
	for _, share := range shares {
		for _, f := range share.all {
			streams += f.streams()
		}
	}
	return streams, nil
}
