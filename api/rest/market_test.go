package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/offerbook"
	"github.com/emet-node/emet/api/gsb"
	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/activity/usage"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/demand"
	"github.com/emet-node/emet/domain/market/inbox"
	"github.com/emet-node/emet/domain/market/negotiation"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/peer"
	"github.com/emet-node/emet/projections"
)

// bookOf makes an offer book what the handlers take.
type bookOf struct{ *offerbook.Book }

func (b bookOf) Open(properties, constraints string, owner identity.NodeID) Cursor {
	return b.Book.Open(properties, constraints, owner)
}

func (b bookOf) Scan(constraints string) (Cursor, error) {
	c, err := b.Book.Scan(constraints)
	if err != nil {
		return nil, err
	}
	return c, nil
}

const carol = identity.NodeID("0x00000000000000000000000000000000000000c4") // a provider somewhere else

// world is a node with REST in front. The rest of the network is carol, who
// hears every fact and answers as a provider would.
type world struct {
	t    *testing.T
	url  string
	log  *es.Log
	book *offerbook.Book
	deps Deps

	mu   sync.Mutex
	mute bool        // carol does not answer
	from es.Position // carol heeds nothing before
	fail string      // code with which carol refuses activities and scripts
	seq  int
}

func newWorld(t *testing.T, change ...func(*Deps)) *world {
	t.Helper()
	w := &world{t: t, log: newLog(t), book: offerbook.New(offerbook.Options{})}
	ctx, cancel := context.WithCancel(context.Background())
	views, err := projections.OpenMarket(ctx, projections.Memory, w.log)
	if err != nil {
		t.Fatal(err)
	}
	w.deps = Deps{
		Keys: someKeys, Log: w.log, Files: gsb.New(nil), Net: testNet{},
		Market: Market{
			Demands: es.NewAggregate(w.log, demand.Category, demand.Rules), Offers: es.NewAggregate(w.log, offer.Category, offer.Rules),
			Inboxes: es.NewAggregate(w.log, inbox.Category, inbox.Rules), Negotiations: es.NewAggregate(w.log, negotiation.Category, negotiation.Rules),
			Agreements: es.NewAggregate(w.log, agreement.Category, agreement.Rules), Views: views, Book: bookOf{w.book},
		},
	}
	lives, err := projections.OpenActivity(ctx, projections.Memory, w.log)
	if err != nil {
		t.Fatal(err)
	}
	w.deps.Activity = Activity{
		Activities: es.NewAggregate(w.log, activity.Category, activity.Rules), Batches: es.NewAggregate(w.log, batch.Category, batch.Rules),
		Usages: es.NewAggregate(w.log, usage.Category, usage.Rules), Views: lives, Providers: w, Blobs: w,
	}
	node, err := projections.OpenNode(ctx, projections.Memory, w.log)
	if err != nil {
		t.Fatal(err)
	}
	money, err := projections.OpenPayment(ctx, projections.Memory, w.log)
	if err != nil {
		t.Fatal(err)
	}
	w.deps.Stories, w.deps.Books = node, money
	for _, f := range change {
		f(&w.deps)
	}
	srv := httptest.NewServer(New(Config{Version: "0.17.6"}, w.deps))
	w.url = srv.URL
	var all sync.WaitGroup
	all.Go(func() { _ = views.Run(ctx) })
	all.Go(func() { _ = lives.Run(ctx) })
	all.Go(func() { _ = node.Run(ctx) })
	all.Go(func() { _ = money.Run(ctx) })
	all.Go(func() { w.live(ctx) })
	t.Cleanup(func() {
		cancel()
		srv.CloseClientConnections()
		srv.Close()
		all.Wait()
		_ = views.Close()
		_ = lives.Close()
		_ = node.Close()
		_ = money.Close()
	})
	return w
}

// live lets carol act on what happens.
func (w *world) live(ctx context.Context) {
	sub := w.log.Store.Subscribe(ctx, nil, es.Filter{})
	defer sub.Close() //nolint:errcheck // nothing is written
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			return
		}
		if m.Event == nil {
			continue
		}
		r, err := w.log.Decode(ctx, *m.Event)
		if err != nil {
			w.t.Error(err)
			return
		}
		w.carol(ctx, r)
	}
}

// setMute makes carol silent, or lets her speak again: about what comes then,
// not about what she missed.
func (w *world) setMute(v bool) {
	head, err := w.log.Store.Head(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mute, w.from = v, head
}

func (w *world) meta() es.Meta {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seq++
	return es.Meta{Key: fmt.Sprintf("world/%d", w.seq), Actor: es.ActorEffect, Identity: string(alice)}
}

var (
	fromCarol = identity.Caller{Actor: es.ActorPeer, Node: carol, Grade: es.GradeSession}
	fromUs    = identity.Caller{Actor: es.ActorEffect}
)

// carol takes every counter and answers it with her offer, approves every
// agreement and takes every notice.
func (w *world) carol(ctx context.Context, r es.Recorded) {
	w.mu.Lock()
	mute := w.mute && r.Position >= w.from || !w.mute && r.Position < w.from
	w.mu.Unlock()
	if mute {
		return
	}
	w.carolRuns(ctx, r)
	m := w.deps.Market
	thread := func(id string, c negotiation.Command) {
		if _, err := m.Negotiations.Do(ctx, id, c, w.meta()); err != nil && ctx.Err() == nil {
			w.t.Errorf("%T: %v", c, err)
		}
	}
	deal := func(id string, side identity.Side, c agreement.Command) {
		if _, err := m.Agreements.Do(ctx, agreement.StreamID(side, id), c, w.meta()); err != nil && ctx.Err() == nil {
			w.t.Errorf("%T: %v", c, err)
		}
	}
	switch e := r.Data.(type) {
	case negotiation.CounterRequested:
		n, _, err := m.Negotiations.Load(ctx, e.NegotiationID)
		if err != nil {
			return
		}
		thread(e.NegotiationID, negotiation.FinishCounter{ProposalID: e.Proposal.ProposalID})
		now := time.Now().UTC()
		thread(e.NegotiationID, negotiation.ReceiveCounter{At: now, By: fromCarol, Prev: e.Proposal.ProposalID, Proposal: negotiation.Proposal{
			Constraints: n.Steps[0].Constraints, Created: now, Expires: n.Steps[0].Expires, Properties: n.Steps[0].Properties,
			ProposalID: market.PairHash(n.OfferID, n.DemandID, now),
		}})
	case negotiation.RejectionRequested:
		thread(e.NegotiationID, negotiation.FinishRejection{ProposalID: e.ProposalID})
	case agreement.ConfirmationRequested:
		deal(e.AgreementID, e.Side, agreement.FinishConfirmation{})
		deal(e.AgreementID, e.Side, agreement.ReceiveApproval{ApprovedAt: time.Now().UTC(), At: time.Now().UTC(), By: fromCarol, Signature: "NoSignature"})
	case agreement.ApprovalReceived:
		deal(e.AgreementID, e.Side, agreement.RequestCommit{Signature: "NoSignature"})
	case agreement.CommitRequested:
		deal(e.AgreementID, e.Side, agreement.FinishCommit{})
	case agreement.Terminated, agreement.Cancelled, agreement.Rejected:
		if i, ok := e.(es.Intent); ok && i.IsIntent() {
			deal(r.Stream.Key()[2:], identity.Side(r.Stream.Key()[:1]), agreement.FinishNotice{})
		}
	}
}

const (
	offerText = `{"golem.com.payment.platform.erc20-holesky-tglm.address":"0xc4","golem.com.pricing.model":"linear",` +
		`"golem.com.pricing.model.linear.coeffs":[0.0,1e-7,0.5],"golem.com.scheme":"payu","golem.com.usage.vector":["golem.usage.duration_sec","golem.usage.cpu_sec"],` +
		`"golem.inf.mem.gib":4.0,"golem.node.debug.subnet":"public","golem.runtime.name":"vm"}`
	demandBody = `{"constraints":"(&(golem.com.pricing.model=linear)\n\t(golem.node.debug.subnet=public)\n\t(golem.inf.mem.gib>=0.5))",` +
		`"properties":{"golem.srv.caps.multi-activity":true,"golem.node.debug.subnet":"public","golem.com.payment.debit-notes.accept-timeout?":120,"golem.com.payment.protocol.version":"3"}}`
	isJSONBody = "Content-Type: application/json"
)

// sells puts an offer of carol into the book.
func (w *world) sells(properties string) string {
	w.t.Helper()
	now := time.Now().UTC()
	o := peer.Offer{Constraints: "()", Created: now, Expires: now.Add(time.Hour), Properties: properties, Provider: carol}
	w.mu.Lock()
	w.seq++
	prefix := fmt.Sprintf("%032x", w.seq)
	w.mu.Unlock()
	o.ID = market.SubscriptionID(prefix, market.Content{Properties: o.Properties, Constraints: o.Constraints, Owner: carol, Created: o.Created, Expires: o.Expires})
	if err := w.book.Add(o); err != nil {
		w.t.Fatal(err)
	}
	return o.ID
}

// call asks as alice and fails the test unless the status is the wanted one.
func (w *world) call(status int, method, path, body string, headers ...string) answered {
	w.t.Helper()
	headers = append(headers, asAlice)
	if body != "" {
		headers = append(headers, isJSONBody)
	}
	got := ask(w.t, w.url, method, path, body, headers...)
	if got.status != status {
		w.t.Fatalf("%s %s: %d %s, want %d", method, path, got.status, got.body, status)
	}
	return got
}

func (w *world) text(got answered) string {
	w.t.Helper()
	var s string
	if err := json.Unmarshal([]byte(got.body), &s); err != nil || got.header.Get("Content-Type") != "application/json" {
		w.t.Fatalf("%s %q is no JSON text: %v", got.header.Get("Content-Type"), got.body, err)
	}
	return s
}

func (w *world) array(got answered) []map[string]any {
	w.t.Helper()
	var a []map[string]any
	if err := json.Unmarshal([]byte(got.body), &a); err != nil {
		w.t.Fatalf("%q is no array: %v", got.body, err)
	}
	return a
}

// demands publishes a demand.
func (w *world) demands() string {
	w.t.Helper()
	return w.text(w.call(201, "POST", "/market-api/v1/demands", demandBody))
}

func (w *world) events(demandID, query string) []map[string]any {
	w.t.Helper()
	return w.array(w.call(200, "GET", "/market-api/v1/demands/"+demandID+"/events?"+query, ""))
}

// proposes negotiates until carol's draft is there and returns its id.
func (w *world) proposes(demandID string) string {
	w.t.Helper()
	initial := w.events(demandID, "timeout=5&maxEvents=10")[0]["proposal"].(map[string]any)
	w.call(200, "POST", "/market-api/v1/demands/"+demandID+"/proposals/"+initial["proposalId"].(string), demandBody)
	return w.events(demandID, "timeout=5&maxEvents=10")[0]["proposal"].(map[string]any)["proposalId"].(string)
}

// agrees makes and confirms an agreement and waits for its approval.
func (w *world) agrees(demandID string) string {
	w.t.Helper()
	draft := w.proposes(demandID)
	id := w.text(w.call(200, "POST", "/market-api/v1/agreements", `{"proposalId":"`+draft+`","validTo":"`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"}`))
	w.call(204, "POST", "/market-api/v1/agreements/"+id+"/confirm?appSessionId=s1", "")
	w.call(204, "POST", "/market-api/v1/agreements/"+id+"/wait?timeout=60", "")
	return id
}

func TestTheMarketAsGolemJSUsesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	offerID := w.sells(offerText)
	began := time.Now().UTC()
	s := w.demands()
	if len(s) != 97 {
		t.Errorf("demand id %q", s)
	}
	events := w.events(s, "timeout=5&maxEvents=10")
	if len(events) != 1 || events[0]["eventType"] != "ProposalEvent" {
		t.Fatalf("events %v", events)
	}
	p1 := events[0]["proposal"].(map[string]any)
	if p1["state"] != "Initial" || p1["issuerId"] != string(carol) || p1["prevProposalId"] != nil || !strings.HasPrefix(p1["proposalId"].(string), "R-") || len(p1["proposalId"].(string)) != 66 {
		t.Errorf("first proposal %v", p1)
	}
	p2 := w.text(w.call(200, "POST", "/market-api/v1/demands/"+s+"/proposals/"+p1["proposalId"].(string), demandBody))
	own := w.call(200, "GET", "/market-api/v1/demands/"+s+"/proposals/"+p2, "")
	for _, want := range []string{`"state":"Draft"`, `"issuerId":"` + string(alice) + `"`, `"prevProposalId":"` + p1["proposalId"].(string) + `"`, `accept-timeout?":120`} {
		if !strings.Contains(own.body, want) {
			t.Errorf("own proposal lacks %s: %s", want, own.body)
		}
	}
	answer := w.call(200, "GET", "/market-api/v1/demands/"+s+"/events?timeout=5&maxEvents=10", "")
	if !strings.Contains(answer.body, `[0.0,1e-7,0.5]`) && !strings.Contains(answer.body, `[0.0,1e-07,0.5]`) {
		t.Errorf("numbers were rewritten: %s", answer.body)
	}
	p3 := w.array(answer)[0]["proposal"].(map[string]any)
	if p3["state"] != "Draft" || p3["prevProposalId"] != p2 {
		t.Errorf("draft %v", p3)
	}
	validTo := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond).Format("2006-01-02T15:04:05.000Z")
	g := w.text(w.call(200, "POST", "/market-api/v1/agreements", `{"proposalId":"`+p3["proposalId"].(string)+`","validTo":"`+validTo+`"}`))
	if len(g) != 64 {
		t.Errorf("agreement id %q", g)
	}
	w.call(200, "GET", "/market-api/v1/agreements/"+g, "")
	w.call(204, "POST", "/market-api/v1/agreements/"+g+"/confirm?appSessionId=s1", "")
	w.call(204, "POST", "/market-api/v1/agreements/"+g+"/wait?timeout=60", "")
	var a struct {
		State, AppSessionID, ValidTo, ApprovedDate string
		Demand                                     struct{ DemandID, RequestorID, Timestamp string }
		Offer                                      struct{ OfferID, ProviderID, Timestamp string }
		Timestamp                                  string
	}
	if err := json.Unmarshal([]byte(w.call(200, "GET", "/market-api/v1/agreements/"+g, "").body), &a); err != nil {
		t.Fatal(err)
	}
	wantTo, _ := time.Parse(time.RFC3339, validTo)
	gotTo, _ := time.Parse(time.RFC3339, a.ValidTo)
	if a.State != "Approved" || a.AppSessionID != "s1" || !gotTo.Equal(wantTo) || a.ApprovedDate == "" || a.Demand.DemandID != s ||
		a.Demand.RequestorID != string(alice) || a.Offer.OfferID != offerID || a.Offer.ProviderID != string(carol) || a.Timestamp != a.Demand.Timestamp {
		t.Errorf("agreement %+v", a)
	}

	w.call(204, "DELETE", "/market-api/v1/demands/"+s, "")
	w.call(404, "GET", "/market-api/v1/demands/"+s+"/events?timeout=5", "")

	cursor := began.Format("2006-01-02T15:04:05.000Z")
	session := func(q string) []map[string]any {
		return w.array(w.call(200, "GET", "/market-api/v1/agreementEvents?maxEvents=100&"+q+"&afterTimestamp="+url.QueryEscape(cursor), ""))
	}
	approved := session("timeout=5&appSessionId=s1")
	if len(approved) != 1 || approved[0]["eventType"] != "AgreementApprovedEvent" || approved[0]["agreementId"] != g || approved[0]["reason"] != nil {
		t.Fatalf("events %v", approved)
	}
	if other := session("timeout=0&appSessionId=s2"); len(other) != 0 {
		t.Errorf("another session sees %v", other)
	}
	cursor = approved[0]["eventDate"].(string) // echoed back, strictly later only
	if again := session("timeout=0&appSessionId=s1"); len(again) != 0 {
		t.Errorf("told again: %v", again)
	}
	got := w.call(200, "POST", "/market-api/v1/agreements/"+g+"/terminate", `{"message":"Finished","golem.requestor.code":"Success"}`)
	if got.body != "" || got.header.Get("Content-Type") != "" {
		t.Errorf("terminate answered %q %q", got.header.Get("Content-Type"), got.body)
	}
	ended := session("timeout=5&appSessionId=s1")
	if len(ended) != 1 || ended[0]["terminator"] != "Requestor" || ended[0]["signature"] != "" ||
		ended[0]["reason"].(map[string]any)["golem.requestor.code"] != "Success" {
		t.Errorf("termination %v", ended)
	}
	for _, method := range []string{"GET", "POST"} {
		reason := w.call(200, method, "/market-api/v1/agreements/"+g+"/terminate/reason", "")
		if !strings.Contains(reason.body, `"AgreementTerminatedEvent"`) {
			t.Errorf("%s reason: %s", method, reason.body)
		}
	}
	w.call(410, "POST", "/market-api/v1/agreements/"+g+"/terminate", `null`)
	w.call(400, "POST", "/market-api/v1/agreements/"+g+"/wait", "")
}

func TestNothingIsHandedOutTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.demands()
	for range 20 {
		w.sells(offerText)
		// Beyond eight of one identity the book takes no more.
		if len(w.book.All()) == 8 {
			break
		}
	}
	seen := make(chan string, 100)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 4 {
				for _, e := range w.events(s, "timeout=0&maxEvents=2") {
					seen <- e["proposal"].(map[string]any)["proposalId"].(string)
				}
			}
		})
	}
	all.Wait()
	close(seen)
	ids := map[string]int{}
	for id := range seen {
		ids[id]++
	}
	for id, n := range ids {
		if n > 1 {
			t.Errorf("%s was handed out %d times", id, n)
		}
	}
	if len(ids) != 8 {
		t.Errorf("%d of 8 matches came", len(ids))
	}
}

func TestAPollReturnsWhenSomethingComes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.demands()
	if got := w.call(200, "GET", "/market-api/v1/demands/"+s+"/events?timeout=0", ""); got.body != "[]" {
		t.Errorf("nothing is %q", got.body)
	}
	got := make(chan []map[string]any)
	began := time.Now()
	go func() { got <- w.events(s, "timeout=30&maxEvents=10") }()
	w.sells(offerText)
	if events := <-got; len(events) != 1 {
		t.Errorf("events %v", events)
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("the poll slept for %v", d)
	}
}

func TestUnsubscribingEndsPollsWith404(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.demands()
	got := make(chan answered)
	go func() {
		got <- ask(t, w.url, "GET", "/market-api/v1/demands/"+s+"/events?timeout=60", "", asAlice)
	}()
	w.call(204, "DELETE", "/market-api/v1/demands/"+s, "")
	if a := <-got; a.status != 404 || !strings.Contains(a.body, "message") {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.call(404, "DELETE", "/market-api/v1/demands/"+s, "")
}

func TestEqualDemandsHaveTheirOwnIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if first, second := w.demands(), w.demands(); first == second {
		t.Error("two demands share an id")
	}
	key := "Idempotency-Key: one"
	a := w.call(201, "POST", "/market-api/v1/demands", demandBody, key).status
	if a != 201 || len(w.array(w.call(200, "GET", "/market-api/v1/demands", ""))) != 3 {
		t.Error("a demand with an idempotency key was not published")
	}
}

func TestSubscriptionsLiveAsLongAsIsConfigured(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(d *Deps) { d.Market.TTL = 400 * time.Millisecond })
	s := w.demands()
	o := w.text(w.call(201, "POST", "/market-api/v1/offers", `{"properties":{},"constraints":"()"}`))
	d, _, err := w.deps.Market.Demands.Load(t.Context(), s)
	if err != nil || d.Expires.Sub(d.Created) != 400*time.Millisecond {
		t.Errorf("the demand lives from %v to %v: %v", d.Created, d.Expires, err)
	}
	w.call(404, "GET", "/market-api/v1/demands/"+s+"/events?timeout=10", "") // ends with it
	w.call(404, "GET", "/market-api/v1/offers/"+o+"/events?timeout=10", "")
	for _, path := range []string{"demands", "offers"} {
		if got := w.call(200, "GET", "/market-api/v1/"+path, "").body; got != "[]" {
			t.Errorf("%s: %s", path, got)
		}
	}
}

func TestBrokenPricesAreNotShownToThoseWhoAskForLinear(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sells(strings.Replace(offerText, `"golem.com.usage.vector":["golem.usage.duration_sec","golem.usage.cpu_sec"],`, "", 1))
	s := w.demands()
	if events := w.events(s, "timeout=0"); len(events) != 0 {
		t.Errorf("shown: %v", events)
	}
}

func TestAPairIsFreeAgainAfterItsAgreementEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sells(offerText)
	s := w.demands()
	g := w.agrees(s)
	if events := w.events(s, "timeout=0"); len(events) != 0 {
		t.Fatalf("events during the agreement: %v", events)
	}
	w.call(200, "POST", "/market-api/v1/agreements/"+g+"/terminate", `{"message":"done"}`)
	events := w.events(s, "timeout=5")
	if len(events) != 1 || events[0]["proposal"].(map[string]any)["state"] != "Initial" {
		t.Fatalf("events after it: %v", events)
	}
	if again := w.events(s, "timeout=0"); len(again) != 0 {
		t.Errorf("free twice: %v", again)
	}
	if second := w.agreesOn(s, events[0]["proposal"].(map[string]any)["proposalId"].(string)); second == g {
		t.Error("the second agreement has the first one's id")
	}
}

// agreesOn makes an agreement out of an initial proposal.
func (w *world) agreesOn(demandID, initial string) string {
	w.t.Helper()
	w.call(200, "POST", "/market-api/v1/demands/"+demandID+"/proposals/"+initial, demandBody)
	draft := w.events(demandID, "timeout=5")[0]["proposal"].(map[string]any)["proposalId"].(string)
	return w.text(w.call(200, "POST", "/market-api/v1/agreements", `{"proposalId":"`+draft+`","validTo":"2099-01-01T00:00:00Z"}`))
}

func TestStatusesOfTheMarket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sells(offerText)
	s := w.demands()
	initial := w.events(s, "timeout=5")[0]["proposal"].(map[string]any)["proposalId"].(string)
	base := "/market-api/v1/demands/" + s + "/proposals/"
	mine := w.text(w.call(200, "POST", base+initial, demandBody))
	draft := w.events(s, "timeout=5")[0]["proposal"].(map[string]any)["proposalId"].(string)
	unknown := "R-" + strings.Repeat("0", 64)
	agree := func(p string) string { return `{"proposalId":"` + p + `","validTo":"2099-01-01T00:00:00Z"}` }
	const agreements = "/market-api/v1/agreements"
	for _, c := range []struct {
		status       int
		method, path string
		body         string
	}{
		{400, "GET", "/market-api/v1/demands/xyz/events", ""},
		{400, "GET", "/market-api/v1/demands/" + s + "/events?maxEvents=0", ""},
		{400, "GET", "/market-api/v1/demands/" + s + "/events?maxEvents=101", ""},
		{400, "GET", "/market-api/v1/demands/" + s + "/events?timeout=", ""},
		{404, "GET", "/market-api/v1/offers/" + s + "/events", ""},
		{404, "DELETE", "/market-api/v1/offers/" + s, ""},
		{400, "GET", base + "R-123", ""},
		{400, "GET", base + "X-" + strings.Repeat("0", 64), ""},
		{404, "GET", base + unknown, ""},
		{404, "GET", base + "P" + mine[1:], ""},
		{404, "POST", base + unknown, demandBody},
		{400, "POST", base + mine, demandBody},    // own
		{410, "POST", base + initial, demandBody}, // countered
		{400, "POST", base + draft, `{"properties":{}}`},
		{400, "POST", base + draft, `{"constraints":""}`},
		{400, "POST", base + draft, `{`},
		{400, "POST", base + mine + "/reject", `{"message":"no"}`},
		{500, "POST", base + unknown + "/reject", `null`},
		{400, "POST", base + draft + "/reject", `{"text":"no message"}`},
		{400, "POST", agreements, agree(mine)},
		{400, "POST", agreements, agree(initial)},
		{400, "POST", agreements, agree(unknown)},
		{400, "POST", agreements, agree("bad")},
		{400, "POST", agreements, `{"proposalId":"` + draft + `"}`},
		{400, "GET", agreements + "/zz", ""},
		{404, "GET", agreements + "/" + strings.Repeat("0", 64), ""},
		{400, "POST", agreements + "/zz/terminate", "null"},
		{400, "GET", agreements + "?state=Nope", ""},
		{200, "POST", agreements, agree(draft)},
		{409, "POST", agreements, agree(draft)},
	} {
		if got := w.call(c.status, c.method, c.path, c.body); c.status >= 400 && !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
			var m struct{ Message *string }
			if err := json.Unmarshal([]byte(got.body), &m); err != nil || m.Message == nil {
				t.Errorf("%s %s: %q has no message", c.method, c.path, got.body)
			}
		}
	}
	g := w.array(w.call(200, "GET", agreements, ""))[0]["id"].(string)
	for _, c := range []struct {
		status int
		act    string
		body   string
	}{
		{400, "wait?timeout=0", ""},
		{409, "terminate", "null"},
		{404, "approve", ""},
		{404, "reject", "null"},
		{400, "terminate/reason", ""},
		{200, "cancel", `{"message":"changed my mind"}`},
		{410, "wait", ""},
		{410, "confirm", ""},
		{410, "cancel", "null"},
		{410, "terminate", "null"},
	} {
		got := w.call(c.status, "POST", agreements+"/"+g+"/"+c.act, c.body)
		if c.act == "wait" && got.body != `{"message":"Cancelled"}` {
			t.Errorf("wait says %s", got.body)
		}
	}
}

func TestSilentPeersAreOur500(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sells(offerText)
	s := w.demands()
	initial := w.events(s, "timeout=5")[0]["proposal"].(map[string]any)["proposalId"].(string)
	w.setMute(true)
	done := make(chan answered)
	go func() {
		done <- ask(t, w.url, "POST", "/market-api/v1/demands/"+s+"/proposals/"+initial, demandBody, asAlice, isJSONBody)
	}()
	// Once the counter is in the log, its delivery fails.
	ctx := t.Context()
	var thread, proposal string
	if err := w.log.Wait(ctx, 0, es.Filter{Types: []string{"negotiation.counter_requested.v1"}}); err != nil {
		t.Fatal(err)
	}
	for r, err := range w.log.ReadAll(ctx, 0, es.Filter{Types: []string{"negotiation.counter_requested.v1"}}) {
		if err != nil {
			t.Fatal(err)
		}
		e := r.Data.(negotiation.CounterRequested)
		thread, proposal = e.NegotiationID, e.Proposal.ProposalID
	}
	failed := negotiation.FinishCounter{ProposalID: proposal, Failure: market.Failure{Code: market.Unreachable, Text: "x"}}
	if _, err := w.deps.Market.Negotiations.Do(ctx, thread, failed, w.meta()); err != nil {
		t.Fatal(err)
	}
	if got := <-done; got.status != 500 || !strings.Contains(got.body, "message") {
		t.Errorf("%d %s", got.status, got.body)
	}
	w.setMute(false)
	w.call(200, "POST", "/market-api/v1/demands/"+s+"/proposals/"+initial, demandBody) // may be tried again
}

func TestOthersSeeNothingOfMine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sells(offerText)
	s := w.demands()
	g := w.agrees(s)
	const asBob = "Authorization: Bearer bob"
	n := w.array(w.call(200, "GET", "/market-api/v1/agreements", ""))
	if len(n) != 1 || n[0]["role"] != "Requestor" {
		t.Errorf("agreements %v", n)
	}
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/market-api/v1/demands/" + s + "/events?timeout=0", ""},
		{"DELETE", "/market-api/v1/demands/" + s, ""},
		{"GET", "/market-api/v1/agreements/" + g, ""},
		{"POST", "/market-api/v1/agreements/" + g + "/terminate", "null"},
		{"POST", "/market-api/v1/agreements/" + g + "/wait", ""},
		{"GET", "/market-api/v1/agreements/" + g + "/terminate/reason", ""},
	} {
		if got := ask(t, w.url, c.method, c.path, c.body, asBob, isJSONBody); got.status != http.StatusNotFound {
			t.Errorf("%s %s as bob: %d %s", c.method, c.path, got.status, got.body)
		}
	}
	for _, path := range []string{"/market-api/v1/demands", "/market-api/v1/agreements", "/market-api/v1/agreementEvents?timeout=0"} {
		if got := ask(t, w.url, "GET", path, "", asBob); got.body != "[]" {
			t.Errorf("%s as bob: %s", path, got.body)
		}
	}
	page := ask(t, w.url, "GET", "/emet-api/v1/log?limit=1000", "", asBob)
	if !strings.Contains(page.body, `"events":[]`) {
		t.Errorf("bob reads alice's log: %.300s", page.body)
	}
	mine := w.call(200, "GET", "/emet-api/v1/log?type=agreement.*&correlation="+g, "", "Accept: application/jsonl")
	if !strings.HasPrefix(mine.body, `{"`) || !strings.Contains(mine.body, "agreement.created.v1") {
		t.Errorf("alice's log: %.300s", mine.body)
	}
}

func TestScans(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sells(offerText)
	id := w.text(w.call(201, "POST", "/market-api/v1/scan", `{"type":"offer","constraints":"(golem.runtime.name=vm)","properties":{"x":1}}`))
	offers := w.array(w.call(200, "GET", "/market-api/v1/scan/"+id+"/events?timeout=5", ""))
	if len(offers) != 1 || offers[0]["providerId"] != string(carol) {
		t.Fatalf("offers %v", offers)
	}
	if more := w.array(w.call(200, "GET", "/market-api/v1/scan/"+id+"/events?timeout=0", "")); len(more) != 0 {
		t.Errorf("again %v", more)
	}
	if got := ask(t, w.url, "GET", "/market-api/v1/scan/"+id+"/events", "", "Authorization: Bearer bob"); got.status != 403 {
		t.Errorf("bob scans along: %d", got.status)
	}
	w.call(400, "POST", "/market-api/v1/scan", `{"type":"offer","constraints":"(("}`)
	w.call(400, "GET", "/market-api/v1/scan/"+id+"/events?maxEvents=-1", "")
	w.call(204, "DELETE", "/market-api/v1/scan/"+id, "")
	w.call(404, "DELETE", "/market-api/v1/scan/"+id+"/events", "")
}
