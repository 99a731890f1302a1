package settlement

import (
	"slices"
	"strings"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/cycle"
	"github.com/emet-node/emet/domain/payment/order"
	"github.com/emet-node/emet/domain/payment/wallet"
)

// credit is a transfer that a lost part of the history made. Debts to its payee
// count as paid by it, as far as it goes, before anything new is sent.
type credit struct {
	tx, payee string
	block     uint64
	left      money.Amount
}

// paidBefore is what a credit covers of some debts.
type paidBefore struct {
	by     *credit
	ranges []payment.Range
}

func (s *State) learn(e wallet.TransferLearned) {
	key := cycle.StreamID(e.Platform, e.Address)
	s.credits[key] = append(s.credits[key], &credit{tx: e.TxHash, payee: strings.ToLower(e.PayeeAddr), block: e.Block, left: e.Amount})
}

// settledBefore takes from the debts to a payee what credits cover.
func (s *State) settledBefore(key, payee string, debts *[]payment.Range) (out []paidBefore) {
	for _, by := range s.credits[key] {
		if by.payee != payee || by.left.IsZero() || len(*debts) == 0 {
			continue
		}
		var covered []payment.Range
		covered, *debts = split(*debts, by.left)
		by.left = by.left.Sub(payment.Total(covered))
		out = append(out, paidBefore{by, covered})
	}
	return out
}

// split cuts debts after an amount.
func split(debts []payment.Range, amount money.Amount) (before, after []payment.Range) {
	for i, r := range debts {
		if amount.Less(r.Amount()) {
			if cut := r.From.Add(amount); r.From.Less(cut) {
				head := r
				head.To, r.From = cut, cut
				before = append(before, head)
			}
			return before, append([]payment.Range{r}, debts[i+1:]...)
		}
		amount = amount.Sub(r.Amount())
		before = append(before, r)
	}
	return before, nil
}

// carrier is the learned transfer that carries an intent, nil when there is
// none. An intent that was recorded before the transfer was learned is carried
// as a whole or not at all.
func (s *State) carrier(key string, t *transfer) *credit {
	id := t.intent.IntentID
	if by := s.carried[id]; by != nil {
		return by
	}
	payee := strings.ToLower(t.intent.PayeeAddr)
	i := slices.IndexFunc(s.credits[key], func(c *credit) bool { return c.payee == payee && !c.left.Less(t.intent.Amount) })
	if i < 0 {
		return nil
	}
	by := s.credits[key][i]
	by.left = by.left.Sub(t.intent.Amount)
	s.carried[id] = by
	return by
}

// adopted closes the books on an intent that was paid before.
func (s *State) adopted(e order.TransferAdopted) (out []es.Order) {
	o, t := s.orders[e.OrderID], s.intents[e.IntentID]
	if o == nil || t == nil {
		return nil
	}
	for _, id := range agreements(t.intent.Ranges) {
		out = append(out, toBill(identity.Requestor, id, bill.MarkPaid{IntentID: e.IntentID, TxHash: e.TxHash}))
	}
	return append(append(out, o.spent(t, e.Block)...), o.done()...)
}
