package cosign_test

import (
	"testing"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/contact"
	"github.com/emet-node/emet/domain/market/agreement"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/saga/cosign"
)

const (
	buyer  identity.NodeID = "0x1111111111111111111111111111111111111111"
	seller identity.NodeID = "0x2222222222222222222222222222222222222222"
)

func hear(p es.Process, at es.Position, fact any) []es.Command {
	return p.Hear(es.Recorded{Event: es.Event{Position: at}, Data: fact})
}

func TestEachStepAsksOnce(t *testing.T) {
	t.Parallel()
	p := cosign.Saga.Start()
	terms := agreement.Terms{Requestor: buyer, Provider: seller}
	steps := []struct {
		fact any
		asks bool
	}{
		{agreement.Received{AgreementID: "a", Side: identity.Provider, Terms: terms}, false},
		{agreement.Approved{AgreementID: "a", Side: identity.Provider}, true},
		{bill.NoteDelivered{AgreementID: "a", Side: identity.Provider}, true},
		{contact.CheckpointCosigned{Node: buyer, By: buyer}, false}, // or else it would never end
		{contact.Met{Node: buyer}, false},
		{bill.Settled{AgreementID: "a", Side: identity.Provider, Kind: pay.DebitNote}, true},
		{payment.Claimed{PaymentID: "p", PayerID: buyer, PayeeID: seller}, false},
		{payment.Disproved{PaymentID: "p", PayeeID: seller}, false}, // another attempt is another story
		{payment.Claimed{PaymentID: "p", PayerID: buyer, PayeeID: seller}, false},
		{payment.Verified{PaymentID: "p", PayeeID: seller}, true},
		{bill.Settled{AgreementID: "a", Side: identity.Provider, Kind: pay.Invoice}, true},
		{bill.NoteDelivered{AgreementID: "a", Side: identity.Provider}, false}, // the story is over
	}
	for i, step := range steps {
		got := hear(p, es.Position(i), step.fact)
		if (len(got) == 1) != step.asks {
			t.Errorf("%T: %d orders", step.fact, len(got))
			continue
		}
		if step.asks && got[0].Command != (cosign.Exchange{Own: seller, Other: buyer}) {
			t.Errorf("%T asks for %+v", step.fact, got[0].Command)
		}
	}
}

// Of a deal that is over, or never held, nothing is remembered, whatever is
// still told of it.
func TestADealThatIsOverIsForgotten(t *testing.T) {
	t.Parallel()
	made := agreement.Created{AgreementID: "a", Side: identity.Requestor, Terms: agreement.Terms{Requestor: buyer, Provider: seller}}
	late := bill.AcceptanceDelivered{AgreementID: "a", Side: identity.Requestor}
	for _, ends := range []any{
		bill.Settled{AgreementID: "a", Side: identity.Requestor, Kind: pay.Invoice},
		agreement.Rejected{AgreementID: "a", Side: identity.Requestor},
		agreement.Cancelled{AgreementID: "a", Side: identity.Requestor},
		agreement.Expired{AgreementID: "a", Side: identity.Requestor},
	} {
		var s cosign.State
		for _, fact := range []any{made, late} { // as before its end
			if s = cosign.Saga.Evolve(s, es.Recorded{Data: fact}); cosign.Saga.Done(s) {
				t.Errorf("after %T it is forgotten", fact)
			}
		}
		of := cosign.Saga.Instance(es.Recorded{Data: made})
		if r := (es.Recorded{Data: ends}); cosign.Saga.Instance(r) != of || !cosign.Saga.Done(cosign.Saga.Evolve(s, r)) {
			t.Errorf("after %T it is remembered", ends)
		}
		if !cosign.Saga.Done(cosign.Saga.Evolve(cosign.State{}, es.Recorded{Data: late})) {
			t.Errorf("what comes after %T is remembered", ends)
		}
	}
}

func TestADealWithOneselfAsksNobody(t *testing.T) {
	t.Parallel()
	p := cosign.Saga.Start()
	hear(p, 0, agreement.Created{AgreementID: "a", Side: identity.Requestor, Terms: agreement.Terms{Requestor: buyer, Provider: buyer}})
	if got := hear(p, 1, agreement.Approved{AgreementID: "a", Side: identity.Requestor}); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestWhoHasNotSeenTheLastStepIsBehind(t *testing.T) {
	t.Parallel()
	b := cosign.NewBook()
	for i, step := range []struct {
		fact   any
		behind bool
	}{
		{agreement.Created{AgreementID: "a", Side: identity.Requestor, Terms: agreement.Terms{Requestor: buyer, Provider: seller}}, false},
		{agreement.Approved{AgreementID: "a", Side: identity.Requestor}, true},
		{contact.CheckpointCosigned{Node: seller, By: buyer, Size: 9}, true}, // its log, not ours
		{contact.CheckpointCosigned{Node: seller, By: seller, Size: 1}, true},
		{contact.CheckpointCosigned{Node: seller, By: seller, Size: 2}, false},
		{payment.DeliveryRequested{PaymentID: "p", PayerID: buyer, PayeeID: seller}, true},
		{contact.CheckpointCosigned{Node: seller, By: seller, Size: 6}, true}, // it was not delivered by then
		{payment.Delivered{PaymentID: "p", PayeeID: seller}, true},
		{bill.Settled{AgreementID: "a", Side: identity.Requestor, Kind: pay.Invoice}, true},
		{contact.CheckpointCosigned{Node: seller, By: seller, Size: 9}, false},
		{contact.CheckpointCosigned{Node: seller, By: seller, Size: 3}, false}, // an older one, late
	} {
		b.Hear(es.Recorded{Event: es.Event{Position: es.Position(i)}, Data: step.fact})
		if got := b.Behind(); (len(got) == 1 && got[0] == seller) != step.behind {
			t.Errorf("%d %T: %v", i, step.fact, got)
		}
	}
}
