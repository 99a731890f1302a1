package projections_test

import (
	"fmt"
	"testing"

	"github.com/emet-node/emet/domain/identity"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/order"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
	"github.com/emet-node/emet/projections"
)

func TestTheMoneyOfADeal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := openPayment(t, w, projections.Memory)
	wholeDeal(t, w)
	ctx := t.Context()

	inv, found, err := v.Document(ctx, alice, pay.Invoice, "inv")
	must(t, err)
	if !found || inv.Status != pay.Accepted || inv.Amount.String() != "1.5" || inv.Issuer != bob || inv.ActivityIDs[0] != act || inv.PayerAddr != string(alice) {
		t.Errorf("invoice: %+v", inv)
	}
	if _, found, _ := v.Document(ctx, bob, pay.Invoice, "inv"); found {
		t.Error("the provider sees the requestor's copy")
	}
	note, _, _ := v.Document(ctx, bob, pay.DebitNote, "note")
	if note.Status != pay.Issued || note.Side != p {
		t.Errorf("bob's note: %+v", note)
	}
	if list, _ := v.Documents(ctx, projections.DocumentFilter{Owner: alice, ActivityID: act}); len(list) != 2 {
		t.Errorf("documents about the activity: %+v", list)
	}

	events := func(owner identity.NodeID, kind pay.Kind) []projections.BillEventRow {
		rows, err := v.BillEvents(ctx, projections.BillEventFilter{Owner: owner, Kind: kind, RequestorCodes: requestorCodes, ProviderCodes: providerCodes})
		must(t, err)
		return rows
	}
	if e := events(alice, pay.Invoice); len(e) != 1 || e[0].Code != "RECEIVED" {
		t.Errorf("a requestor hears of received invoices only: %+v", e)
	}
	if e := events(bob, pay.DebitNote); len(e) != 0 {
		t.Errorf("a provider does not hear of its own notes: %+v", e)
	}
	w.say("bill-P-"+deal, bill.NoteAcceptedByPeer{AgreementID: deal, Side: p, ActivityID: act, DebitNoteID: "note", Amount: amount(t, "1")})
	if e := events(bob, pay.DebitNote); len(e) != 1 || e[0].Code != "ACCEPTED" {
		t.Errorf("a provider hears of acceptances: %+v", e)
	}

	al, err := v.Allocations(ctx, projections.AllocationFilter{Owner: alice, Active: true})
	must(t, err)
	if len(al) != 1 || al[0].Committed.String() != "1" || al[0].Remaining().String() != "4" {
		t.Errorf("allocations: %+v", al)
	}
	ex, err := v.Expenditures(ctx, alice, "al")
	must(t, err)
	if len(ex) != 1 || ex[0].Accepted.String() != "1" || ex[0].ActivityID != act {
		t.Errorf("expenditures: %+v", ex)
	}
	w.say("allocation-al", allocation.Released{AllocationID: "al", Returned: amount(t, "4")})
	if al, _ := v.Allocations(ctx, projections.AllocationFilter{Owner: alice, Active: true}); len(al) != 0 {
		t.Errorf("released ones are not active: %+v", al)
	}

	tot, err := v.PayAgreements(ctx, projections.TotalsFilter{Owner: alice})
	must(t, err)
	if len(tot) != 1 || tot[0].Due.String() != "1.5" || tot[0].Accepted.String() != "1.5" || tot[0].Peer != bob {
		t.Errorf("totals: %+v", tot)
	}
	acts, err := v.PayActivities(ctx, projections.TotalsFilter{Owner: alice})
	must(t, err)
	if len(acts) != 1 || acts[0].Due.String() != "1" {
		t.Errorf("per activity: %+v", acts)
	}

	sent, err := v.Payments(ctx, projections.PaymentFilter{Owner: alice, Network: "hoodi", Session: "s1", AgreementID: deal})
	must(t, err)
	if len(sent) != 1 || sent[0].Amount.String() != "1" || len(sent[0].Signature) != 1 || sent[0].Listed.IsZero() {
		t.Errorf("payments: %+v", sent)
	}
	for _, f := range []projections.PaymentFilter{
		{Owner: bob}, {Owner: alice, Network: "mainnet"}, {Owner: alice, Session: "s2"}, {Owner: alice, After: sent[0].Listed}, {Owner: alice, ActivityIDs: []string{"z"}},
	} {
		if rows, err := v.Payments(ctx, f); err != nil || len(rows) != 0 {
			t.Errorf("%+v finds %+v, %v", f, rows, err)
		}
	}
	if acc, _ := v.Accounts(ctx, alice); len(acc) != 1 || acc[0].Reserved.String() != "5" {
		t.Errorf("accounts: %+v", acc)
	}
}

// A run is paid as far as transactions carry it: those that failed or were lost
// do not count, those that the chain had already do.
func TestARunIsPaidAsFarAsItsTransfersAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := openPayment(t, w, projections.Memory)
	paid := func(want string) {
		t.Helper()
		rows, err := v.Orders(t.Context(), alice, "o")
		must(t, err)
		if len(rows) != 1 || rows[0].Total.String() != "7" || rows[0].Paid.String() != want {
			t.Errorf("%+v, want %s paid", rows, want)
		}
	}
	w.say("order-o", order.Opened{OrderID: "o", PayerID: alice, PayerAddr: string(alice), Platform: "erc20-hoodi-tglm", ChainID: 1, Total: amount(t, "7")},
		order.IntentRecorded{OrderID: "o", IntentID: "i1", PaymentID: "p1", PayeeAddr: string(bob), Amount: amount(t, "4")},
		order.IntentRecorded{OrderID: "o", IntentID: "i2", PaymentID: "p2", PayeeAddr: string(bob), Amount: amount(t, "3")},
		order.BatchSealed{OrderID: "o", BatchID: "b1", Intents: []string{"i1"}}, order.BatchSealed{OrderID: "o", BatchID: "b2", Intents: []string{"i2"}})
	paid("0")
	w.say("tx-1-0xa-0", tx.Included{OrderID: "o", BatchID: "b1", Status: 1})
	paid("4")
	w.say("tx-1-0xa-0", tx.Orphaned{OrderID: "o", BatchID: "b1"}, tx.Included{OrderID: "o", BatchID: "b1", Status: 0})
	paid("0")
	w.say("order-o", order.BatchReturned{OrderID: "o", BatchID: "b1"}, order.BatchSealed{OrderID: "o", BatchID: "b3", Intents: []string{"i1"}})
	w.say("tx-1-0xa-2", tx.Included{OrderID: "o", BatchID: "b3", Status: 1})
	w.say("order-o", order.BatchReturned{OrderID: "o", BatchID: "b2"}, order.TransferAdopted{OrderID: "o", IntentID: "i2", TxHash: "0x1"})
	paid("7")
}

func TestAStrangersChoiceOfIdsHurtsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := openPayment(t, w, projections.Memory)
	wholeDeal(t, w)
	w.say("bill-R-evil", bill.Opened{AgreementID: "evil", Side: r, PayeeID: "0xe", PayerID: alice, Platform: "erc20-hoodi-tglm"},
		bill.InvoiceReceived{AgreementID: "evil", Side: r, InvoiceID: "inv", Amount: amount(t, "99")})
	inv, _, err := v.Document(t.Context(), alice, pay.Invoice, "inv")
	must(t, err)
	if inv.AgreementID != deal {
		t.Errorf("an invoice with the id of an older one took its place: %+v", inv)
	}
}

func TestCodesAreFilteredBeforeTheLimitCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := openPayment(t, w, projections.Memory)
	wholeDeal(t, w)
	f := projections.BillEventFilter{Owner: alice, Kind: pay.DebitNote, RequestorCodes: requestorCodes, ProviderCodes: providerCodes, Limit: 100}
	rows, err := v.BillEvents(t.Context(), f)
	must(t, err)
	f.After = rows[len(rows)-1].Time
	for i := range 200 { // hidden ones
		w.say("bill-R-"+deal, bill.Settled{AgreementID: deal, Side: r, DocumentID: fmt.Sprint("n", i), Kind: pay.DebitNote})
	}
	w.say("bill-R-"+deal, bill.NoteReceived{AgreementID: deal, Side: r, DebitNoteID: "visible", ActivityID: act, Amount: amount(t, "2")})
	rows, err = v.BillEvents(t.Context(), f)
	must(t, err)
	if len(rows) != 1 || rows[0].DocumentID != "visible" {
		t.Fatalf("behind 200 hidden events: %+v", rows)
	}
}

func TestEventsOfOneTimeAreNeverParted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := openPayment(t, w, projections.Memory)
	wholeDeal(t, w) // a note and an invoice are accepted
	for _, id := range []string{"x", "y", "z"} {
		w.say("bill-R-"+deal, bill.InvoiceReceived{AgreementID: deal, Side: r, InvoiceID: id, Amount: amount(t, "2")}, bill.InvoiceAccepted{AgreementID: deal, Side: r, InvoiceID: id})
	}
	w.say("wallet-1-0xa", wallet.HealthChanged{Address: string(alice), ChainID: 1, Properties: `[{"kind":"InsufficientGas"}]`})
	rows, err := v.BillEvents(t.Context(), projections.BillEventFilter{Owner: alice, Kind: pay.Invoice, RequestorCodes: []string{"PAYMENT_EVENT"}, Limit: 2})
	must(t, err)
	if len(rows) != 4 || rows[0].Property != `{"kind":"InsufficientGas"}` || !rows[0].Time.Equal(rows[3].Time) {
		t.Errorf("a limit of 2 parted events that share a cursor: %+v", rows)
	}
	if h, _ := v.Health(t.Context(), alice); h["erc20-hoodi-tglm"] == "[]" {
		t.Errorf("health: %v", h)
	}
}
