package rest

import (
	"bytes"
	"context"
	"encoding/json"
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
