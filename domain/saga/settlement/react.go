package settlement

import (
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/cycle"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/ops"
	"github.com/emet-node/emet/domain/payment/order"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
)

var own = identity.Caller{Actor: es.ActorSaga, Grade: es.GradeSelf}

func (c Config) react(s *State, r es.Recorded) []es.Order {
	switch e := r.Data.(type) {
	case allocation.Created:
		return c.configure(r, e)
	case cycle.RunRequested:
		return c.run(s, r, e)
	case order.IntentRecorded:
		return bind(e)
	case bill.Scheduled:
		if t := s.intents[e.IntentID]; t != nil && t.ready() && t.batch == "" {
			return c.seal(s, r, t)
		}
	case bill.Settled:
		if e.More && e.Side == identity.Requestor {
			return []es.Order{toBill(e.Side, e.AgreementID, bill.Settle{})}
		}
	case tx.Included:
		return s.mark(e)
	case tx.Orphaned:
		return s.unmark(e)
	case tx.Finalised:
		return s.spend(e)
	case order.TransferAdopted:
		return s.adopted(e)
	case tx.Superseded:
		return []es.Order{{Category: order.Category, ID: e.OrderID, Command: order.ReturnBatch{BatchID: e.BatchID, Why: e.Why}}}
	case tx.Reverted:
		return []es.Order{{Category: order.Category, ID: e.OrderID, Command: order.ReturnBatch{
			BatchID: e.BatchID, Why: "the transaction failed in block " + fmt.Sprint(e.BlockNumber),
		}}}
	}
	return nil
}

// configure gives a payer that never allocated before a cycle.
func (c Config) configure(r es.Recorded, e allocation.Created) []es.Order {
	interval, extra := c.Cycle(e.Platform)
	return []es.Order{{Category: cycle.Category, ID: cycle.StreamID(e.Platform, e.Address), Command: cycle.Configure{
		Address: e.Address, At: r.Recorded, By: own, ExtraPayTime: extra, Interval: interval,
		OnlyIfNew: true, OwnerID: e.OwnerID, Platform: e.Platform,
	}}}
}

// run opens the orders that were prepared, and seals again what an earlier run
// could not send: a wallet was suspended, or a transaction failed. Orders of
// earlier runs that nobody opened are among them: the network was not configured
// then.
func (c Config) run(s *State, r es.Recorded, e cycle.RunRequested) []es.Order {
	var out []es.Order
	key := cycle.StreamID(e.Platform, e.Address)
	for _, run := range s.prepared[key] {
		for _, open := range run {
			out = append(out, es.Order{Category: order.Category, ID: open.OrderID, Command: open, Identity: string(e.OwnerID)})
		}
	}
	var stuck []string
	for id, t := range s.intents {
		if o := s.orders[t.intent.OrderID]; o != nil && o.opened.CycleID == key && t.ready() && t.batch == "" {
			stuck = append(stuck, id)
		}
	}
	slices.Sort(stuck)
	for _, id := range stuck {
		out = append(out, c.seal(s, r, s.intents[id])...)
	}
	return out
}

// bind tells the bills which of their ranges the intent will pay.
func bind(e order.IntentRecorded) []es.Order {
	var out []es.Order
	for _, id := range agreements(e.Ranges) {
		out = append(out, toBill(identity.Requestor, id, bill.Schedule{
			IntentID: e.IntentID, OrderID: e.OrderID, PaymentID: e.PaymentID, Ranges: of(e.Ranges, id),
		}))
	}
	return out
}

// seal asks for a nonce for a transfer. What cannot be written as a call (an
// amount beyond the token's field) stays with its order.
func (c Config) seal(s *State, r es.Recorded, t *transfer) []es.Order {
	o := s.orders[t.intent.OrderID]
	if o == nil {
		return nil
	}
	if by := s.carrier(o.opened.CycleID, t); by != nil {
		return []es.Order{{Category: order.Category, ID: o.opened.OrderID, Identity: string(o.opened.PayerID), Command: order.Adopt{
			Block: by.block, IntentID: t.intent.IntentID, TxHash: by.tx,
		}}}
	}
	profile, ok := c.Profile(o.opened.Platform)
	to, err := t.payment()
	if !ok || err != nil {
		return nil
	}
	payer, err := onchain.ParseAddress(o.opened.PayerAddr)
	if err != nil {
		return nil
	}
	call, err := onchain.Pay(profile, payer, []onchain.Payment{to})
	if err != nil {
		return nil
	}
	value := money.FromWei(call.Value)
	batch := es.NameID(es.ID{}, fmt.Sprintf("batch/%s/%d", t.intent.IntentID, r.Position)).String()
	return []es.Order{{Category: ops.Category, ID: o.opened.OrderID, Identity: string(o.opened.PayerID), Command: ops.ReserveNonce{
		Address: o.opened.PayerAddr, BatchID: batch, Calldata: "0x" + hex.EncodeToString(call.Data), ChainID: o.opened.ChainID,
		Intents: []string{t.intent.IntentID}, OrderID: o.opened.OrderID, OwnerID: o.opened.PayerID,
		PayloadHash: payload(o.opened.ChainID, call, value), Platform: o.opened.Platform, To: call.To.String(), Value: value,
	}}}
}

// payload names what a nonce carries: Keccak-256 of chain, receiver, value and
// call data.
func payload(chainID uint64, call onchain.Call, value money.Amount) string {
	text := fmt.Sprintf("%d/%s/%s/", chainID, call.To, value.WeiString())
	return onchain.Keccak256(append([]byte(text), call.Data...)).String()
}

// mark says to the bills that a transfer is on the chain.
func (s *State) mark(e tx.Included) []es.Order {
	if e.Status == 0 {
		return nil // whether it stays so is known when the block is final
	}
	var out []es.Order
	for _, t := range s.inBatch(e.OrderID, e.BatchID) {
		for _, id := range agreements(t.intent.Ranges) {
			out = append(out, toBill(identity.Requestor, id, bill.MarkPaid{IntentID: t.intent.IntentID, TxHash: e.Hash}))
		}
	}
	return out
}

// unmark takes it back; bills that were never told stay silent.
func (s *State) unmark(e tx.Orphaned) []es.Order {
	var out []es.Order
	for _, t := range s.inBatch(e.OrderID, e.BatchID) {
		for _, id := range agreements(t.intent.Ranges) {
			out = append(out, toBill(identity.Requestor, id, bill.ReversePayment{
				PaymentID: t.intent.PaymentID, Why: "block " + e.BlockHash + " left the chain",
			}))
		}
	}
	return out
}

// spend closes the books on a final transfer: the money has left the budget
// and the wallet.
func (s *State) spend(e tx.Finalised) []es.Order {
	o := s.orders[e.OrderID]
	if o == nil {
		return nil
	}
	var out []es.Order
	for _, t := range s.inBatch(e.OrderID, e.BatchID) {
		out = append(out, o.spent(t, e.BlockNumber)...)
	}
	return append(out, o.done()...)
}

// spent takes a transfer out of the budget and the wallet.
func (o *run) spent(t *transfer, block uint64) (out []es.Order) {
	for _, part := range byAllocation(t.intent.Ranges) {
		out = append(out,
			es.Order{Category: allocation.Category, ID: part.AllocationID, Command: allocation.Spend{
				Delta: part.To, IntentID: t.intent.IntentID,
			}},
			es.Order{Category: wallet.Category, ID: wallet.StreamID(o.opened.ChainID, o.opened.PayerAddr), Command: wallet.Spend{
				AllocationID: part.AllocationID, Amount: part.To, Block: block, IntentID: t.intent.IntentID,
			}})
	}
	return out
}

// done completes an order all of whose transfers are final.
func (o *run) done() []es.Order {
	if len(o.final) < len(o.intents) {
		return nil
	}
	return []es.Order{{Category: order.Category, ID: o.opened.OrderID, Command: order.Complete{}}}
}

// byAllocation adds up ranges by allocation; the sum is in To.
func byAllocation(ranges []payment.Range) []payment.Range {
	var out []payment.Range
	for _, r := range ranges {
		i := slices.IndexFunc(out, func(x payment.Range) bool { return x.AllocationID == r.AllocationID })
		if i < 0 {
			out = append(out, payment.Range{AllocationID: r.AllocationID, To: r.Amount()})
			continue
		}
		out[i].To = out[i].To.Add(r.Amount())
	}
	return out
}

func toBill(side identity.Side, agreementID string, c bill.Command) es.Order {
	return es.Order{Category: bill.Category, ID: bill.StreamID(side, agreementID), Correlation: agreementID, Command: c}
}
