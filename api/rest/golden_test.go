package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/negotiation"
	"github.com/emet-node/emet/domain/payment/bill"
)

const marketURL = "/market-api/v1"

func (w *world) journal() *journal { return &journal{t: w.t, url: w.url} }

// first is the id of the proposal of the first event of a poll.
func first(t *testing.T, got answered) string {
	t.Helper()
	var events []struct{ Proposal struct{ ProposalID string } }
	if err := json.Unmarshal([]byte(got.body), &events); err != nil || len(events) == 0 {
		t.Fatalf("events %s, %v", got.body, err)
	}
	return events[0].Proposal.ProposalID
}

// A requestor negotiates, agrees and ends it.
func TestAnswersOfTheRequestorsMarket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sells(offerText)
	j := w.journal()
	do := func(method, path, body string) answered {
		w.quiet()
		return j.ask("alice", method, marketURL+path, body)
	}
	s := w.text(do("POST", "/demands", demandBody))
	demand := "/demands/" + s
	do("GET", "/demands", "")
	initial := first(t, do("GET", demand+"/events?timeout=60", ""))
	do("GET", demand+"/proposals/"+initial, "")
	do("POST", demand+"/proposals/"+initial, demandBody)
	draft := first(t, do("GET", demand+"/events?timeout=60", ""))
	g := w.text(do("POST", "/agreements", `{"proposalId":"`+draft+`","validTo":"2090-01-01T00:00:00Z"}`))
	do("POST", "/agreements/"+g+"/confirm?appSessionId=s1", "")
	do("POST", "/agreements/"+g+"/wait?timeout=60", "")
	do("GET", "/agreements/"+g, "")
	do("GET", "/agreements", "")
	do("GET", "/agreements/"+g+"/terminate/reason", "")
	do("POST", "/agreements/"+g+"/terminate", `{"message":"Finished","golem.requestor.code":"ok"}`)
	do("GET", "/agreements/"+g+"/terminate/reason", "")
	do("POST", "/agreements/"+g+"/terminate/reason", "")
	do("GET", "/agreementEvents?timeout=60&appSessionId=s1", "")
	do("GET", "/agreementEvents?timeout=60", "")
	initial = first(t, do("GET", demand+"/events?timeout=60", "")) // the pair is free again
	do("POST", demand+"/proposals/"+initial+"/reject", `{"message":"too dear"}`)
	do("DELETE", demand, "")
	w.sells(strings.Replace(offerText, "4.0", "8.0", 1))
	s2 := w.demands()
	g = w.text(w.call(200, "POST", marketURL+"/agreements", `{"proposalId":"`+w.proposes(s2)+`","validTo":"2090-01-01T00:00:00Z"}`))
	do("POST", "/agreements/"+g+"/cancel", `{"message":"no"}`)
	j.golden("market", "requestor.golden")
}

// asked lets carol answer an offer of alice with a proposal, and returns its id.
func (w *world) asked(offerID string, n int) string {
	w.t.Helper()
	now := time.Now().UTC()
	demandID := market.SubscriptionID(fmt.Sprintf("%032x", 1000+n), market.Content{Properties: `{}`, Constraints: "()", Owner: carol, Created: now, Expires: now.Add(time.Hour)})
	initial := negotiation.Proposal{Constraints: "()", Created: now, Expires: now.Add(time.Hour), Properties: `{"golem.runtime.name":"vm"}`, ProposalID: market.PairHash(offerID, demandID, now)}
	later := now.Add(time.Millisecond)
	theirs := negotiation.Proposal{
		Constraints: "(golem.runtime.name=vm)", Created: later, Expires: now.Add(time.Hour),
		Properties: `{"golem.node.id.name":"carol"}`, ProposalID: market.PairHash(offerID, demandID, later),
	}
	thread := strings.Repeat(fmt.Sprintf("%02x", n), 16)
	if _, err := w.deps.Market.Negotiations.Do(w.t.Context(), thread, negotiation.ReceiveOpening{
		At: later, By: fromCarol, DemandExpires: now.Add(time.Hour), DemandID: demandID, Initial: initial, NegotiationID: thread, OfferID: offerID,
		Proposal: theirs, Provider: alice,
	}, w.meta()); err != nil {
		w.t.Fatal(err)
	}
	return "P-" + theirs.ProposalID
}

// A provider hears a requestor, and decides about agreements.
func TestAnswersOfTheProvidersMarket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	j := w.journal()
	do := func(method, path, body string) answered { return j.ask("alice", method, marketURL+path, body) }
	o := w.text(do("POST", "/offers", `{"properties":{"golem.runtime.name":"vm","golem.inf.mem.gib":4.0},"constraints":"()"}`))
	offer := "/offers/" + o
	do("GET", "/offers", "")
	theirs := w.asked(o, 1)
	do("GET", offer+"/events?timeout=60", "")
	do("GET", offer+"/proposals/"+theirs, "")
	do("POST", offer+"/proposals/"+theirs, `{"properties":{"golem.runtime.name":"vm"},"constraints":"()"}`)
	theirs = w.asked(o, 2)
	do("POST", offer+"/proposals/"+theirs+"/reject", `{"message":"busy"}`)
	g := w.proposed()
	do("POST", "/agreements/"+g+"/reject", `{"message":"no"}`)
	g = w.proposed()
	ctx, stream := t.Context(), agreement.StreamID(identity.Provider, g)
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
	do("POST", "/agreements/"+g+"/approve?timeout=60&appSessionId=p", "")
	if err := <-committed; err != nil {
		t.Fatal(err)
	}
	do("DELETE", offer, "")
	w.sells(offerText)
	scan := w.text(do("POST", "/scan", `{"type":"offer","constraints":"(golem.runtime.name=vm)"}`))
	do("GET", "/scan/"+scan+"/events?timeout=60", "")
	do("DELETE", "/scan/"+scan, "")
	scan = w.text(do("POST", "/scan", `{"type":"offer"}`))
	do("DELETE", "/scan/"+scan+"/events", "")
	j.golden("market", "provider.golden")
}

// An activity from its creation to what the log says about it.
func TestAnswersOfAnActivity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sells(offerText)
	s := w.demands()
	g := w.agrees(s)
	j := w.journal()
	do := func(method, path, body string) answered {
		w.quiet() // what follows of one request has its places in the log before the next
		return j.ask("alice", method, activityBase+path, body)
	}
	var created struct{ ActivityID string }
	if err := json.Unmarshal([]byte(do("POST", "/activity?timeout=60", `{"agreementId":"`+g+`"}`).body), &created); err != nil {
		t.Fatal(err)
	}
	a := "/activity/" + created.ActivityID
	do("GET", "/activity?agreementId="+g, "")
	do("GET", a+"/agreement", "")
	do("GET", a+"/state", "")
	do("GET", a+"/usage", "")
	b := w.text(do("POST", a+"/exec", `{"text":"[{\"deploy\":{}},{\"start\":{}},{\"run\":{\"entry_point\":\"hello\",\"args\":[],\"capture\":{\"stdout\":{\"atEnd\":{\"format\":\"string\"}}}}}]"}`))
	do("GET", a+"/exec/"+b+"?timeout=60", "")
	j.listen(activityBase+a+"/exec/"+b, 16)
	failing := w.text(do("POST", a+"/exec", `{"text":"[{\"run\":{\"entry_point\":\"false\",\"args\":[]}}]"}`))
	do("GET", a+"/exec/"+failing+"?timeout=60", "")
	w.quiet()
	w.runsStill(created.ActivityID)
	do("GET", a+"/command", "")
	j.listen(activityBase+"/_monitor", 2)
	do("DELETE", a+"?timeout=30", "")
	do("GET", a+"/state", "")
	w.quiet()
	j.ask("alice", "GET", emetBase+"/agreements/"+g+"/timeline", "")
	j.ask("alice", "GET", emetBase+"/log?type=activity.*", "")
	j.ask("alice", "GET", emetBase+"/log?type=activity.created.v1", "", "Accept: application/jsonl")
	j.ask("alice", "GET", emetBase+"/head", "")
	j.golden("activity", "requestor.golden")
}

// runsStill leaves a command that does not end in an activity.
func (w *world) runsStill(activityID string) {
	w.t.Helper()
	w.setMute(true)
	ctx, id := w.t.Context(), strings.Repeat("ab", 16)
	s, _, err := w.deps.Activity.Activities.Load(ctx, activity.StreamID(identity.Requestor, activityID))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range []batch.Command{
		batch.RequestExec{ActivityID: activityID, AgreementID: s.AgreementID, BatchID: id, By: fromUs, Provider: carol, Requestor: alice, Script: `[{"run":{"entry_point":"x","args":["-y"]}}]`},
		batch.ConfirmExec{By: fromUs},
		batch.StartCommand{At: time.Now().UTC(), By: fromUs, Command: `{"run":{"entry_point":"x","args":["-y"]}}`},
	} {
		if _, err := w.deps.Activity.Batches.Do(ctx, batch.StreamID(identity.Requestor, activityID, id), c, w.meta()); err != nil {
			w.t.Fatal(err)
		}
	}
	w.setMute(false)
}

// What an agent of a provider asks about its activities.
func TestAnswersOfAnActivityAtItsProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stream := activity.StreamID(identity.Provider, someID)
	facts := es.Facts{Stream: es.StreamOf(activity.Category, stream), Expected: es.NoStream, Facts: []any{
		activity.Created{ActivityID: someID, AgreementID: pact, Provider: alice, Requestor: carol, Side: identity.Provider},
	}}
	if _, err := w.log.Append(t.Context(), w.meta(), nil, facts); err != nil {
		t.Fatal(err)
	}
	j := w.journal()
	j.ask("alice", "GET", activityBase+"/events?timeout=60&maxEvents=1&afterTimestamp=2016-11-11T15:12:00Z", "")
	j.ask("alice", "PUT", activityBase+"/activity/"+someID+"/state", `{"state":["Ready",null]}`)
	j.golden("activity", "provider.golden")
}

// The node about itself.
func TestAnswersOfTheNode(t *testing.T) {
	t.Parallel()
	l := &testLedger{note: "emet/x\n1\nroot\n\n— emet/x sig\n"}
	w := newWorld(t, func(d *Deps) { d.Ledger = l })
	srv := httptest.NewServer(New(Config{Version: "0.17.6", Name: "emet 0.1.0", Released: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, w.deps))
	t.Cleanup(srv.Close)
	j := &journal{t: t, url: srv.URL}
	for _, path := range []string{
		"/version/get", "/metrics-api/v1/expose", "/metrics-api/v1/sorted", "/metrics-api/v1/filtered", "/metrics-api/v1/filtered/market_demands,activity_provider",
	} {
		j.ask("-", "GET", path, "")
	}
	for _, path := range []string{"/me", "/net-api/v2/net/status", "/healthcheck", emetBase + "/money", emetBase + "/log/checkpoint"} {
		j.ask("alice", "GET", path, "")
	}
	tile := ask(t, srv.URL, "GET", emetBase+"/log/tile/0/001.p/1", "", asAlice)
	tile.body = fmt.Sprintf("%x", tile.body)
	j.note("alice", "GET", emetBase+"/log/tile/0/001.p/1", "", nil, tile)
	listen := `{"listen":{"on":"/public/gftp/0123","components":["GetMetadata","GetChunk"]}}`
	made := j.ask("alice", "POST", gsbBase+"/services", listen)
	j.ask("alice", "DELETE", gsbBase+"/services"+made.header.Get("Location"), "")
	j.golden("node", "answers.golden")
}

// What the other files of payments have not got.
func TestOtherAnswersOfPayments(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	id := w.allocate("4")
	j := &journal{t: t, url: w.url}
	do := func(who, method, path, body string) answered { return j.ask(who, method, paymentBase+path, body) }
	w.receiveNote("note-1", "0.5")
	w.receiveInvoice("invoice-1", "0.5")
	do("alice", "POST", "/debitNotes/note-1/reject?timeout=60", `{"rejectionReason":"BAD_SERVICE","totalAmountAccepted":"0","message":"slow"}`)
	do("alice", "GET", "/debitNotes/note-1", "")
	do("alice", "POST", "/invoices/invoice-1/reject?timeout=60", `{"rejectionReason":"BAD_SERVICE","totalAmountAccepted":"0","message":"slow"}`)
	do("alice", "GET", "/invoices/invoice-1", "")
	do("alice", "GET", "/allocations", "")
	do("alice", "GET", "/allocations/"+id+"/expenditures", "")
	do("alice", "GET", "/payAgreements/"+pact, "")
	do("alice", "GET", "/payments/status", "")
	w.pays()
	do("alice", "GET", "/payments/"+someID, "")
	w.provide(chosen)
	var n struct{ DebitNoteID string }
	if err := json.Unmarshal([]byte(do("bob", "POST", "/debitNotes", `{"activityId":"`+someID+`","totalAmountDue":"0.5"}`).body), &n); err != nil {
		t.Fatal(err)
	}
	do("bob", "POST", "/debitNotes/"+n.DebitNoteID+"/cancel?timeout=60", "")
	var i struct{ InvoiceID string }
	if err := json.Unmarshal([]byte(do("bob", "POST", "/invoices", `{"agreementId":"`+pact+`","amount":"0.7","paymentDueDate":"2090-03-01T12:00:00Z"}`).body), &i); err != nil {
		t.Fatal(err)
	}
	if _, err := w.ops.Bills.Do(context.Background(), bill.StreamID(identity.Provider, pact), bill.AnswerDelivery{DocumentID: i.InvoiceID}, w.meta()); err != nil {
		t.Fatal(err)
	}
	do("bob", "POST", "/invoices/"+i.InvoiceID+"/send?timeout=60", "")
	do("bob", "POST", "/invoices/"+i.InvoiceID+"/cancel?timeout=60", "")
	do("bob", "GET", "/invoices/"+i.InvoiceID, "")
	j.golden("payment", "verdicts.golden")
}

// refusal asks a route for what it must refuse: first for things that do not
// exist, then with a query that cannot be read, then without a key.
func (j *journal) refusal(r route) {
	j.t.Helper()
	body := ""
	if r.method == "POST" || r.method == "PUT" {
		body = "{}"
	}
	path := r.url()
	if strings.HasSuffix(strings.ToLower(r.operation), "events") { // polls wait
		path += "?timeout=0"
	}
	tries := [][2]string{
		{"alice", path}, {"alice", r.url() + "?timeout=x&maxEvents=x&maxItems=x&afterTimestamp=x&limit=x"}, {"nobody", path}, {"-", path},
	}
	switch r.operation { // those that never end
	case "MonitorActivities":
		tries = tries[2:]
	case "FollowEvents":
		tries = [][2]string{{"alice", r.url() + "?after=x"}}
	}
	for _, try := range tries {
		before := j.trace.Len()
		headers := []string{}
		if try[0] == "-" {
			headers = []string{"Host: evil.example"}
		}
		if got := j.ask(try[0], r.method, try[1], body, headers...); got.status >= 400 {
			return
		}
		j.trace.Truncate(before)
	}
	j.t.Errorf("%s %s refuses nothing", r.method, r.path)
}

func TestRefusalsOfEveryRoute(t *testing.T) {
	t.Parallel()
	w, till := newWorld(t), newTill(t)
	all, money := documented()
	for name, routes := range map[string][]route{"others": all, "payments": money} {
		j := &journal{t: t, url: w.url}
		if name == "payments" {
			j.url = till.url
		}
		for _, r := range routes {
			j.refusal(r)
		}
		j.golden("refusals", name+".golden")
	}
}

// exchange is a request and its answer in a golden file.
var exchange = regexp.MustCompile(`(?m)^(?:[a-z]+|-) (GET|POST|PUT|DELETE) (/\S*) .*\n(?:[^\n]+\n)?(\d)\d\d `)

func TestEveryRouteHasAGoldenAnswer(t *testing.T) {
	t.Parallel()
	succeeded, refused := map[string]bool{}, map[string]bool{}
	all, money := documented()
	all = append(all, money...)
	patterns := make([]*regexp.Regexp, len(all))
	for i, r := range all {
		patterns[i] = regexp.MustCompile("^" + r.method + " " + parameter.ReplaceAllString(strings.ReplaceAll(r.path, ":tile", ":path"), `[^/?]+(?:\.p/\d+)?`) + `(\?|$)`)
	}
	err := filepath.WalkDir("testdata", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".golden" {
			return err
		}
		b, err := os.ReadFile(path) //nolint:gosec // test data
		for _, m := range exchange.FindAllStringSubmatch(strings.ReplaceAll(string(b), "<id ", "<id-"), -1) {
			for i, p := range patterns {
				if !p.MatchString(m[1]+" "+m[2]) && !p.MatchString(m[1]+" "+paymentBase+m[2]) {
					continue
				}
				if m[3] == "2" {
					succeeded[all[i].operation] = true
				} else {
					refused[all[i].operation] = true
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if !succeeded[r.operation] && r.operation != "ConnectServices" { // a WebSocket: package gsb tests its frames
			t.Errorf("no golden answer of %s %s (%s)", r.method, r.path, r.operation)
		}
		if !refused[r.operation] {
			t.Errorf("no golden refusal of %s %s (%s)", r.method, r.path, r.operation)
		}
	}
}
