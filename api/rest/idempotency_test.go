package rest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
)

// wishes counts the facts that clients caused, in contrast to what follows.
func wishes(t *testing.T, log *es.Log) (n int) {
	t.Helper()
	head, err := log.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for r, err := range log.ReadAll(context.Background(), 0, es.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Position >= head {
			break
		}
		if r.Info.Actor == es.ActorREST {
			n++
		}
	}
	return n
}

// twice sends the same request with the same key two times, as a client whose
// answer was lost, and returns the answer, which must be the same.
func twice(t *testing.T, url string, log *es.Log, method, path, body string) answered {
	t.Helper()
	headers := []string{asAlice, "Idempotency-Key: the same"}
	if body != "" {
		headers = append(headers, isJSONBody)
	}
	before := wishes(t, log)
	first := ask(t, url, method, path, body, headers...)
	after := wishes(t, log)
	if first.status >= 300 || after == before {
		t.Fatalf("%s %s: %d %s, %d facts", method, path, first.status, first.body, after-before)
	}
	second := ask(t, url, method, path, body, headers...)
	if second.status != first.status || second.body != first.body {
		t.Errorf("%s %s again: %d %s, first %d %s", method, path, second.status, second.body, first.status, first.body)
	}
	if again := wishes(t, log); again != after {
		t.Errorf("%s %s again: %d more facts", method, path, again-after)
	}
	return first
}

// What a client of the trace posts and deletes from the demand to the end of
// the agreement.
func TestARentalWhoseEveryAnswerIsLostOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sells(offerText)
	do := func(method, path, body string) answered { return twice(t, w.url, w.log, method, path, body) }
	s := w.text(do("POST", "/market-api/v1/demands", demandBody))
	demand := "/market-api/v1/demands/" + s
	initial := w.events(s, "timeout=60&maxEvents=10")[0]["proposal"].(map[string]any)["proposalId"].(string)
	do("POST", demand+"/proposals/"+initial, demandBody)
	draft := w.events(s, "timeout=60&maxEvents=10")[0]["proposal"].(map[string]any)["proposalId"].(string)
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	g := w.text(do("POST", "/market-api/v1/agreements", fmt.Sprintf(`{"proposalId":%q,"validTo":%q}`, draft, until)))
	agreement := "/market-api/v1/agreements/" + g
	do("POST", agreement+"/confirm?appSessionId=s1", "")
	w.call(204, "POST", agreement+"/wait?timeout=60", "", "Idempotency-Key: the same")
	w.call(204, "POST", agreement+"/wait?timeout=60", "", "Idempotency-Key: the same")
	created := do("POST", "/activity-api/v1/activity?timeout=60", `{"agreementId":"`+g+`"}`).body
	a := base + created[strings.Index(created, `:"`)+2:strings.LastIndexByte(created, '"')]
	do("POST", a+"/exec?timeout=60", `{"text":"[{\"deploy\":{}},{\"start\":{}}]"}`)
	do("DELETE", a+"?timeout=30", "")
	do("POST", agreement+"/terminate", `{"message":"Finished"}`)
	do("DELETE", demand, "")
	o := w.text(do("POST", "/market-api/v1/offers", demandBody))
	do("DELETE", "/market-api/v1/offers/"+o, "")
}

// The same with rejections and retractions.
func TestRefusalsWhoseEveryAnswerIsLostOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sells(offerText)
	do := func(method, path, body string) answered { return twice(t, w.url, w.log, method, path, body) }
	s := w.demands()
	draft := w.proposes(s)
	g := w.text(w.call(200, "POST", "/market-api/v1/agreements", `{"proposalId":"`+draft+`","validTo":"`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"}`))
	do("POST", "/market-api/v1/agreements/"+g+"/cancel", `{"message":"no"}`)
	w.sells(strings.Replace(offerText, "4.0", "5.0", 1))
	initial := w.events(s, "timeout=60&maxEvents=10")[0]["proposal"].(map[string]any)["proposalId"].(string)
	do("POST", "/market-api/v1/demands/"+s+"/proposals/"+initial+"/reject", `{"message":"too dear"}`)
}

// And with everything that is about money.
func TestPaymentsWhoseEveryAnswerIsLostOnce(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	do := func(method, path, body string) string {
		return twice(t, w.url, w.log, method, paymentBase+path, body).body
	}
	id := someIDs.FindString(do("POST", "/allocations?maxItems=10", `{"totalAmount":"2"}`))
	do("PUT", "/allocations/"+id, `{"totalAmount":"3"}`)
	w.receiveNote("note-1", "0.0001")
	do("POST", "/debitNotes/note-1/accept?timeout=60", `{"totalAmountAccepted":"0.0001","allocationId":"`+id+`"}`)
	w.receiveInvoice("invoice-1", "0.5")
	do("POST", "/invoices/invoice-1/reject?timeout=60", `{"rejectionReason":"BAD_SERVICE","totalAmountAccepted":"0.00"}`)
	do("POST", "/invoices/invoice-1/accept?timeout=60", `{"totalAmountAccepted":"0.5","allocationId":"`+id+`"}`)
	do("DELETE", "/allocations/"+id, "")
	do("POST", "/batchCycle", `{"platform":"erc20-hoodi-tglm","intervalSec":60}`)
	const key = "Idempotency-Key: now" // the answer tells how long it took, which is not the same
	now := func() { w.as("alice", "POST", "/batchCycle/erc20-hoodi-tglm/now", "", key) }
	before := wishes(t, w.log)
	now()
	after := wishes(t, w.log)
	if now(); after == before || wishes(t, w.log) != after {
		t.Errorf("asked to settle: %d facts, again %d", after-before, wishes(t, w.log)-after)
	}
}

// A provider's agent bills once, however often it asks.
func TestBillsWhoseEveryAnswerIsLostOnce(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	w.provide(chosen)
	for _, bill := range [][2]string{ // the invoice is last: no note comes after it
		{"/debitNotes", `{"activityId":"` + someID + `","totalAmountDue":"0.001"}`},
		{"/invoices", `{"agreementId":"` + pact + `","amount":"0.5","paymentDueDate":"` + noon.Format(time.RFC3339) + `"}`},
	} {
		path, body := bill[0], bill[1]
		first := w.as("bob", "POST", path, body, "Idempotency-Key: k")
		facts := wishes(t, w.log)
		if second := w.as("bob", "POST", path, body, "Idempotency-Key: k"); first.status != 201 || second.status != 201 || second.body != first.body {
			t.Errorf("%s: %d %s, then %d %s", path, first.status, first.body, second.status, second.body)
		}
		if again := wishes(t, w.log); again != facts {
			t.Errorf("%s: %d more facts", path, again-facts)
		}
	}
}

// Scans and file services are in no log, and still carried out once.
func TestWhatLivesInMemoryIsDoneOnceToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const key = "Idempotency-Key: the same"
	do := func(status int, method, path, body string) answered {
		first, second := w.call(status, method, path, body, key), w.call(status, method, path, body, key)
		if first.body != second.body || first.header.Get("Location") != second.header.Get("Location") ||
			first.header.Get("Content-Type") != second.header.Get("Content-Type") {
			t.Errorf("%s %s: %v, then %v", method, path, first, second)
		}
		return first
	}
	scan := w.text(do(201, "POST", "/market-api/v1/scan", `{"type":"offer"}`))
	if other := w.text(w.call(201, "POST", "/market-api/v1/scan", `{"type":"offer"}`, key+" no more")); other == scan {
		t.Error("another key got the same scan")
	}
	do(204, "DELETE", "/market-api/v1/scan/"+scan, "")
	service := do(201, "POST", "/gsb-api/v1/services", `{"listen":{"on":"/public/gftp/1","components":["GetChunk"]}}`)
	w.call(400, "POST", "/gsb-api/v1/services", `{"listen":{"on":"/public/gftp/1","components":["GetChunk"]}}`)
	do(200, "DELETE", "/gsb-api/v1/services"+service.header.Get("Location"), "")
	w.call(404, "DELETE", "/gsb-api/v1/services"+service.header.Get("Location"), "")
}

// proposed makes alice a provider to whom carol proposed an agreement.
func (w *world) proposed() string {
	w.t.Helper()
	w.mu.Lock()
	w.seq++
	id := fmt.Sprintf("%064x", w.seq)
	w.mu.Unlock()
	now := time.Now().UTC()
	facts := es.Facts{Stream: es.StreamOf(agreement.Category, agreement.StreamID(identity.Provider, id)), Expected: es.NoStream, Facts: []any{
		agreement.Received{AgreementID: id, Side: identity.Provider, Terms: agreement.Terms{
			Created: now, ValidTo: now.Add(time.Hour), Provider: alice, Requestor: carol, DemandProperties: `{}`, OfferProperties: `{}`,
		}},
	}}
	if _, err := w.log.Append(w.t.Context(), w.meta(), nil, facts); err != nil {
		w.t.Fatal(err)
	}
	return id
}

// A provider's agent decides once.
func TestDecisionsWhoseEveryAnswerIsLostOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const path = "/market-api/v1/agreements/"
	twice(t, w.url, w.log, "POST", path+w.proposed()+"/reject", `{"message":"no"}`)
	id := w.proposed()
	ctx, stream := t.Context(), agreement.StreamID(identity.Provider, id)
	committed := make(chan error, 1)
	go func() { // carol
		agreements := w.deps.Market.Agreements
		_, err := agreements.Await(ctx, stream, func(a agreement.State) bool { return a.Phase == agreement.PhaseApproving })
		if err == nil {
			_, err = agreements.Do(ctx, stream, agreement.FinishApproval{}, w.meta())
		}
		if err == nil {
			_, err = agreements.Do(ctx, stream, agreement.ReceiveCommit{At: time.Now().UTC(), By: fromCarol, Signature: "NoSignature"}, w.meta())
		}
		committed <- err
	}()
	twice(t, w.url, w.log, "POST", path+id+"/approve?timeout=60&appSessionId=p", "")
	if err := <-committed; err != nil {
		t.Error(err)
	}
	twice(t, w.url, w.log, "POST", path+id+"/terminate", "null")
}

// Every operation that changes something is repeated by some test of this file,
// or changes nothing when it is repeated with or without a key.
func TestEveryChangeIsRepeatedByATest(t *testing.T) {
	t.Parallel()
	repeated := strings.Fields(`CreateActivity DestroyActivity ExecScript BindServices UnbindServices SubscribeDemand UnsubscribeDemand
		CounterDemandProposal RejectDemandProposal SubscribeOffer UnsubscribeOffer CreateAgreement ConfirmAgreement WaitForApproval
		CancelAgreement ApproveAgreement RejectAgreement TerminateAgreement BeginScan EndScan CreateAllocation ReleaseAllocation
		AmendAllocation IssueDebitNote AcceptDebitNote IssueInvoice AcceptInvoice RejectInvoice SetCycle SettleNow`)
	alike := map[string]string{
		"CounterOfferProposal": "CounterDemandProposal", "RejectOfferProposal": "RejectDemandProposal", "EndScanOfEvents": "EndScan",
	}
	idle := map[string]string{
		"SetActivityState": "the state is what it is", "PostTerminationReason": "only reads", "SendDebitNote": "TestAProviderBills sends twice",
		"SendInvoice": "the same handler", "CancelInvoice": "TestAProviderTakesAnInvoiceBack cancels twice",
		"CancelDebitNote": "TestDebitNotesCanBeRejectedAndCancelled", "RejectDebitNote": "TestDebitNotesCanBeRejectedAndCancelled",
	}
	all, money := documented()
	for _, r := range append(all, money...) {
		if r.method == "GET" || slices.Contains(repeated, r.operation) || alike[r.operation] != "" || idle[r.operation] != "" {
			continue
		}
		t.Errorf("nobody repeats %s %s (%s)", r.method, r.path, r.operation)
	}
}
