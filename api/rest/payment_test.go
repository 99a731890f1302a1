package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/activity"
	life "github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/cycle"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/ops"
	"github.com/emet-node/emet/domain/payment/wallet"
	"github.com/emet-node/emet/projections"
)

var updateGolden = flag.Bool("update", false, "write golden answers anew")

const (
	hoodi  = pay.Platform("erc20-hoodi-tglm")
	someID = "0123456789abcdef0123456789abcdef"
)

var (
	pact = strings.Repeat("d0", 32) // an agreement of alice (requestor) and bob (provider)
	// noon is later than any clock of a test, so that it shows in golden answers.
	noon = time.Date(2090, 3, 1, 12, 0, 0, 123456000, time.UTC)
)

// till is a node that can pay. Its chain says that everybody has 10 tokens.
type till struct {
	t    *testing.T
	url  string
	log  *es.Log
	ops  *ops.Ops
	deps *PaymentDeps

	mu    sync.Mutex
	chain error  // why the chain does not answer
	seen  int    // how often it was asked
	slow  func() // called while ops are carried out

	trace bytes.Buffer
}

func (w *till) Observe(ctx context.Context, owner identity.NodeID, platform pay.Platform, address string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen++
	if w.chain != nil {
		return w.chain
	}
	p, err := onchain.ParsePlatform(string(platform))
	if err != nil {
		return err
	}
	id := wallet.StreamID(p.ChainID, address)
	if _, err := w.ops.Wallets.Do(ctx, id, wallet.Open{
		Address: address, By: identity.Caller{Actor: es.ActorEffect}, ChainID: p.ChainID, OwnerID: owner, Platform: platform,
	}, w.meta()); err != nil {
		return err
	}
	_, err = w.ops.Wallets.Do(ctx, id, wallet.Observe{Block: 1, Token: money.MustParse("10"), Native: money.MustParse("1")}, w.meta())
	return err
}

// Handle makes the till an Ops that can be slowed down.
func (w *till) Handle(ctx context.Context, id string, cmd any, m es.Meta) error {
	w.mu.Lock()
	slow := w.slow
	w.mu.Unlock()
	if slow != nil {
		slow()
	}
	return w.ops.Handle(ctx, id, cmd, m)
}

var metas struct {
	sync.Mutex
	n int
}

func (w *till) meta() es.Meta {
	metas.Lock()
	defer metas.Unlock()
	metas.n++
	return es.Meta{Key: fmt.Sprint("till-", metas.n), Actor: es.ActorEffect}
}

func newTill(t *testing.T, change ...func(*PaymentDeps)) *till {
	t.Helper()
	log := newLog(t)
	w := &till{t: t, log: log, ops: ops.New(log)}
	views, err := projections.OpenPayment(t.Context(), projections.Memory, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- views.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the view stopped: %v", err)
		}
		_ = views.Close()
	})
	w.deps = &PaymentDeps{
		Activities: es.NewAggregate(log, life.Category, life.Rules), Agreements: es.NewAggregate(log, agreement.Category, agreement.Rules),
		Allocations: w.ops.Allocations, Bills: w.ops.Bills, Cycles: es.NewAggregate(log, cycle.Category, cycle.Rules),
		Ops: w, Views: views, Funds: w, DefaultNetwork: "hoodi",
	}
	for _, name := range []string{"hoodi", "holesky", "polygon"} {
		p, _ := onchain.Network(name)
		w.deps.Networks = append(w.deps.Networks, p)
	}
	for _, f := range change {
		f(w.deps)
	}
	keys := maps.Clone(someKeys)
	keys["supplier"] = Key{ID: "k-sup", Name: "sup", Identity: alice, Role: identity.RoleProvider}
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = HTTPServer(New(Config{Version: "0.17.6", Name: "emet"}, Deps{Keys: keys, Log: log, Net: testNet{}, Payment: w.deps}))
	srv.Start()
	t.Cleanup(srv.Close)
	w.url = srv.URL
	return w
}

// as sends a request below the API's base path, and keeps the exchange for the
// golden file.
func (w *till) as(who, method, path, body string, headers ...string) answered {
	w.t.Helper()
	all := append([]string{"Authorization: Bearer " + who}, headers...)
	if body != "" {
		all = append(all, "Content-Type: application/json")
	}
	got := ask(w.t, w.url, method, paymentBase+path, body, all...)
	fmt.Fprintf(&w.trace, "%s %s %s %s\n%s", who, method, path, strings.Join(headers, ", "), ifAny(body))
	fmt.Fprintf(&w.trace, "%d %s\n%s\n\n", got.status, got.header.Get("Content-Type"), got.body)
	return got
}

func ifAny(body string) string {
	if body == "" {
		return ""
	}
	return body + "\n"
}

func (w *till) want(got answered, status int, parts ...string) string {
	w.t.Helper()
	if got.status != status {
		w.t.Fatalf("status %d, want %d: %s", got.status, status, got.body)
	}
	for _, p := range parts {
		if !strings.Contains(got.body, p) {
			w.t.Fatalf("no %q in %s", p, got.body)
		}
	}
	return got.body
}

// allocate makes an allocation of alice and returns its id.
func (w *till) allocate(total string) string {
	w.t.Helper()
	body := w.want(w.as("alice", "POST", "/allocations?maxItems=10", `{"totalAmount":"`+total+`","paymentPlatform":"erc20-hoodi-tglm",`+
		`"address":"`+string(alice)+`","timestamp":"2026-01-01T00:00:00.000Z","timeout":"`+noon.Format(time.RFC3339Nano)+`",`+
		`"makeDeposit":false,"remainingAmount":"","spentAmount":"","allocationId":""}`), 201)
	var a struct{ AllocationID string }
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		w.t.Fatal(err)
	}
	return a.AllocationID
}

func terms() pay.Terms {
	return pay.Terms{AppSessionID: "session-1", PayeeAddr: string(bob), PayeeID: bob, PayerAddr: string(alice), PayerID: alice, Platform: hoodi}
}

func (w *till) bill(side identity.Side, cmd bill.Command) {
	w.t.Helper()
	if _, err := w.ops.Bills.Do(w.t.Context(), bill.StreamID(side, pact), cmd, w.meta()); err != nil {
		w.t.Fatal(err)
	}
}

var bobPeer = identity.Caller{Actor: es.ActorPeer, Node: bob, Grade: es.GradeSession}

// receiveInvoice lets bob's invoice arrive at alice.
func (w *till) receiveInvoice(id, amount string) {
	w.t.Helper()
	w.bill(identity.Requestor, bill.ReceiveInvoice{
		Activities: []string{someID}, ActivityIDs: []string{someID}, AgreementID: pact, Amount: amount, By: bobPeer, DueDate: noon,
		InvoiceID: id, Terms: terms(), Timestamp: noon,
	})
}

func (w *till) receiveNote(id, amount string) {
	w.t.Helper()
	w.bill(identity.Requestor, bill.ReceiveNote{
		ActivityID: someID, AgreementID: pact, Amount: amount, By: bobPeer, DebitNoteID: id, Terms: terms(), Timestamp: noon, UsageVector: "[1.0,2.0]",
	})
}

// provide gives bob his side of the agreement and an activity in it.
func (w *till) provide(demand string) {
	w.t.Helper()
	w.say("agreement-P-"+pact, agreement.Received{AgreementID: pact, Side: identity.Provider, Terms: agreement.Terms{
		Created: noon, ValidTo: noon.Add(time.Hour), Provider: bob, Requestor: alice, DemandProperties: demand, OfferProperties: `{}`,
	}})
	w.say("activity-"+activity.StreamID(identity.Provider, someID), life.Created{
		ActivityID: someID, AgreementID: pact, Provider: bob, Requestor: alice, Side: identity.Provider,
	})
}

func (w *till) say(stream string, facts ...any) {
	w.t.Helper()
	if _, err := w.log.Append(w.t.Context(), w.meta(), nil, es.Facts{Stream: es.Stream(stream), Expected: es.Any, Facts: facts}); err != nil {
		w.t.Fatal(err)
	}
}

const chosen = `{"golem.com.payment.chosen-platform":"erc20-hoodi-tglm"}`

// What differs in each run.
var (
	nowish  = regexp.MustCompile(`"20[2-5]\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6})?(Z?)"`)
	someIDs = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	millis  = regexp.MustCompile(`_time_ms":\d+`)
)

// golden compares what was asked and answered with a file.
func (w *till) golden(name string) {
	w.t.Helper()
	got := nowish.ReplaceAll(w.trace.Bytes(), []byte(`"<now>$2"`))
	got = someIDs.ReplaceAll(got, []byte("<uuid>"))
	got = millis.ReplaceAll(got, []byte(`_time_ms":<n>`))
	compareGolden(w.t, filepath.Join("testdata", "payment", name), got)
}

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

func TestAllocationProblemsAreTold(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	id := w.allocate("4")
	w.trace.Reset()
	for _, body := range []string{
		`{"totalAmount":"7"}`,
		`{"totalAmount":"1","timeout":"2020-01-01T00:00:00Z"}`,
		`{"totalAmount":"1","paymentPlatform":"erc20-rinkeby-tglm"}`,
		`{"totalAmount":"1","paymentPlatform":{"network":"amoy"}}`,
		`{"totalAmount":"1","address":"0x00000000000000000000000000000000000000ff"}`,
		`{"totalAmount":"1","deposit":{"id":"0x1","contract":"0x2"}}`,
		`{"totalAmount":"-1"}`,
		`{"totalAmount":"0.0000000000000000001"}`,
		`{"totalAmount":"x"}`,
		`{}`,
	} {
		w.as("alice", "POST", "/allocations", body)
	}
	w.as("alice", "PUT", "/allocations/"+id, `{"totalAmount":"11"}`)
	w.as("alice", "PUT", "/allocations/"+id, `{"timeout":"2020-01-01T00:00:00Z"}`)
	w.as("alice", "PUT", "/allocations/"+id, `{"deposit":{"validate":{}}}`)
	w.as("alice", "PUT", "/allocations/"+id, `{"totalAmount":"10"}`)
	w.as("alice", "PUT", "/allocations/unknown", `{"totalAmount":"10"}`)
	w.as("bob", "GET", "/allocations/"+id, "")
	w.as("bob", "DELETE", "/allocations/"+id, "")
	w.as("alice", "GET", "/demandDecorations?allocationIds=unknown", "")
	w.as("alice", "GET", "/demandDecorations?allocationIds="+id+"&allocationIds="+id, "")
	w.as("alice", "GET", "/demandDecorations", "")
	w.golden("problems.golden")
}

func TestAChainThatDoesNotAnswerIsNamed(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	w.chain = errors.New("dial tcp: connection refused")
	got := w.as("alice", "POST", "/allocations", `{"totalAmount":"1"}`)
	w.want(got, 500, `"type":"/payment-api/v1/allocations/internal-error"`, "network hoodi", "HOODI_GETH_ADDR", "connection refused")
	if ct := got.header.Get("Content-Type"); ct != "application/problem+json" {
		t.Error(ct)
	}
	w.want(w.as("alice", "GET", "/allocations", ""), 200, "[]")
}

func TestDevelopersMayAllocateWhatIsNotThere(t *testing.T) {
	t.Parallel()
	w := newTill(t, func(d *PaymentDeps) { d.SkipValidation = true })
	w.chain = errors.New("no chain")
	w.want(w.as("alice", "POST", "/allocations", `{"totalAmount":"1000"}`), 201, `"totalAmount":"1000"`)
}

func TestPlatformsAreReadInAllForms(t *testing.T) {
	t.Parallel()
	d := &PaymentDeps{DefaultNetwork: "hoodi"}
	for _, name := range []string{"hoodi", "holesky", "polygon"} {
		p, _ := onchain.Network(name)
		d.Networks = append(d.Networks, p)
	}
	for in, want := range map[string]string{
		``: "erc20-hoodi-tglm", `null`: "erc20-hoodi-tglm", `{}`: "erc20-hoodi-tglm", `{"token":"glm"}`: "erc20-polygon-glm",
		`{"token":"tglm"}`: "erc20-hoodi-tglm", `{"network":"holesky"}`: "erc20-holesky-tglm", `"erc20-holesky-tglm"`: "erc20-holesky-tglm",
		`{"driver":"erc20","network":"polygon","token":"glm"}`: "erc20-polygon-glm", ` {"network":null} `: "erc20-hoodi-tglm",
	} {
		if p, err := d.platform(json.RawMessage(in)); err != nil || p.Platform() != want {
			t.Errorf("%s read as %s, %v", in, p.Platform(), err)
		}
	}
	for _, in := range []string{
		`"erc20-hoodi-tGLM"`, `{"token":"GLM"}`, `{"network":"polygon","token":"tglm"}`, `{"driver":"zksync"}`, `"erc20-mainnet-glm"`, `"dummy-glm"`,
		`7`, `[]`, `{"network":1}`,
	} {
		if p, err := d.platform(json.RawMessage(in)); err == nil {
			t.Errorf("%s was taken for %s", in, p.Platform())
		}
	}
}

func TestAddressesKeepTheirSpelling(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	spelled := "0x00000000000000000000000000000000000000A1"
	w.want(w.as("alice", "POST", "/allocations", `{"totalAmount":"5e-7","address":"`+spelled+`"}`), 201, spelled, `"totalAmount":"0.0000005"`)
}

func TestSeveralAllocationsMakeOneClause(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	var ids []string
	for _, platform := range []string{"erc20-hoodi-tglm", "erc20-holesky-tglm", "erc20-hoodi-tglm"} {
		body := w.want(w.as("alice", "POST", "/allocations", `{"totalAmount":"1","paymentPlatform":"`+platform+`"}`), 201)
		ids = append(ids, someIDs.FindString(body))
	}
	w.want(w.as("alice", "GET", "/demandDecorations?allocationIds="+strings.Join(ids, ","), ""), 200,
		`"(|\n  (golem.com.payment.platform.erc20-hoodi-tglm.address=*)\n  (golem.com.payment.platform.erc20-holesky-tglm.address=*)\n)"`)
}

func TestTheSameRequestAllocatesOnce(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	first := w.as("alice", "POST", "/allocations", `{"totalAmount":"3"}`, "Idempotency-Key: k").body
	if second := w.as("alice", "POST", "/allocations", `{"totalAmount":"3"}`, "Idempotency-Key: k"); second.status != 201 || second.body != first {
		t.Fatalf("%d %s, first %s", second.status, second.body, first)
	}
}

// A client that goes releases its allocation while it still accepts the last
// invoice.
func TestAReleaseWaitsForTheAcceptanceBeforeIt(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	id := w.allocate("2")
	w.receiveInvoice("invoice-1", "1.5")
	inside, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.mu.Lock()
	w.slow = func() { once.Do(func() { close(inside); <-goOn }) }
	w.mu.Unlock()
	accepted, released := make(chan answered, 1), make(chan answered, 1)
	send := func(to chan answered, method, path, body string) {
		to <- ask(t, w.url, method, paymentBase+path, body, asAlice, "Content-Type: application/json")
	}
	go send(accepted, "POST", "/invoices/invoice-1/accept", `{"totalAmountAccepted":"1.5","allocationId":"`+id+`"}`)
	<-inside
	go send(released, "DELETE", "/allocations/"+id, "")
	select {
	case r := <-released:
		t.Fatalf("the release went before: %d %s", r.status, r.body)
	case <-time.After(100 * time.Millisecond):
	}
	close(goOn)
	if a := <-accepted; a.status != 200 || a.body != "null" {
		t.Fatalf("accept: %d %s", a.status, a.body)
	}
	if r := <-released; r.status != 200 || r.body != "null" {
		t.Fatalf("release: %d %s", r.status, r.body)
	}
	w.want(w.as("alice", "GET", "/invoices/invoice-1", ""), 200, `"status":"ACCEPTED"`)
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
		Amount: money.DecimalOf(1), By: identity.Caller{Actor: es.ActorPeer, Node: alice}, DocumentID: "invoice-2", Kind: pay.Invoice,
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
