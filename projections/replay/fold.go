package replay

import (
	"context"

	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/activity/usage"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity/account"
	"github.com/emet-node/emet/domain/identity/appkey"
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
	fold(s es.Stream, fact any)
	streams() int
}

type states[C, E, S any] struct {
	rules  es.Decider[C, E, S]
	states map[es.Stream]*S
}

func (x *states[C, E, S]) fold(s es.Stream, fact any) {
	e, ok := fact.(E)
	if !ok {
		return
	}
	state := x.states[s]
	if state == nil {
		state = new(S)
		x.states[s] = state
	}
	*state = x.rules.Evolve(*state, e)
}

func (x *states[C, E, S]) streams() int { return len(x.states) }

func statesOf[C, E, S any](rules es.Decider[C, E, S]) folder {
	return &states[C, E, S]{rules: rules, states: make(map[es.Stream]*S)}
}

// Fold folds every fact of a log into the state of its stream, all in memory,
// and says how many streams there are. It is what a node does with the streams
// that it works on, for all of them.
func Fold(ctx context.Context, log *es.Log) (streams int, err error) {
	all := map[string]folder{
		account.Category: statesOf(account.Rules), appkey.Category: statesOf(appkey.Rules), offer.Category: statesOf(offer.Rules),
		demand.Category: statesOf(demand.Rules), inbox.Category: statesOf(inbox.Rules), negotiation.Category: statesOf(negotiation.Rules),
		agreement.Category: statesOf(agreement.Rules), activity.Category: statesOf(activity.Rules), batch.Category: statesOf(batch.Rules),
		usage.Category: statesOf(usage.Rules), bill.Category: statesOf(bill.Rules), allocation.Category: statesOf(allocation.Rules),
		wallet.Category: statesOf(wallet.Rules), order.Category: statesOf(order.Rules), tx.Category: statesOf(tx.Rules),
		payment.Category: statesOf(payment.Rules), cycle.Category: statesOf(cycle.Rules), agent.Category: statesOf(agent.Rules),
	}
	for e, err := range log.Store.ReadAll(ctx, 0, es.Forward, es.Filter{}, 0) {
		if err != nil {
			return 0, err
		}
		f := all[e.Stream.Category()]
		if f == nil {
			continue
		}
		fact, err := log.Content(ctx, &e)
		if err != nil {
			return 0, err
		}
		f.fold(e.Stream, fact)
	}
	for _, f := range all {
		streams += f.streams()
	}
	return streams, nil
}
