package rest

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
)

// TestWhatAJSClientDoes is the payment part of a rental, as clients in use
// record it.
func TestWhatAJSClientDoes(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	w.as("alice", "GET", "/requestorAccounts", "")
	id := w.allocate("2")
	w.as("alice", "GET", "/demandDecorations?allocationIds="+id, "")
	w.receiveNote("note-1", "0.000100")
	w.as("alice", "GET", "/debitNoteEvents?timeout=5&afterTimestamp=2026-01-01T00:00:00.000Z&maxEvents=100&appSessionId=session-1", "")
	w.as("alice", "GET", "/debitNotes/note-1", "")
	w.as("alice", "POST", "/debitNotes/note-1/accept?timeout=5", `{"totalAmountAccepted":"0.0001","allocationId":"`+id+`"}`)
	w.receiveInvoice("invoice-1", "0.000123")
	w.as("alice", "GET", "/invoiceEvents?timeout=5&afterTimestamp=2026-01-01T00:00:00.000Z&maxEvents=100&appSessionId=session-1", "")
	w.as("alice", "GET", "/invoices/invoice-1", "")
	w.as("alice", "POST", "/invoices/invoice-1/accept?timeout=5", `{"totalAmountAccepted":0.0001230,"allocationId":"`+id+`"}`)
	w.as("alice", "GET", "/invoices/invoice-1", "")
	w.as("alice", "POST", "/invoices/invoice-1/accept?timeout=5", `{"totalAmountAccepted":"0.000123","allocationId":"`+id+`"}`)
	w.as("alice", "GET", "/allocations/"+id, "")
	w.as("alice", "GET", "/allocations/"+id+"/expenditures", "")
	w.as("alice", "DELETE", "/allocations/"+id, "")
	w.as("alice", "DELETE", "/allocations/"+id, "")
	w.as("alice", "GET", "/allocations/"+id, "")
	w.golden("rental.golden")
}

func TestAProviderBills(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	w.provide(chosen)
	note := w.want(w.as("bob", "POST", "/debitNotes", `{"activityId":"`+someID+`","totalAmountDue":"0.50","usageCounterVector":[1.0, 2.50]}`), 201)
	var n struct{ DebitNoteID string }
	if err := json.Unmarshal([]byte(note), &n); err != nil {
		t.Fatal(err)
	}
	w.want(w.as("bob", "POST", "/debitNotes/"+n.DebitNoteID+"/send?timeout=0.05", ""), 504)
	go func() {
		_, _ = w.ops.Bills.Do(context.Background(), bill.StreamID(identity.Provider, pact), bill.AnswerDelivery{DocumentID: n.DebitNoteID}, w.meta())
	}()
	w.want(w.as("bob", "POST", "/debitNotes/"+n.DebitNoteID+"/send?timeout=30", ""), 200, "null")
	w.want(w.as("bob", "POST", "/debitNotes/"+n.DebitNoteID+"/send", ""), 200, "null")
	w.as("bob", "GET", "/debitNotes", "")
	w.as("bob", "POST", "/invoices", `{"agreementId":"`+pact+`","activityIds":["`+someID+`"],"amount":"0.4","paymentDueDate":"2090-03-01T12:00:00Z"}`)
	w.as("bob", "POST", "/invoices", `{"agreementId":"`+pact+`","activityIds":["`+someID+`"],"amount":"0.7","paymentDueDate":"2090-03-01T12:00:00Z"}`)
	w.as("bob", "POST", "/invoices", `{"agreementId":"`+pact+`","amount":"0.7","paymentDueDate":"2090-03-01T12:00:00Z"}`)
	w.as("bob", "GET", "/invoices", "")
	w.as("alice", "GET", "/invoices", "")
	w.as("bob", "GET", "/providerAccounts", "")
	w.as("bob", "GET", "/payActivities/"+someID+"/debitNotes", "")
	w.as("bob", "GET", "/payAgreements/"+pact, "")
	w.golden("provider.golden")
}

func TestOnlyTheProviderBills(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	w.provide(chosen)
	w.say("agreement-R-"+pact, agreement.Created{AgreementID: pact, Terms: agreement.Terms{Created: noon, ValidTo: noon, Provider: bob, Requestor: alice}})
	invoice := func(who, agreementID string) answered {
		return w.as(who, "POST", "/invoices", `{"agreementId":"`+agreementID+`","amount":"1","paymentDueDate":"2090-03-01T12:00:00Z"}`)
	}
	w.want(invoice("alice", pact), 401, "Only the provider")
	w.want(invoice("bob", strings.Repeat("e1", 32)), 400, "Agreement not found")
	w.want(invoice("bob", "nonsense"), 400)
	w.want(w.as("bob", "POST", "/debitNotes", `{"activityId":"nope","totalAmountDue":"1"}`), 400, "Activity not found")
	w.want(w.as("alice", "POST", "/debitNotes", `{"activityId":"`+someID+`","totalAmountDue":"1"}`), 400)
	w.want(w.as("bob", "POST", "/debitNotes", `{"activityId":"`+someID+`","totalAmountDue":"-1"}`), 400, "negative")
}

func TestWithoutAChosenPlatformNothingIsBilled(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	w.provide(`{}`)
	w.want(w.as("bob", "POST", "/debitNotes", `{"activityId":"`+someID+`","totalAmountDue":"1"}`), 400, "Missing golem.com.payment.chosen-platform")
}

func TestAmountsOfAProviderAreQuantised(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	w.provide(chosen)
	w.want(w.as("bob", "POST", "/debitNotes", `{"activityId":"`+someID+`","totalAmountDue":"1.0000000000000000009"}`), 201,
		`"totalAmountDue":"1.000000000000000001"`)
}

func TestParallelAcceptancesSpendOnce(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	id := w.allocate("2")
	w.receiveNote("note-1", "0.4")
	w.receiveInvoice("invoice-1", "1")
	var all sync.WaitGroup
	for i := range 8 {
		path := "/invoices/invoice-1/accept"
		body := `{"totalAmountAccepted":"1.00","allocationId":"` + id + `"}`
		if i%2 == 0 {
			path, body = "/debitNotes/note-1/accept", `{"totalAmountAccepted":"0.4","allocationId":"`+id+`"}`
		}
		all.Go(func() {
			if a := ask(t, w.url, "POST", paymentBase+path, body, asAlice, "Content-Type: application/json"); a.status != 200 || a.body != "null" {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		})
	}
	all.Wait()
	w.want(w.as("alice", "GET", "/allocations/"+id, ""), 200, `"spentAmount":"1"`, `"remainingAmount":"1"`)
}

func TestWhyABillIsNotAccepted(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	id := w.allocate("1")
	w.receiveInvoice("invoice-1", "1.5")
	accept := func(who, invoice, amount, allocation string) answered {
		return w.as(who, "POST", "/invoices/"+invoice+"/accept", `{"totalAmountAccepted":"`+amount+`","allocationId":"`+allocation+`"}`)
	}
	w.want(accept("alice", "nope", "1.5", id), 404, `{"message":null}`)
	w.want(accept("bob", "invoice-1", "1.5", id), 404, `{"message":null}`)
	w.want(accept("alice", "invoice-1", "1.4", id), 400, `{"message":"Invalid amount accepted`)
	w.want(accept("alice", "invoice-1", "1.5", id), 400, `{"message":"Not enough funds. Allocated: 1 Needed: 1.5"}`)
	w.want(accept("alice", "invoice-1", "1.5", "unknown"), 400, "no such allocation")
	w.want(w.as("alice", "DELETE", "/allocations/"+id, ""), 200)
	w.want(accept("alice", "invoice-1", "1.5", id), 400, "released")
	other := w.want(w.as("alice", "POST", "/allocations", `{"totalAmount":"2","paymentPlatform":"erc20-holesky-tglm"}`), 201)
	w.want(accept("alice", "invoice-1", "1.5", someIDs.FindString(other)), 400, "does not fit")
	foreign := w.want(w.as("bob", "POST", "/allocations", `{"totalAmount":"2"}`), 201)
	w.want(accept("alice", "invoice-1", "1.5", someIDs.FindString(foreign)), 400, "no such allocation")
	w.want(w.as("alice", "POST", "/invoices/invoice-1/accept", `{"totalAmountAccepted":"1.5"}`), 400, "allocationId")
	w.want(w.as("alice", "POST", "/invoices/invoice-1/accept?timeout=", `{}`), 400)
	w.bill(identity.Requestor, bill.HearCancellation{By: bobPeer, DocumentID: "invoice-1", Kind: pay.Invoice})
	w.want(accept("alice", "invoice-1", "1.5", id), 400, "cancelled")
}

func TestARejectedInvoiceMayBeAccepted(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	id := w.allocate("2")
	w.receiveInvoice("invoice-1", "1")
	w.want(w.as("alice", "POST", "/invoices/invoice-1/reject?timeout=5", `{"rejectionReason":"NO","totalAmountAccepted":"0.00"}`), 400)
	w.want(w.as("alice", "POST", "/invoices/invoice-1/reject?timeout=5", `{"rejectionReason":"BAD_SERVICE","totalAmountAccepted":"0.00","message":"<no>"}`), 200, "null")
	w.want(w.as("alice", "GET", "/invoiceEvents?timeout=0", "", "X-Requestor-Events: REJECTED"), 200,
		`"eventType":"InvoiceRejectedEvent"`, `"rejection":{"message":"<no>","rejectionReason":"BAD_SERVICE","totalAmountAccepted":"0.00"}`)
	w.want(w.as("alice", "POST", "/invoices/invoice-1/accept", `{"totalAmountAccepted":"1","allocationId":"`+id+`"}`), 200, "null")
	w.want(w.as("alice", "POST", "/invoices/invoice-1/reject", `{"rejectionReason":"BAD_SERVICE","totalAmountAccepted":"0"}`), 400, "accepted")
}

func TestAProviderTakesAnInvoiceBack(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	issue := func(id string) {
		w.bill(identity.Provider, bill.IssueInvoice{
			AgreementID: pact, Amount: money.MustParse("1"), At: noon, By: identity.Caller{Actor: es.ActorSaga}, DueDate: noon, InvoiceID: id, Terms: terms(),
		})
	}
	issue("invoice-1")
	w.want(w.as("bob", "POST", "/invoices/invoice-1/cancel", ""), 200, "null")
	w.want(w.as("bob", "POST", "/invoices/invoice-1/cancel", ""), 200, "null")
	issue("invoice-2")
	w.bill(identity.Provider, bill.HearAcceptance{
		Amount: money.MustDecimal("1"), By: identity.Caller{Actor: es.ActorPeer, Node: alice}, DocumentID: "invoice-2", Kind: pay.Invoice,
	})
	w.want(w.as("bob", "POST", "/invoices/invoice-2/cancel", ""), 409, "Invoice already accepted by requestor")
	w.want(w.as("bob", "POST", "/invoices/nope/cancel", ""), 404)
}

func TestDebitNotesCanBeRejectedAndCancelled(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	w.receiveNote("note-1", "1")
	w.want(w.as("alice", "POST", "/debitNotes/note-1/reject", `{"rejectionReason":"BAD_SERVICE","totalAmountAccepted":"0"}`), 200, "null")
	w.want(w.as("alice", "GET", "/debitNotes/note-1", ""), 200, `"status":"REJECTED"`)
	w.want(w.as("alice", "GET", "/debitNotes/note-1/payments", ""), 200, "[]")
	w.bill(identity.Provider, bill.IssueNote{
		ActivityID: someID, AgreementID: pact, Amount: money.MustParse("1"), At: noon, By: identity.Caller{Actor: es.ActorSaga}, DebitNoteID: "note-2", Terms: terms(),
	})
	w.want(w.as("bob", "POST", "/debitNotes/note-2/cancel", ""), 200, "null")
	w.want(w.as("bob", "GET", "/debitNotes/note-2", ""), 200, `"status":"CANCELLED"`)
}

func TestZeroIsSettledAtOnce(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	id := w.allocate("1")
	w.receiveInvoice("invoice-1", "0.0")
	w.want(w.as("alice", "POST", "/invoices/invoice-1/accept", `{"totalAmountAccepted":0,"allocationId":"`+id+`"}`), 200, "null")
	w.want(w.as("alice", "GET", "/invoices/invoice-1", ""), 200, `"status":"SETTLED"`)
}

func TestWhatAnAcceptedInvoiceCoversIsNotAcceptedAgain(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	id := w.allocate("5")
	w.receiveNote("note-1", "1")
	w.receiveInvoice("invoice-1", "1")
	w.want(w.as("alice", "POST", "/invoices/invoice-1/accept", `{"totalAmountAccepted":"1","allocationId":"`+id+`"}`), 200, "null")
	w.want(w.as("alice", "POST", "/debitNotes/note-1/accept", `{"totalAmountAccepted":"1","allocationId":"`+id+`"}`), 200, "null")
	w.want(w.as("alice", "GET", "/allocations/"+id, ""), 200, `"spentAmount":"1"`)
	w.want(w.as("alice", "GET", "/debitNotes/note-1", ""), 200, `"status":"RECEIVED"`)
}

func TestKeysOfOtherRolesSpendNothing(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	id := w.allocate("2")
	w.receiveInvoice("invoice-1", "1")
	for _, who := range []string{"auditor", "supplier"} {
		w.want(w.as(who, "GET", "/invoices/invoice-1", ""), 200)
		w.want(w.as(who, "POST", "/allocations", `{"totalAmount":"1"}`), 403)
		w.want(w.as(who, "DELETE", "/allocations/"+id, ""), 403)
		w.want(w.as(who, "POST", "/invoices/invoice-1/accept", `{"totalAmountAccepted":"1","allocationId":"`+id+`"}`), 403)
		w.want(w.as(who, "POST", "/invoices/invoice-1/reject", `{"rejectionReason":"BAD_SERVICE","totalAmountAccepted":"0"}`), 403)
		w.want(w.as(who, "POST", "/batchCycle/erc20-hoodi-tglm/now", ""), 403)
	}
	w.want(w.as("alice", "GET", "/allocations/"+id, ""), 200, `"spentAmount":"0"`)
}
