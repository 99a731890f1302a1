package rest

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/negotiation"
)

func TestTheMarketAsGolemJSUsesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	offerID := w.sells(offerText)
	began := time.Now().UTC()
	s := w.demands()
	if len(s) != 97 {
		t.Errorf("demand id %q", s)
	}
	events := w.events(s, "timeout=60&maxEvents=10")
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
	answer := w.call(200, "GET", "/market-api/v1/demands/"+s+"/events?timeout=60&maxEvents=10", "")
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
	w.call(404, "GET", "/market-api/v1/demands/"+s+"/events?timeout=60", "")

	cursor := began.Format("2006-01-02T15:04:05.000Z")
	session := func(q string) []map[string]any {
		return w.array(w.call(200, "GET", "/market-api/v1/agreementEvents?maxEvents=100&"+q+"&afterTimestamp="+url.QueryEscape(cursor), ""))
	}
	approved := session("timeout=60&appSessionId=s1")
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
	ended := session("timeout=60&appSessionId=s1")
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
	go func() { got <- w.events(s, "timeout=600&maxEvents=10") }()
	w.sells(offerText)
	if events := <-got; len(events) != 1 {
		t.Errorf("events %v", events)
	}
	if d := time.Since(began); d > patience {
		t.Errorf("the poll slept for %v", d)
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
	events := w.events(s, "timeout=60")
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
	draft := w.events(demandID, "timeout=60")[0]["proposal"].(map[string]any)["proposalId"].(string)
	return w.text(w.call(200, "POST", "/market-api/v1/agreements", `{"proposalId":"`+draft+`","validTo":"2099-01-01T00:00:00Z"}`))
}

func TestStatusesOfTheMarket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sells(offerText)
	s := w.demands()
	initial := w.events(s, "timeout=60")[0]["proposal"].(map[string]any)["proposalId"].(string)
	base := "/market-api/v1/demands/" + s + "/proposals/"
	mine := w.text(w.call(200, "POST", base+initial, demandBody))
	draft := w.events(s, "timeout=60")[0]["proposal"].(map[string]any)["proposalId"].(string)
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

// What is no text of a subscription is refused in the words of JSON. What only
// cannot be matched is taken, as clients expect, and the operator is told.
func TestMalformedSubscriptions(t *testing.T) {
	t.Parallel()
	var told strings.Builder
	w := newWorldOf(t, Config{Version: "0.17.6", Logger: slog.New(slog.NewTextHandler(&told, nil))})
	for body, want := range map[string]string{
		`[]`:                                `Json deserialize error: want an object, not array`,
		`{"properties":{},"constraints":1}`: `Json deserialize error: constraints: want a string, not number`,
		`{"properties":{}}`:                 "missing field `constraints`",
		`{"constraints":"()"}`:              "missing field `properties`",
		`{`:                                 `unexpected end of JSON input`,
	} {
		if a := w.call(400, "POST", "/market-api/v1/demands", body); !strings.Contains(a.body, want) {
			t.Errorf("%s: %s, want %s", body, a.body, want)
		}
	}
	w.call(201, "POST", "/market-api/v1/demands", `{"properties":{},"constraints":"()"}`)
	if told.Len() > 0 {
		t.Errorf("the operator was told %s", told.String())
	}
	w.call(201, "POST", "/market-api/v1/demands", `{"properties":{},"constraints":"(a=b"}`)
	for _, word := range []string{"level=WARN", "nothing will match", "(a=b", "demand="} {
		if !strings.Contains(told.String(), word) {
			t.Errorf("%s does not say %s", told.String(), word)
		}
	}
}

func TestSilentPeersAreOur500(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sells(offerText)
	s := w.demands()
	initial := w.events(s, "timeout=60")[0]["proposal"].(map[string]any)["proposalId"].(string)
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
