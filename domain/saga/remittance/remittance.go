// Package remittance gives payees their proof: when a transfer is on the
// chain, the payment is signed for each node that it pays, and sent there.
package remittance

import (
	"slices"
	"strings"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/account"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/order"
	"github.com/emet-node/emet/domain/payment/payment"
)

// State is the payments of the node that are on their way. It belongs to the
// process and is changed in place.
type State struct {
	orders   map[string]order.Opened
	intents  map[string]order.IntentRecorded // by payment id
	unsigned map[string]map[identity.NodeID]identity.NodeID
	unlocked map[identity.NodeID]es.Position // when an identity was last
	refused  map[string][]identity.NodeID    // payees, by payment id
}

// Saga is the process. Several payments wait for one identity to be unlocked,
// so one instance sees them all.
var Saga = es.Saga[*State]{
	Name: "remittance",
	Hears: []string{
		"order.opened.v1", "order.intent_recorded.v1", "bill.paid.v1", "allocation.spent.v1",
		"payment.signing_requested.v1", "payment.signing_failed.v1", "payment.signed.v1",
		"payment.refused.v1", "payment.delivered.v1", "identity.unlocked.v1",
	},
	Instance: func(es.Recorded) string { return "node" },
	Evolve:   evolve,
	React:    react,
}

func evolve(s *State, r es.Recorded) *State {
	if s == nil {
		s = &State{
			orders: make(map[string]order.Opened), intents: make(map[string]order.IntentRecorded),
			unsigned: make(map[string]map[identity.NodeID]identity.NodeID), refused: make(map[string][]identity.NodeID),
			unlocked: make(map[identity.NodeID]es.Position),
		}
	}
	switch e := r.Data.(type) {
	case order.Opened:
		s.orders[e.OrderID] = e
	case order.IntentRecorded:
		s.intents[e.PaymentID] = e
	case payment.SigningFailed:
		if s.unsigned[e.PaymentID] == nil {
			s.unsigned[e.PaymentID] = make(map[identity.NodeID]identity.NodeID)
		}
		s.unsigned[e.PaymentID][e.PayeeID] = s.payer(e.PaymentID)
	case payment.SigningRequested:
		delete(s.unsigned[e.PaymentID], e.PayeeID)
	case account.Unlocked:
		s.unlocked[lower(e.Identity)] = r.Position
	case payment.Refused:
		s.refused[e.PaymentID] = append(s.refused[e.PaymentID], e.PayeeID)
	case payment.Delivered:
		s.refused[e.PaymentID] = slices.DeleteFunc(s.refused[e.PaymentID], func(n identity.NodeID) bool { return n == e.PayeeID })
	}
	return s
}

func lower(id identity.NodeID) identity.NodeID { return identity.NodeID(strings.ToLower(string(id))) }

func (s *State) payer(paymentID string) identity.NodeID {
	return s.orders[s.intents[paymentID].OrderID].PayerID
}

func react(s *State, r es.Recorded) []es.Order {
	switch e := r.Data.(type) {
	case bill.Paid:
		if e.Side == identity.Requestor {
			return s.sign(r, e.PaymentID, e.TxHash)
		}
	case payment.SigningFailed:
		// Was it unlocked between the wish and the failure? Nobody will say so again.
		if asked := r.Info.Cause; asked != nil && s.unlocked[lower(s.payer(e.PaymentID))] > *asked {
			return []es.Order{{Category: payment.Category, ID: payment.SentID(e.PaymentID), Command: payment.SignAgain{}}}
		}
	case payment.Signed:
		return []es.Order{deliver(e.PaymentID, e.PayeeID)}
	case allocation.Spent:
		return s.insist(e)
	case account.Unlocked:
		return s.signAgain(r, e.Identity)
	}
	return nil
}

// sign asks for the proof of each payee of a transfer, with all its shares at
// once: the first bill that is paid speaks for the others.
func (s *State) sign(r es.Recorded, paymentID, txHash string) []es.Order {
	i, ok := s.intents[paymentID]
	o, known := s.orders[i.OrderID]
	if !ok || !known {
		return nil
	}
	var payees []identity.NodeID
	for _, x := range i.Ranges {
		if !slices.Contains(payees, x.PayeeID) {
			payees = append(payees, x.PayeeID)
		}
	}
	var out []es.Order
	for _, payee := range payees {
		mine := slices.DeleteFunc(slices.Clone(i.Ranges), func(x pay.Range) bool { return x.PayeeID != payee })
		out = append(out, es.Order{
			Category: payment.Category, ID: payment.SentID(paymentID), Identity: string(o.PayerID),
			Command: payment.RequestSigning{
				PayeeAddr: i.PayeeAddr, PayeeID: payee, PayerAddr: o.PayerAddr, PayerID: o.PayerID, PaymentID: paymentID,
				Platform: o.Platform, Shares: pay.Shares(mine), Timestamp: r.Recorded, TxHash: txHash,
			},
		})
	}
	return out
}

func deliver(paymentID string, payee identity.NodeID) es.Order {
	return es.Order{Category: payment.Category, ID: payment.SentID(paymentID), Command: payment.RequestDelivery{PayeeID: payee}}
}

// insist sends a refused proof once more when its transfer is final: the payee
// may have looked at the chain too early.
func (s *State) insist(e allocation.Spent) []es.Order {
	id := order.PaymentID(e.IntentID)
	if id == "" {
		return nil
	}
	payees := slices.Compact(slices.Sorted(slices.Values(s.refused[id])))
	delete(s.refused, id)
	var out []es.Order
	for _, payee := range payees {
		out = append(out, deliver(id, payee))
	}
	return out
}

func (s *State) signAgain(r es.Recorded, who identity.NodeID) []es.Order {
	var ids []string
	for id, waiting := range s.unsigned {
		for _, payer := range waiting {
			if strings.EqualFold(string(payer), string(who)) && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	var out []es.Order
	for _, id := range ids {
		out = append(out, es.Order{Category: payment.Category, ID: payment.SentID(id), Command: payment.SignAgain{}})
	}
	return out
}
