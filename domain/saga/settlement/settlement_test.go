package settlement_test

import (
	"fmt"
	"testing"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/cycle"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/order"
	"github.com/emet-node/emet/domain/saga/settlement"
)

const (
	platform = pay.Platform("erc20-hoodi-tglm")
	payer    = identity.NodeID("0x00000000000000000000000000000000000000bb")
	payee    = identity.NodeID("0x00000000000000000000000000000000000000cc")
)

// history is what was recorded, with what sagas were told and did.
type history struct {
	t     *testing.T
	facts []es.Recorded
}

func (h *history) add(fact any) es.Recorded {
	r := es.Recorded{Event: es.Event{Position: es.Position(len(h.facts))}, Data: fact}
	h.facts = append(h.facts, r)
	return r
}

// start is a node that begins: its saga hears what was, and does nothing for it.
func (h *history) start(configured bool) es.Process {
	h.t.Helper()
	p := settlement.New(settlement.Config{Profile: func(pay.Platform) (onchain.Profile, bool) {
		hoodi, _ := onchain.Network("hoodi")
		return hoodi, configured
	}}).Start()
	for _, r := range h.facts {
		p.Hear(r)
	}
	return p
}

// debt is an invoice that was accepted.
func (h *history) debt(p es.Process, agreement, amount string) {
	p.Hear(h.add(bill.Opened{AgreementID: agreement, PayeeAddr: string(payee), PayeeID: payee, PayerAddr: string(payer), PayerID: payer, Platform: platform, Side: identity.Requestor}))
	p.Hear(h.add(bill.InvoiceAccepted{AgreementID: agreement, AllocationID: "a", InvoiceID: "i-" + agreement, Side: identity.Requestor, To: money.MustParse(amount)}))
}

// run asks for a run and carries out what follows. It tells which agreements
// the orders pay, and what.
func (h *history) run(p es.Process) (paid []string) {
	h.t.Helper()
	asked := h.add(cycle.RunRequested{Address: string(payer), OwnerID: payer, Platform: platform})
	for _, c := range p.Hear(asked) {
		open, ok := c.Command.(order.Open)
		if !ok {
			h.t.Fatalf("%T", c.Command)
		}
		facts, err := order.Rules.Decide(order.State{}, open)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, f := range facts {
			p.Hear(h.add(f))
			if i, ok := f.(order.IntentRecorded); ok {
				for _, r := range i.Ranges {
					paid = append(paid, fmt.Sprint(r.AgreementID, " ", r.From, "-", r.To))
				}
			}
		}
	}
	return paid
}

func (h *history) want(got []string, want ...string) {
	h.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		h.t.Errorf("paid %v, want %v", got, want)
	}
}

// A run on a network that was not configured pays nothing. When it is
// configured again, what was owed then is paid, once, at the next run.
func TestWhatARunCouldNotPayIsPaidWhenItsNetworkIsThere(t *testing.T) {
	t.Parallel()
	h := &history{t: t}
	p := h.start(true)
	h.debt(p, "one", "1")
	h.want(h.run(p), "one 0-1")

	p = h.start(false)
	h.debt(p, "two", "2")
	h.want(h.run(p))
	h.debt(p, "three", "3")
	h.want(h.run(p))

	p = h.start(true)
	h.debt(p, "four", "4")
	h.want(h.run(p), "two 0-2", "three 0-3", "four 0-4")
	h.want(h.run(p))
	h.want(h.run(h.start(true)))
}
