// Package verification credits payments that the chain bears out to the bills
// of the provider, and takes them back when their block is lost.
package verification

import (
	"slices"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/payment"
)

// State is the claims that may still change, and the agreements of all
// activities that were billed: a payment names activities only. It belongs to
// the process and is changed in place.
type State struct {
	agreements map[string]string          // by activity
	claims     map[string]payment.Claimed // by stream id
}

// Saga is the process; one instance sees all payments of the node.
var Saga = es.Saga[*State]{
	Name: "verification",
	Hears: []string{
		"bill.note_issued.v1", "bill.settled.v1", "payment.claimed.v1", "payment.verified.v1",
		"payment.disproved.v1", "payment.finalised.v1", "payment.reversed.v1",
	},
	Instance: func(es.Recorded) string { return "node" },
	Evolve:   evolve,
	React:    react,
}

func evolve(s *State, r es.Recorded) *State {
	if s == nil {
		s = &State{agreements: make(map[string]string), claims: make(map[string]payment.Claimed)}
	}
	switch e := r.Data.(type) {
	case bill.NoteIssued:
		s.agreements[e.ActivityID] = e.AgreementID
	case payment.Claimed:
		e.Canonical, e.Signature = nil, nil // what they say is in the shares
		s.claims[r.Stream.Key()] = e
	case payment.Disproved, payment.Finalised: // another attempt is another claim
		delete(s.claims, r.Stream.Key())
	}
	return s
}

func react(s *State, r es.Recorded) []es.Order {
	claim, ok := s.claims[r.Stream.Key()]
	switch e := r.Data.(type) {
	case payment.Verified:
		if ok {
			return s.credit(claim, e)
		}
	case payment.Reversed:
		var out []es.Order
		for _, id := range s.touched(claim) {
			out = append(out, toBill(id, bill.ReversePayment{PaymentID: e.PaymentID, Why: e.Why}))
		}
		return out
	case bill.Settled:
		if e.More && e.Side == identity.Provider {
			return []es.Order{toBill(e.AgreementID, bill.Settle{})}
		}
	}
	return nil
}

func (s *State) credit(claim payment.Claimed, e payment.Verified) []es.Order {
	var out []es.Order
	for _, id := range s.touched(claim) {
		shares := slices.DeleteFunc(slices.Clone(claim.Shares), func(x pay.Share) bool { return s.agreementOf(x) != id })
		out = append(out, toBill(id, bill.CreditPayment{
			PayeeAddr: claim.PayeeAddr, PayerAddr: claim.PayerAddr, PaymentID: e.PaymentID, Platform: claim.Platform,
			Shares: shares, TxHash: e.TxHash,
		}))
	}
	return out
}

func (s *State) agreementOf(x pay.Share) string {
	if x.AgreementID != "" {
		return x.AgreementID
	}
	return s.agreements[x.ActivityID]
}

// touched are the agreements that a claim pays for, in order.
func (s *State) touched(claim payment.Claimed) []string {
	var out []string
	for _, x := range claim.Shares {
		if id := s.agreementOf(x); id != "" && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

func toBill(agreementID string, c bill.Command) es.Order {
	return es.Order{Category: bill.Category, ID: bill.StreamID(identity.Provider, agreementID), Correlation: agreementID, Command: c}
}
