package verification_test

import (
	"testing"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/saga/verification"
)

// What a payer said in vain is forgotten, however much it was, and what he
// says again counts.
func TestOnlyClaimsThatMayChangeAreRemembered(t *testing.T) {
	t.Parallel()
	var s *verification.State
	position := es.Position(0)
	hear := func(fact any) []es.Order {
		position++
		r := es.Recorded{Event: es.Event{Stream: "payment-P-p", Position: position}, Data: fact}
		s = verification.Saga.Evolve(s, r)
		return verification.Saga.React(s, r)
	}
	claim := payment.Claimed{PaymentID: "p", Shares: []pay.Share{{AgreementID: "a", Amount: money.MustParse("2")}}, TxHash: "0x1"}
	for _, step := range []struct {
		fact any
		open int
		does string // with the bill of the agreement
	}{
		{claim, 1, ""},
		{payment.Disproved{PaymentID: "p"}, 0, ""},
		{claim, 1, ""},
		{payment.Verified{PaymentID: "p", TxHash: "0x1"}, 1, "credit"},
		{payment.Reversed{PaymentID: "p"}, 1, "reverse"},
		{claim, 1, ""},
		{payment.Verified{PaymentID: "p", TxHash: "0x1"}, 1, "credit"},
		{payment.Finalised{PaymentID: "p"}, 0, ""},
	} {
		did := ""
		for _, o := range hear(step.fact) {
			switch c := o.Command.(type) {
			case bill.CreditPayment:
				did += "credit"
				if len(c.Shares) != 1 || o.ID != bill.StreamID("P", "a") {
					t.Errorf("%s: %+v", o.ID, c)
				}
			case bill.ReversePayment:
				did += "reverse"
			}
		}
		if did != step.does || s.Open() != step.open {
			t.Errorf("%T: %q, %d claims are remembered; want %q, %d", step.fact, did, s.Open(), step.does, step.open)
		}
	}
}
