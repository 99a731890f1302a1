package projections_test

import (
	"testing"
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/cycle"
	"github.com/emet-node/emet/projections"
)

func TestNothingIsSettledWhenNothingIsOwed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := openNode(t, w, projections.Memory)
	const platform = payment.Platform("erc20-hoodi-tglm")
	due := func() []projections.DeadlineRow {
		t.Helper()
		rows, err := n.Deadlines(t.Context(), time.Time{}, 0)
		must(t, err)
		return rows
	}
	next := time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC)
	payer := "cycle-" + cycle.StreamID(platform, string(alice))
	w.say(payer, cycle.Configured{Address: string(alice), IntervalSec: 60, NextAt: next, OwnerID: alice, Platform: platform})
	if rows := due(); len(rows) != 0 {
		t.Fatalf("nothing is owed: %+v", rows)
	}
	terms := bill.Opened{AgreementID: deal, PayeeAddr: string(bob), PayeeID: bob, PayerAddr: string(alice), PayerID: alice, Platform: platform}
	requestor, provider := terms, terms
	requestor.Side, provider.Side = identity.Requestor, identity.Provider
	w.say("bill-P-"+deal, provider, bill.Settled{AgreementID: deal, DocumentID: "i1", Side: identity.Provider})
	w.say("bill-R-"+deal, requestor, bill.InvoiceAccepted{AgreementID: deal, Amount: money.MustParse("1"), InvoiceID: "i1", Side: identity.Requestor})
	if rows := due(); len(rows) != 1 || string(rows[0].Stream) != payer || rows[0].What != "settlement" || !rows[0].Due.Equal(next) {
		t.Fatalf("an invoice is owed: %+v", rows)
	}
	later := next.Add(time.Minute)
	w.say(payer, cycle.RunRequested{Address: string(alice), At: next, NextAt: later, OwnerID: alice, Platform: platform, Why: cycle.ByInterval})
	if rows := due(); len(rows) != 1 || !rows[0].Due.Equal(later) {
		t.Fatalf("after a run: %+v", rows)
	}
	w.say("bill-R-"+deal, bill.Settled{AgreementID: deal, DocumentID: "i1", Side: identity.Requestor})
	if rows := due(); len(rows) != 0 {
		t.Fatalf("it is settled: %+v", rows)
	}
	w.say("bill-R-"+deal, bill.Unsettled{AgreementID: deal, DocumentID: "i1", Side: identity.Requestor})
	if rows := due(); len(rows) != 1 || !rows[0].Due.Equal(later) {
		t.Fatalf("the payment was taken back: %+v", rows)
	}
}

// Two providers may give their bills the same id.
func TestABillThatIsSettledIsNotTheOneOfAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := openNode(t, w, projections.Memory)
	const platform = payment.Platform("erc20-hoodi-tglm")
	next := time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC)
	w.say("cycle-"+cycle.StreamID(platform, string(alice)), cycle.Configured{Address: string(alice), IntervalSec: 60, NextAt: next, OwnerID: alice, Platform: platform})
	for _, id := range []string{"d1", "d2"} {
		w.say("bill-R-"+id, bill.Opened{AgreementID: id, PayeeAddr: string(bob), PayeeID: bob, PayerAddr: string(alice), PayerID: alice, Platform: platform, Side: r},
			bill.InvoiceAccepted{AgreementID: id, Amount: money.MustParse("1"), InvoiceID: "same", Side: r})
	}
	w.say("bill-R-d1", bill.Settled{AgreementID: "d1", DocumentID: "same", Side: r})
	if rows, err := n.Deadlines(t.Context(), time.Time{}, 0); err != nil || len(rows) != 1 || !rows[0].Due.Equal(next) {
		t.Errorf("the other one is owed still: %+v %v", rows, err)
	}
}
