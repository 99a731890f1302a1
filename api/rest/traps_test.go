package rest

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/activity/batch"
)

// traps is what clients in use rely on without any document saying so, and the
// tests that would fail if a node fell into it: "folder below the module:name",
// or a name of this package.
var traps = []struct {
	what  string
	tests []string
}{
	{"a version below 0.15.2 is refused", []string{"TestNodeAnswers", "tests/clients/golemjs:TestTheDriverRunsPublishedGolemJS"}},
	{"texts are JSON and labelled so", []string{"TestTheMarketAsGolemJSUsesIt", "TestAnActivityAsGolemJSUsesIt"}},
	{"204 has no body, deletions of payment and activity answer null", []string{"TestAnswersWithoutBodies", "TestAnActivityAsGolemJSUsesIt"}},
	{"proposals have a prefix, agreements none", []string{"TestTheMarketAsGolemJSUsesIt", "TestStatusesOfTheMarket"}},
	{"events of demands are handed out once", []string{"TestNothingIsHandedOutTwice"}},
	{"unsubscribing ends polls with 404", []string{"TestUnsubscribingEndsPollsWith404"}},
	{"a poll without news is no error", []string{"TestPollsWithoutNews", "TestStatusesOfActivities"}},
	{"cursors are strict, exact and survive a plus sign", []string{"TestTheMarketAsGolemJSUsesIt", "TestTimesOfTheLogAreItsCursors", "TestQueriesAreReadStrictly", "TestCursorsPassOverWhatIsHidden", "TestAPaymentSeenIsNotToldAgain", "TestADocumentSeenIsNotListedAgain"}},
	{"what was written is read at once", []string{"TestTheMarketAsGolemJSUsesIt", "TestAnActivityAsGolemJSUsesIt", "TestWhatAJSClientDoes"}},
	{"an activity is Initialized when it is made, Ready after start", []string{"TestAnActivityAsGolemJSUsesIt", "tests/clients/golemjs:TestRentals"}},
	{"results begin at 0 each time", []string{"TestAnActivityAsGolemJSUsesIt", "TestAnActivityAsYapapiUsesIt"}},
	{"a failed command finishes the batch", []string{"TestWaitersHearWhenTheActivityDies", "TestAnActivityAsYapapiUsesIt", "tests/clients/golemjs:TestWhenAMachineDies"}},
	{"a stream ends when the client ends it", []string{"TestStreamsBeginAtTheFirstWord", "TestStreamsEndOnlyWhenABatchFailedEarly"}},
	{"nothing is told of empty output", []string{"TestEmptyOutputIsNotTold"}},
	{"reasons are objects and keep their keys", []string{"TestThereIsAlwaysAReason", "TestTheMarketAsGolemJSUsesIt"}},
	{"requestors do not hear of their own decisions", []string{"TestARequestorDoesNotHearOfItsOwnDecisions", "tests/clients/golemjs:TestAPoolOfRemoteMachines"}},
	{"clients send more than is asked for", []string{"TestClientsSendMoreThanIsAsked", "TestWhatAJSClientDoes"}},
	{"amounts are numbers or texts and compared as numbers", []string{"TestWhatAJSClientDoes"}},
	{"addresses keep their spelling", []string{"TestAddressesKeepTheirSpelling"}},
	{"deals survive a restart", []string{"tests/crash:TestBothDieBeforeFacts"}},
	{"payment events know the session of the agreement", []string{"TestWhatAJSClientDoes", "tests/clients/golemjs:TestRentals"}},
	{"some posts have no body and no content type", []string{"TestAnswersWithoutBodies"}},
	{"connections may be idle and answers long", []string{"TestTheServerIsPatient"}},
	{"streams are not buffered or compressed", []string{"TestEventStreams", "TestTheServerIsPatient"}},
	{"acceptances of one agreement go one after the other", []string{"TestParallelAcceptancesSpendOnce"}},
	{"401 comes before everything", []string{"TestWhoHasNoKeyIsToldSoBeforeAnythingElse"}},
	{"an agreement names the demand as it was published", []string{"TestTheMarketAsGolemJSUsesIt"}},
	{"broken prices are not shown", []string{"TestBrokenPricesAreNotShownToThoseWhoAskForLinear"}},
	{"versions are compared whether they are texts or numbers", []string{"TestVersionsAreTextsOrNumbers"}},
	{"negotiable properties keep their question mark", []string{"TestTheMarketAsGolemJSUsesIt"}},
	{"a poll returns with the first event", []string{"TestAPollReturnsWhenSomethingComes"}},
	{"equal demands have ids of their own", []string{"TestEqualDemandsHaveTheirOwnIDs", "tests/clients/golemjs:TestAPoolOfRemoteMachines"}},
}

func TestEveryTrapHasATest(t *testing.T) {
	t.Parallel()
	if len(traps) != 32 {
		t.Errorf("%d traps", len(traps))
	}
	known := map[string]map[string]bool{}
	for _, trap := range traps {
		for _, name := range trap.tests {
			folder, test, elsewhere := strings.Cut(name, ":")
			if !elsewhere {
				folder, test = "api/rest", name
			}
			if known[folder] == nil {
				known[folder] = testsOf(t, folder)
			}
			if !known[folder][test] {
				t.Errorf("%s: %s has no %s", trap.what, folder, test)
			}
		}
	}
}

// testsOf lists the functions in the test files of a folder.
func testsOf(t *testing.T, folder string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", folder, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no tests: %v", folder, err)
	}
	out := map[string]bool{}
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for name := range declared(f) {
			out[name] = true
		}
	}
	return out
}

func TestAnswersWithoutBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sells(offerText)
	s := w.demands()
	draft := w.proposes(s)
	g := w.text(w.call(200, "POST", "/market-api/v1/agreements", `{"proposalId":"`+draft+`","validTo":"2099-01-01T00:00:00Z"}`))
	agreement := "/market-api/v1/agreements/" + g
	silent := func(got answered) {
		if got.body != "" || got.header.Get("Content-Type") != "" || got.header.Get("Content-Length") != "" && got.header.Get("Content-Length") != "0" {
			t.Errorf("answered %q %v", got.body, got.header)
		}
	}
	silent(w.call(204, "POST", agreement+"/confirm?appSessionId=s", "")) // no content type either
	silent(w.call(204, "POST", agreement+"/wait?timeout=60", ""))
	w.call(400, "POST", agreement+"/terminate", "") // this one wants JSON, be it null
	if got := ask(t, w.url, "POST", agreement+"/terminate", "null", asAlice, "Content-Type: text/plain"); got.status != 400 {
		t.Errorf("a reason that is no JSON: %d", got.status)
	}
	silent(w.call(200, "POST", agreement+"/terminate", "null"))
	silent(w.call(204, "DELETE", "/market-api/v1/demands/"+s, ""))
}

func TestPollsWithoutNews(t *testing.T) {
	t.Parallel()
	w, m := newWorld(t), newTill(t)
	s := w.demands()
	o := w.text(w.call(201, "POST", "/market-api/v1/offers", demandBody))
	for path, url := range map[string]string{
		"/market-api/v1/demands/" + s + "/events": w.url, "/market-api/v1/offers/" + o + "/events": w.url, "/market-api/v1/agreementEvents": w.url,
		paymentBase + "/invoiceEvents": m.url, paymentBase + "/debitNoteEvents": m.url, paymentBase + "/payments": m.url,
	} {
		began := time.Now()
		got := ask(t, url, "GET", path+"?timeout=0.2&afterTimestamp=2020-01-01T00:00:00.000Z", "", asAlice)
		if got.status != 200 || got.body != "[]" {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
		if d := time.Since(began); d < 200*time.Millisecond || d > patience {
			t.Errorf("%s took %v", path, d)
		}
	}
}

func TestEmptyOutputIsNotTold(t *testing.T) {
	t.Parallel()
	tell := &teller{kept: map[string][]byte{}}
	for _, format := range []batch.Format{batch.Str, batch.Bin} {
		for _, pieces := range [][]batch.Piece{nil, {{Bytes: []byte{}}}} {
			e := batch.RuntimeEvent{Kind: batch.KindStderr, Output: batch.Output{Format: format, Pieces: pieces}}
			if got, err := tell.kind(context.Background(), e); got != nil || err != nil {
				t.Errorf("%v %v: %v, %v", format, pieces, got, err)
			}
		}
	}
}

func TestThereIsAlwaysAReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sells(offerText)
	g := w.agrees(w.demands())
	w.call(200, "POST", "/market-api/v1/agreements/"+g+"/terminate", "null")
	events := w.array(w.call(200, "GET", "/market-api/v1/agreementEvents?timeout=0", ""))
	last := events[len(events)-1]
	reason, ok := last["reason"].(map[string]any)
	if _, text := reason["message"].(string); last["eventType"] != "AgreementTerminatedEvent" || !ok || !text {
		t.Errorf("event %v", last)
	}
}

func TestClientsSendMoreThanIsAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, a := w.started()
	b := w.exec(a, `[{"run":{"entry_point":"hello","args":[],"env":{"A":"b"},"x":1}},{"transfer":{"from":"gftp://a/b","to":"container:/c","args":{},"format":null}}]`)
	if got := w.array(w.call(200, "GET", base+a+"/exec/"+b+"?timeout=60&more=1", "")); len(got) != 2 {
		t.Errorf("results %v", got)
	}
	w.call(201, "POST", "/market-api/v1/demands", `{"more":{"x":1},`+demandBody[1:])
}

func TestTheServerIsPatient(t *testing.T) {
	t.Parallel()
	s := HTTPServer(nil)
	if s.IdleTimeout < time.Minute || s.WriteTimeout != 0 || s.ReadTimeout != 0 || s.ReadHeaderTimeout == 0 {
		t.Errorf("idle %v, write %v, read %v, headers %v", s.IdleTimeout, s.WriteTimeout, s.ReadTimeout, s.ReadHeaderTimeout)
	}
	url := frame(t, Config{}).URL
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/version/get", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip, deflate, br")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // not read
	if e := resp.Header.Get("Content-Encoding"); e != "" {
		t.Errorf("compressed as %s", e)
	}
}

// Both sides write the version as they like, text or number: what stands in the
// constraint is read as the property is. A text is compared as text then, on
// every node of the network, so that all find the same matches.
func TestVersionsAreTextsOrNumbers(t *testing.T) {
	t.Parallel()
	for constraint, want := range map[string]int{
		"(golem.com.payment.protocol.version>1)": 2, "(golem.com.payment.protocol.version>=3)": 2, "(golem.com.payment.protocol.version>3)": 0,
		"(golem.com.payment.protocol.version>20)": 1,
	} {
		w := newWorld(t)
		for _, version := range []string{`"3"`, `3`} {
			w.sells(strings.Replace(offerText, `{`, `{"golem.com.payment.protocol.version":`+version+`,`, 1))
		}
		s := w.text(w.call(201, "POST", "/market-api/v1/demands", `{"properties":{},"constraints":"`+constraint+`"}`))
		if got := w.events(s, "timeout=0.1"); len(got) != want {
			t.Errorf("%s: %d offers, want %d", constraint, len(got), want)
		}
	}
}

func declared(f *ast.File) map[string]bool {
	out := map[string]bool{}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
			out[fn.Name.Name] = true
		}
	}
	return out
}

// golem-js loses all but the last of the events that one answer carries.
func TestASessionHearsOneAgreementEventAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sells(offerText)
	g := w.agrees(w.demands()) // in session s1
	w.call(200, "POST", "/market-api/v1/agreements/"+g+"/terminate", "null")
	cursor, heard := "2020-01-01T00:00:00.000Z", []string{}
	for range 2 {
		got := w.array(w.call(200, "GET", "/market-api/v1/agreementEvents?timeout=0&maxEvents=100&appSessionId=s1&afterTimestamp="+cursor, ""))
		if len(got) != 1 {
			t.Fatalf("%d events after %v", len(got), heard)
		}
		cursor, heard = got[0]["eventDate"].(string), append(heard, got[0]["eventType"].(string))
	}
	if strings.Join(heard, " ") != "AgreementApprovedEvent AgreementTerminatedEvent" {
		t.Errorf("heard %v", heard)
	}
	if all := w.array(w.call(200, "GET", "/market-api/v1/agreementEvents?timeout=0", "")); len(all) != 2 {
		t.Errorf("without a session: %v", all)
	}
}
