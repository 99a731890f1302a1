package rest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/order"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/payment/wallet"
)

type billEvent struct{ InvoiceID, DebitNoteID, EventDate, EventType string }

func (w *till) events(path string, headers ...string) (out []billEvent) {
	w.t.Helper()
	if err := json.Unmarshal([]byte(w.want(w.as("alice", "GET", path, "", headers...), 200)), &out); err != nil {
		w.t.Fatal(err)
	}
	return out
}

// Clients take every event of an invoice for a new invoice.
func TestARequestorDoesNotHearOfItsOwnDecisions(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	id := w.allocate("2")
	w.receiveInvoice("invoice-1", "1")
	w.want(w.as("alice", "POST", "/invoices/invoice-1/accept", `{"totalAmountAccepted":"1","allocationId":"`+id+`"}`), 200)
	got := w.events("/invoiceEvents?timeout=0")
	if len(got) != 1 || got[0].EventType != "InvoiceReceivedEvent" || got[0].InvoiceID != "invoice-1" {
		t.Fatalf("%+v", got)
	}
	if got := w.events("/invoiceEvents?timeout=0", "X-Requestor-Events: ACCEPTED"); len(got) != 1 || got[0].EventType != "InvoiceAcceptedEvent" {
		t.Fatalf("%+v", got)
	}
	w.want(w.as("alice", "GET", "/invoiceEvents?timeout=0", "", "X-Requestor-Events: NOPE"), 400, "NOPE")
	w.want(w.as("alice", "GET", "/invoiceEvents?timeout=0&appSessionId=other", ""), 200, "[]")
	w.want(w.as("alice", "GET", "/invoiceEvents?timeout=0&maxEvents=0", ""), 400)
}

// A page of one, followed by many events that the client does not want: the
// next wanted one is found, and the exact text of a date is a cursor.
func TestCursorsPassOverWhatIsHidden(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	id := w.allocate("5")
	for i := range 5 {
		w.receiveNote(fmt.Sprint("note-", i), fmt.Sprint("0.", i+1))
		w.want(w.as("alice", "POST", fmt.Sprintf("/debitNotes/note-%d/accept", i), fmt.Sprintf(`{"totalAmountAccepted":"0.%d","allocationId":"%s"}`, i+1, id)), 200)
	}
	after := "2026-01-01T00:00:00.000Z"
	var seen []string
	for range 5 {
		got := w.events("/debitNoteEvents?timeout=0&maxEvents=1&afterTimestamp=" + after)
		if len(got) != 1 {
			t.Fatalf("after %s: %+v", after, got)
		}
		seen, after = append(seen, got[0].DebitNoteID), got[0].EventDate
	}
	if strings.Join(seen, " ") != "note-0 note-1 note-2 note-3 note-4" {
		t.Fatal(seen)
	}
	w.want(w.as("alice", "GET", "/debitNoteEvents?timeout=0&afterTimestamp="+after, ""), 200, "[]")
	bare := strings.Replace(after, "Z", "+00:00", 1) // what a client sends that does not encode
	w.want(w.as("alice", "GET", "/debitNoteEvents?timeout=0&afterTimestamp="+bare, ""), 200, "[]")
	w.want(w.as("alice", "GET", "/debitNoteEvents?timeout=0&afterTimestamp="+url.QueryEscape(bare), ""), 200, "[]")
}

func TestAPollWakesWhenAnInvoiceComes(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	got := make(chan answered, 1)
	began := time.Now()
	go func() { got <- ask(t, w.url, "GET", paymentBase+"/invoiceEvents?timeout=600", "", asAlice) }()
	select {
	case a := <-got:
		t.Fatalf("answered before there was anything: %s", a.body)
	case <-time.After(50 * time.Millisecond):
	}
	w.receiveInvoice("invoice-1", "1")
	if a := <-got; a.status != 200 || !strings.Contains(a.body, "InvoiceReceivedEvent") {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if d := time.Since(began); d > patience {
		t.Fatalf("it took %v", d)
	}
	w.want(w.as("alice", "GET", "/debitNoteEvents?timeout=0.05", ""), 200, "[]")
}

const txHash = "0xabababababababababababababababababababababababababababababababab"

func (w *till) pays() {
	shares := []pay.Share{{AgreementID: pact, Amount: amountOf1()}, {ActivityID: someID, AgreementID: pact, Amount: amountOf1()}}
	stream := "payment-" + payment.SentID(someID)
	w.say(stream, payment.SigningRequested{
		PayeeAddr: string(bob), PayeeID: bob, PayerAddr: string(alice), PayerID: alice, PaymentID: someID, Platform: hoodi,
		Shares: shares, Side: identity.Requestor, Timestamp: noon, TxHash: txHash,
	})
	w.say(stream, payment.Signed{Canonical: []byte{1, 2}, PayeeID: bob, PaymentID: someID, Shares: shares, Side: identity.Requestor, Signature: []byte{0, 255}})
}

// keepsBooks lets alice accept a note and an invoice of bob's and pay both, and
// returns the allocation.
func (w *till) keepsBooks() string {
	w.t.Helper()
	id := w.allocate("2")
	w.receiveNote("note-1", "1")
	w.receiveInvoice("invoice-1", "2")
	w.want(w.as("alice", "POST", "/debitNotes/note-1/accept", `{"totalAmountAccepted":"1","allocationId":"`+id+`"}`), 200)
	w.want(w.as("alice", "POST", "/invoices/invoice-1/accept", `{"totalAmountAccepted":"2","allocationId":"`+id+`"}`), 200)
	one := amountOf1()
	w.say("order-o1", order.Opened{ChainID: 560048, OrderID: "o1", PayerAddr: string(alice), PayerID: alice, Platform: hoodi, Total: one.Add(one)},
		order.IntentRecorded{Amount: one.Add(one), IntentID: "i1", OrderID: "o1", PayeeAddr: string(bob), PaymentID: someID, Ranges: []pay.Range{
			{ActivityID: someID, AgreementID: pact, AllocationID: id, PayeeID: bob, To: one},
			{AgreementID: pact, AllocationID: id, PayeeID: bob, To: one},
		}})
	w.pays()
	return id
}

func TestPaymentsAndTheirBooks(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	id := w.keepsBooks()
	w.trace.Reset()
	for _, path := range []string{
		"/payments?timeout=0", "/payments?timeout=0&network=holesky", "/payments?timeout=0&network=nowhere", "/payments/" + someID, "/payments/none",
		"/invoices/invoice-1/payments", "/debitNotes/note-1/payments", "/invoices/none/payments",
		"/payAgreements", "/payAgreements/none", "/payAgreements/" + pact + "/activities", "/payAgreements/" + pact + "/orders",
		"/payActivities", "/payActivities/" + someID, "/payActivities/none", "/payActivities/" + someID + "/debitNotes",
		"/payActivities/" + someID + "/invoice", "/payActivities/none/invoice", "/payActivities/" + someID + "/orders",
		"/batchOrders", "/batchOrders/o1", "/batchOrders/none", "/batchOrders/o1/items", "/batchOrders/o1/items/" + string(bob) + "/details",
		"/batchOrders/o1/items/" + string(alice) + "/details", "/allocations/" + id + "/orders", "/allocations/none/orders",
	} {
		w.as("alice", "GET", path, "")
	}
	w.as("bob", "GET", "/batchOrders", "")
	w.as("bob", "GET", "/payAgreements", "")
	w.golden("books.golden")
}

func TestSchedules(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	w.as("alice", "GET", "/batchCycles", "")
	w.as("alice", "GET", "/batchCycle/erc20-hoodi-tglm", "")
	w.as("alice", "GET", "/batchCycle/nonsense", "")
	w.as("alice", "POST", "/batchCycle", `{"platform":"erc20-hoodi-tglm","intervalSec":3}`)
	w.as("alice", "POST", "/batchCycle", `{"platform":"erc20-hoodi-tglm","cron":"*/5 * * * *"}`)
	w.as("alice", "POST", "/batchCycle", `{"platform":"erc20-hoodi-tglm","intervalSec":60,"extraPayTimeSec":30,"nextUpdate":"2090-01-01T00:00:00Z"}`)
	w.as("alice", "GET", "/batchCycles", "")
	w.as("bob", "GET", "/batchCycles", "")
	w.as("alice", "POST", "/batchCycle/erc20-holesky-tglm/now", "")
	w.golden("cycles.golden")
}

func TestWhatStandsInTheWayOfPaying(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	id := w.allocate("2")
	w.want(w.as("alice", "GET", "/payments/status", ""), 200, "[]")
	w.receiveInvoice("invoice-1", "1")
	w.want(w.as("alice", "POST", "/invoices/invoice-1/accept", `{"totalAmountAccepted":"1","allocationId":"`+id+`"}`), 200)
	const gas = `{"kind":"InsufficientGas","driver":"erc20","network":"hoodi","address":"0x1","neededGasEst":"0.01"}`
	if _, err := w.ops.Wallets.Do(t.Context(), wallet.StreamID(560048, string(alice)), wallet.ReportHealth{Properties: "[" + gas + "]"}, w.meta()); err != nil {
		t.Fatal(err)
	}
	w.want(w.as("alice", "GET", "/payments/status?driver=erc20&network=hoodi", ""), 200, "["+gas+"]")
	if got := ask(t, w.url, "GET", "/healthcheck", "", asAlice); got.status != 500 || !strings.Contains(got.body, `"step":"payments-check"`) ||
		!strings.Contains(got.body, "InsufficientGas") || !strings.Contains(got.body, `"type":"/healthcheck/payment-driver-errors"`) {
		t.Errorf("health: %d %s", got.status, got.body)
	}
	if got := ask(t, w.url, "GET", "/healthcheck", "", "Authorization: Bearer bob"); got.status != 200 {
		t.Errorf("bob's health: %d %s", got.status, got.body)
	}
	w.want(w.as("alice", "GET", "/payments/status?network=holesky", ""), 200, "[]")
	w.want(w.as("alice", "GET", "/payments/status?network=nowhere", ""), 404, "Network not found")
	w.want(w.as("alice", "GET", "/payments/status?driver=zksync", ""), 404, "Driver not found")
	w.want(w.as("alice", "GET", "/invoiceEvents?timeout=0", "", "X-Requestor-Events: PAYMENT_EVENT"), 200, "InvoicePaymentStatusEvent", `"property":`+gas)
	if got := w.events("/invoiceEvents?timeout=0"); len(got) != 1 {
		t.Fatalf("who did not ask hears of it: %+v", got)
	}
}

func amountOf1() money.Amount { return money.MustParse("1") }

// A payment shows one time only, so that is the cursor of those who wait for
// the next one.
func TestAPaymentSeenIsNotToldAgain(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	w.pays()
	payments := func(after string) (out []struct{ PaymentID, Timestamp string }) {
		t.Helper()
		if err := json.Unmarshal([]byte(w.want(w.as("alice", "GET", "/payments?timeout=0&afterTimestamp="+after, ""), 200)), &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	first := payments("2026-01-01T00:00:00Z")
	if len(first) != 1 {
		t.Fatalf("%+v", first)
	}
	if again := payments(first[0].Timestamp); len(again) != 0 {
		t.Errorf("after %s: %+v", first[0].Timestamp, again)
	}
	other := "payment-" + payment.SentID(strings.Repeat("b", 32))
	w.say(other, payment.SigningRequested{
		PayeeAddr: string(bob), PayeeID: bob, PayerAddr: string(alice), PayerID: alice, PaymentID: strings.Repeat("b", 32), Platform: hoodi,
		Side: identity.Requestor, Timestamp: noon.AddDate(-80, 0, 0), TxHash: txHash,
	})
	if early := payments("1960-01-01T00:00:00Z"); len(early) != 1 {
		t.Errorf("one that is not signed is listed: %+v", early)
	}
	w.say(other, payment.Signed{Canonical: []byte{1, 2}, PayeeID: bob, PaymentID: strings.Repeat("b", 32), Side: identity.Requestor, Signature: []byte{0}})
	if next := payments(first[0].Timestamp); len(next) != 1 || next[0].PaymentID != strings.Repeat("b", 32) {
		t.Errorf("the next one is lost: %+v", next)
	}
}

// The same of documents: their issuers' clocks, which may be ahead or behind,
// neither repeat nor hide one.
func TestADocumentSeenIsNotListedAgain(t *testing.T) {
	t.Parallel()
	for name, clock := range map[string]time.Time{"ahead": noon, "behind": noon.AddDate(-80, 0, 0)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTill(t)
			note := func(n int) {
				w.bill(identity.Requestor, bill.ReceiveNote{
					ActivityID: someID, AgreementID: pact, Amount: "1", By: bobPeer, DebitNoteID: fmt.Sprint("note-", n), Terms: terms(), Timestamp: clock,
				})
			}
			var seen []string
			for n, after := 0, "2026-01-01T00:00:00Z"; n < 4; n++ {
				if n < 3 {
					note(n)
				}
				var page []struct{ DebitNoteID, Timestamp string }
				if err := json.Unmarshal([]byte(w.want(w.as("alice", "GET", "/debitNotes?maxItems=1&afterTimestamp="+after, ""), 200)), &page); err != nil {
					t.Fatal(err)
				}
				for _, d := range page {
					seen, after = append(seen, d.DebitNoteID), d.Timestamp
				}
			}
			if strings.Join(seen, " ") != "note-0 note-1 note-2" {
				t.Error(seen)
			}
		})
	}
}

// A number of seconds that does not fit is none that does.
func TestSecondsBelowAllBoundsMakeNoSchedule(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	for _, field := range []string{"intervalSec", "extraPayTimeSec"} {
		w.want(w.as("alice", "POST", "/batchCycle", `{"platform":"erc20-hoodi-tglm","`+field+`":-18446744063}`), 200, `"Err":`)
	}
	w.want(w.as("alice", "GET", "/batchCycles", ""), 200, "[]")
}

// Who asks for a run before there is a schedule gets the one of this node.
func TestAScheduleThatNobodySetIsTheNodes(t *testing.T) {
	t.Parallel()
	w := newTill(t, func(d *PaymentDeps) {
		d.Cycle = func(pay.Platform) (interval, extra time.Duration) { return time.Hour, time.Minute }
	})
	const hourly = `"extraPayTimeSec":60,"intervalSec":3600`
	w.want(w.as("alice", "GET", "/batchCycle/erc20-hoodi-tglm", ""), 200, hourly)
	w.want(w.as("alice", "POST", "/batchCycle/erc20-hoodi-tglm/now", ""), 200)
	w.want(w.as("alice", "GET", "/batchCycles", ""), 200, hourly)
}
