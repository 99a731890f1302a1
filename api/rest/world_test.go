package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"sync"
	"sync/atomic"
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

	heard atomic.Uint64 // the position after the last fact that carol has answered
}

func newWorld(t *testing.T, change ...func(*Deps)) *world {
	t.Helper()
	return newWorldOf(t, Config{Version: "0.17.6"}, change...)
}

func newWorldOf(t *testing.T, cfg Config, change ...func(*Deps)) *world {
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
	srv := httptest.NewServer(New(cfg, w.deps))
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
		w.heard.Store(uint64(r.Position) + 1)
	}
}

// quiet waits until carol has answered all that she is going to.
func (w *world) quiet() {
	w.t.Helper()
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(time.Millisecond) {
		if head, err := w.log.Store.Head(w.t.Context()); err == nil && w.heard.Load() >= uint64(head) {
			return
		}
	}
	w.t.Fatal("carol does not come to rest")
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

// patience is how long something is waited for that a busy machine does late.
const patience = 2 * time.Minute

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
	initial := w.events(demandID, "timeout=60&maxEvents=10")[0]["proposal"].(map[string]any)
	w.call(200, "POST", "/market-api/v1/demands/"+demandID+"/proposals/"+initial["proposalId"].(string), demandBody)
	return w.events(demandID, "timeout=60&maxEvents=10")[0]["proposal"].(map[string]any)["proposalId"].(string)
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
