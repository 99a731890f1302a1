package remittance_test

import (
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/account"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/order"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/saga/remittance"
)

// Several nodes may be paid at one address, by one transfer: each gets a proof
// of its own over what it is owed, and no other.
func TestNodesThatShareAnAddressGetAProofEach(t *testing.T) {
	t.Parallel()
	const (
		payer    = identity.NodeID("0x00000000000000000000000000000000000000bb")
		one, two = identity.NodeID("0x0000000000000000000000000000000000000001"), identity.NodeID("0x0000000000000000000000000000000000000002")
		shared   = "0x00000000000000000000000000000000000000cc"
		intent   = "00000000000000000000000000000001ffffffffffffffffffffffffffffffff"
	)
	p := remittance.Saga.Start()
	position := es.Position(0)
	hear := func(stream, typ string, fact any) []es.Command {
		position++
		return p.Hear(es.Recorded{
			Event: es.Event{NewEvent: es.NewEvent{Type: typ}, Stream: es.Stream(stream), Position: position, Recorded: time.Unix(int64(position), 0)}, Data: fact,
		})
	}
	rng := func(agreement, activity, to string, payee identity.NodeID) pay.Range {
		return pay.Range{ActivityID: activity, AgreementID: agreement, PayeeID: payee, To: money.MustParse(to)}
	}
	ranges := []pay.Range{rng("a1", "x", "1", one), rng("a1", "", "2", one), rng("a2", "", "4", two)}
	hear("order-o", "order.opened.v1", order.Opened{OrderID: "o", PayerAddr: string(payer), PayerID: payer, Platform: "erc20-hoodi-tglm"})
	hear("order-o", "order.intent_recorded.v1", order.IntentRecorded{IntentID: intent, OrderID: "o", PayeeAddr: shared, PaymentID: intent[:32], Ranges: ranges})
	asked := hear("bill-R-a1", "bill.paid.v1", bill.Paid{AgreementID: "a1", PaymentID: intent[:32], Ranges: ranges[:2], Side: "R", TxHash: "0x1"})
	if len(asked) != 2 {
		t.Fatalf("%d proofs", len(asked))
	}
	want := map[identity.NodeID]string{one: "3", two: "4"}
	for _, c := range asked {
		r := c.Command.(payment.RequestSigning)
		sum := money.Amount{}
		for _, s := range r.Shares {
			sum = sum.Add(s.Amount)
		}
		if r.PayeeAddr != shared || c.ID != payment.SentID(intent[:32]) || sum.String() != want[r.PayeeID] {
			t.Errorf("%s gets a proof of %s: %+v", r.PayeeID, sum, r)
		}
		delete(want, r.PayeeID)
	}
	if len(want) > 0 {
		t.Errorf("nothing for %v", want)
	}
}

// A failure to sign is written down after the unlocking that it missed: the
// proof is asked for again, and once.
func TestAnUnlockingThatAFailureMissedCounts(t *testing.T) {
	t.Parallel()
	const (
		payer  = identity.NodeID("0x00000000000000000000000000000000000000bb")
		payee  = identity.NodeID("0x0000000000000000000000000000000000000001")
		id     = "00000000000000000000000000000001"
		intent = id + "ffffffffffffffffffffffffffffffff"
	)
	p := remittance.Saga.Start()
	asked := payment.SigningRequested{PayeeID: payee, PayerID: payer, PaymentID: id, Side: "R"}
	failed := payment.SigningFailed{PayeeID: payee, PaymentID: id, Side: "R"}
	unlocked := account.Unlocked{Identity: payer}
	ranges := []pay.Range{{AgreementID: "a", PayeeID: payee, To: money.MustParse("1")}}
	var cause es.Position // the wish that a failure follows
	for i, step := range []struct {
		fact  any
		again bool
	}{
		{order.Opened{OrderID: "o", PayerAddr: string(payer), PayerID: payer, Platform: "erc20-hoodi-tglm"}, false},
		{order.IntentRecorded{IntentID: intent, OrderID: "o", PayeeAddr: string(payee), PaymentID: id, Ranges: ranges}, false},
		{unlocked, false},
		{asked, false},
		{failed, false}, // whatever it was, it is not that it was locked
		{unlocked, true},
		{asked, false},
		{unlocked, false},
		{failed, true},
		{asked, false},
		{failed, false},
	} {
		if _, ok := step.fact.(payment.SigningRequested); ok {
			cause = es.Position(i)
		}
		wish := cause
		got := p.Hear(es.Recorded{Event: es.Event{Position: es.Position(i)}, Info: es.Meta{Cause: &wish}, Data: step.fact})
		if (len(got) == 1) != step.again || step.again && got[0].Command != payment.Command(payment.SignAgain{}) {
			t.Errorf("%d %T: %+v", i, step.fact, got)
		}
	}
}
