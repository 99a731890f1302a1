package node

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/api/gen/activity"
	"github.com/emet-node/emet/api/gen/emet"
	"github.com/emet-node/emet/api/gen/market"
	"github.com/emet-node/emet/api/gen/payment"
	"github.com/emet-node/emet/api/rest"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/eventschemas"
	"github.com/emet-node/emet/projections"
	"github.com/emet-node/emet/projections/story/storytest"
)

// twoKeys lets the buyer and the seller of the histories in.
type twoKeys struct{}

func (twoKeys) Find(secret string) (rest.Key, bool) {
	id, ok := map[string]identity.NodeID{"buyer": storytest.Buyer, "seller": storytest.Seller}[secret]
	return rest.Key{ID: secret, Name: secret, Identity: id, Role: identity.RoleManager}, ok
}
func (twoKeys) Origins() []string { return nil }

// past is a ledger with a history and REST over it that serves the past.
type pastWorld struct {
	*Ledger
	h    history
	rest http.Handler
}

func newPastWorld(t *testing.T, stages []int) *pastWorld {
	t.Helper()
	l, err := OpenLedger(t.Context(), Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	w := &pastWorld{Ledger: l}
	world, err := storytest.NewWorld(t.Context(), l.Log)
	if err == nil {
		err = world.Deals(t.Context(), 0, len(stages), func(n int) storytest.Stage { return storytest.Stage(stages[n]) })
	}
	if err != nil {
		t.Fatal(err)
	}
	w.h = history{Ledger: l, keys: twoKeys{}, networks: onchain.Networks(), o: Options{DefaultNetwork: "hoodi"}}
	h, stop, err := ReadREST(t.Context(), l, twoKeys{})
	if err != nil {
		t.Fatal(err)
	}
	w.rest = h
	t.Cleanup(func() {
		stop()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// fresh is a node that got no further than m: a store of its own with the same
// events, and views folded from them.
func (w *pastWorld) fresh(t *testing.T, m es.Moment) http.Handler {
	t.Helper()
	var clock time.Time
	store := memory.New().WithClock(func() time.Time { return clock })
	for e, err := range w.Store.ReadAll(t.Context(), 0, es.Forward, es.Filter{}, int(m.Count())) {
		if err != nil {
			t.Fatal(err)
		}
		clock = e.Recorded
		if _, err := store.Append(t.Context(), nil, es.Write{Stream: e.Stream, Expected: es.Any, Events: []es.NewEvent{e.NewEvent}}); err != nil {
			t.Fatal(err)
		}
	}
	l := &Ledger{Log: &es.Log{Store: store, Codec: eventschemas.New(), Sealer: w.Log.Sealer}, Store: w.Store, Secrets: w.Secrets, Blobs: w.Blobs}
	open := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	l.Market, err = projections.OpenMarket(t.Context(), projections.Memory, l.Log)
	open(err)
	l.Activity, err = projections.OpenActivity(t.Context(), projections.Memory, l.Log)
	open(err)
	l.Payment, err = projections.OpenPayment(t.Context(), projections.Memory, l.Log)
	open(err)
	l.Node, err = projections.OpenNode(t.Context(), projections.Memory, l.Log)
	open(err)
	for _, v := range l.Views() {
		open(v.CatchUp(t.Context()))
		t.Cleanup(func() { v.Close() }) //nolint:errcheck // in memory
	}
	deps, _, err := w.h.at(t.Context(), m)
	open(err)
	agg := newAggregates(l.Log)
	deps.Log, deps.Stories, deps.Books = l.Log, l.Node, l.Payment
	deps.Market.Agreements, deps.Market.Demands, deps.Market.Inboxes, deps.Market.Negotiations, deps.Market.Offers = agg.Agreements, agg.Demands, agg.Inboxes, agg.Negotiations, agg.Offers
	deps.Market.Views = l.Market
	deps.Activity.Activities, deps.Activity.Batches, deps.Activity.Usages, deps.Activity.Views = agg.Activities, agg.Batches, agg.Usage, l.Activity
	deps.Payment.Activities, deps.Payment.Agreements, deps.Payment.Allocations, deps.Payment.Bills, deps.Payment.Cycles = agg.Activities, agg.Agreements, agg.Allocations, agg.Bills, agg.Cycles
	deps.Payment.Ops, deps.Payment.Views = agg.Ops, l.Payment
	return rest.New(rest.Config{Version: yagna}, deps)
}

// question is a path with a key.
type question struct{ path, key string }

// questions are all routes that can be asked of the past, with the ids of a deal.
func questions(n int) (out []question) {
	d := storytest.Numbered(n)
	demand, budget := storytest.DemandOf(n)
	var paths []string
	add := func(base string, path string) {
		paths = append(paths, base+path)
	}
	for _, r := range market.Routes {
		if r.Method == http.MethodGet && !strings.HasSuffix(r.Path, "/events") {
			add("/market-api/v1", r.Path)
		}
	}
	for _, r := range activity.Routes {
		if r.Method == http.MethodGet && r.Path != "/_monitor" {
			add("/activity-api/v1", r.Path)
		}
	}
	for _, r := range payment.Routes {
		if r.Method == http.MethodGet {
			add("/payment-api/v1", r.Path)
		}
	}
	for _, path := range []string{
		"/payAgreements", "/payAgreements/:agreementId", "/payAgreements/:agreementId/activities", "/payAgreements/:agreementId/orders",
		"/payActivities", "/payActivities/:activityId", "/payActivities/:activityId/debitNotes", "/payActivities/:activityId/invoice", "/payActivities/:activityId/orders",
		"/allocations/:allocationId/orders", "/batchOrders", "/batchOrders/:orderId", "/batchOrders/:orderId/items", "/batchCycles", "/batchCycle/erc20-hoodi-tglm",
	} {
		add("/payment-api/v1", path)
	}
	for _, r := range emet.Routes {
		if !strings.Contains(r.Path, "/checkpoint") && !strings.Contains(r.Path, "/tile") && r.Path != "/events" {
			add("/emet-api/v1", r.Path)
		}
	}
	paths = append(paths, "/me", "/activity-api/v1/activity?agreementId="+d.Agreement, "/market-api/v1/agreements?state=Approved")
	for _, key := range []string{"buyer", "seller"} {
		side, sub := "R-", demand
		if key == "seller" {
			side, sub = "P-", storytest.Offer
		}
		for _, p := range paths {
			out = append(out, question{strings.NewReplacer(
				":agreementId", d.Agreement, ":activityId", d.Activity, ":batchId", d.Batch, ":invoiceId", d.Invoice, ":debitNoteId", storytest.NoteOf(n, 0),
				":allocationId", budget, ":orderId", d.Order(), ":paymentId", d.Payment, ":subscriptionId", sub, ":proposalId", side+d.Proposal,
			).Replace(p) + map[bool]string{true: "&", false: "?"}[strings.Contains(p, "?")] + "timeout=0", key})
		}
	}
	return out
}

func (q question) ask(t *testing.T, h http.Handler, asOf string) (status int, body string, head http.Header) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1"+q.path, nil)
	r.Header.Set("Authorization", "Bearer "+q.key)
	if asOf != "" {
		r.Header.Set("Emet-As-Of", asOf)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	b, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, engine.ReplaceAllString(string(b), ""), w.Result().Header
}

// engine is what an answer tells of the store itself.
var engine = regexp.MustCompile(`"store":"[a-z]*"|"leaf":"[0-9a-f]*",|"prevInStream":"[0-9a-f]*",`)

// Every GET answers for a moment what a node answers that got no further, by
// position and by time.
func TestAsOfIsWhatANodeThatGotNoFurtherSays(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			chance := rand.New(rand.NewPCG(seed, 1))
			stages := []int{int(storytest.Paid), 0, 0, 0}
			for i := range stages[1:] {
				stages[i+1] = chance.IntN(int(storytest.Paid) + 1)
			}
			w := newPastWorld(t, stages)
			head, err := w.Store.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			answers := map[int]int{}
			for range 6 {
				m := momentAt(t, w.Store, es.Position(chance.IntN(int(head))))
				fresh := w.fresh(t, m)
				for _, q := range questions(chance.IntN(len(stages))) {
					asOf := fmt.Sprint(m.Last)
					if chance.IntN(2) == 0 {
						asOf = m.Recorded.Format(time.RFC3339Nano)
					}
					status, body, header := q.ask(t, w.rest, asOf)
					wantStatus, want, _ := q.ask(t, fresh, "")
					if status != wantStatus || body != want {
						t.Fatalf("%s of %s as of %s:\n%d %s\na node that got no further says\n%d %s", q.path, q.key, asOf, status, body, wantStatus, want)
					}
					if p := header.Get("Emet-Position"); p != fmt.Sprint(m.Last) {
						t.Fatalf("%s: Emet-Position %q, want %d", q.path, p, m.Last)
					}
					answers[status]++
				}
			}
			if answers[200] < 200 || answers[500] > 0 {
				t.Errorf("answers by status: %v", answers)
			}
		})
	}
}

func momentAt(t *testing.T, s es.Store, p es.Position) es.Moment {
	t.Helper()
	m, err := es.MomentOf(t.Context(), s, fmt.Sprint(p), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMomentsThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	w := newPastWorld(t, []int{0})
	head, _ := w.Store.Head(t.Context())
	for path, says := range map[string]string{
		"/me?asOf=":                                        "asOf is empty; give a position",
		"/me?asOf=" + fmt.Sprint(head):                     "that has not happened yet; give a position (42: as it was after fact 42) or a time (2026-01-02T15:04:05Z); the last fact is at position " + fmt.Sprint(head-1),
		"/me?asOf=3000-01-01T00:00:00Z":                    "that has not come yet",
		"/me?asOf=soon":                                    "that is neither a position nor a time",
		"/me?asOf=1970-01-01":                              "the log begins later",
		"/me?asOf=1&asOf=2":                                "name different moments: 1, 2; give one",
		"/market-api/v1/demands/x/events?asOf=1":           "/market-api/v1/demands/x/events cannot be asked as of the past: it hands proposals out",
		"/net-api/v2/net/status?asOf=1":                    "connections are not in the log",
		"/activity-api/v1/_monitor?asOf=1":                 "it is a stream",
		"/metrics-api/v1/expose?asOf=1":                    "counters are of this process",
		"/emet-api/v1/log/checkpoint?asOf=1":               "a checkpoint is of now",
		"/activity-api/v1/activity/a/exec/b?asOf=1&stream": "", // found by Accept, below
	} {
		status, body, header := question{path, "buyer"}.ask(t, w.rest, "")
		if says != "" && (status != 400 || !strings.Contains(body, says)) {
			t.Errorf("%s: %d %s, want %s", path, status, body, says)
		}
		if strings.Contains(says, "not happened") && header.Get("Emet-Position") != fmt.Sprint(head-1) {
			t.Errorf("%s does not tell where the log ends: %v", path, header)
		}
	}
	for _, r := range []*http.Request{
		httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/market-api/v1/demands?asOf=1", strings.NewReader("{}")),
		httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/activity-api/v1/activity/a/exec/b?asOf=1", nil),
	} {
		r.Header.Set("Authorization", "Bearer buyer")
		r.Header.Set("Accept", "text/event-stream")
		rec := httptest.NewRecorder()
		w.rest.ServeHTTP(rec, r)
		if rec.Code != 400 {
			t.Errorf("%s %s: %d %s", r.Method, r.URL, rec.Code, rec.Body)
		}
	}
	if status, _, _ := (question{"/me?asOf=1", ""}).ask(t, w.rest, ""); status != 401 {
		t.Errorf("without a key: %d", status)
	}
}

// A question about a moment that polls waits for nothing; many moments at once
// are all answered.
func TestManyMomentsAtOnce(t *testing.T) {
	t.Parallel()
	w := newPastWorld(t, []int{int(storytest.Paid)})
	head, _ := w.Store.Head(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	failed := make(chan string, 64)
	for i := range 64 {
		go func() {
			p := i * int(head) / 64
			status, body, _ := question{"/payment-api/v1/invoiceEvents?timeout=3000", "buyer"}.ask(t, w.rest, fmt.Sprint(p))
			if status != 200 {
				failed <- fmt.Sprint(p, " ", status, " ", body)
				return
			}
			failed <- ""
		}()
	}
	for range 64 {
		select {
		case f := <-failed:
			if f != "" {
				t.Error(f)
			}
		case <-ctx.Done():
			t.Fatal("a question about the past waits for news")
		}
	}
}
