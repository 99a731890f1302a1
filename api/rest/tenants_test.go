package rest

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

// byID are the routes that read one thing, of all documents.
func byID(routes []route) (out []route) {
	for _, r := range routes {
		if r.method == "GET" && strings.Contains(r.path, "/:") {
			out = append(out, r)
		}
	}
	return out
}

// strangers reads every route as alice, who owns the things with these ids, and
// as bob, who gets the answer that he gets for things that do not exist.
func strangers(t *testing.T, base string, routes []route, ids map[string]string, except map[string]string) {
	t.Helper()
	fill := func(r route, ids map[string]string) string {
		return parameter.ReplaceAllStringFunc(r.path, func(p string) string { return url.PathEscape(ids[p[1:]]) })
	}
	nothing := map[string]string{}
	for name, id := range ids {
		nothing[name] = unknownLike(id)
	}
	for _, r := range routes {
		if why, ok := except[r.operation]; ok {
			t.Logf("%s: %s", r.operation, why)
			continue
		}
		if missing := parameter.FindAllString(r.path, -1); slices.ContainsFunc(missing, func(p string) bool { return ids[p[1:]] == "" }) {
			t.Errorf("%s %s: no id for one of %v", r.operation, r.path, missing)
			continue
		}
		path := fill(r, ids) + "?timeout=0"
		if got := ask(t, base, "GET", path, "", asAlice); got.status != 200 {
			t.Errorf("alice reads %s: %d %s", path, got.status, got.body)
		}
		theirs := ask(t, base, "GET", path, "", "Authorization: Bearer bob")
		absent := ask(t, base, "GET", fill(r, nothing)+"?timeout=0", "", "Authorization: Bearer bob")
		if theirs.status != absent.status || theirs.status == 200 && theirs.body != absent.body {
			t.Errorf("bob reads %s: %d %s; of what is not there %d %s", path, theirs.status, theirs.body, absent.status, absent.body)
		}
		if theirs.status != 404 && (theirs.status != 200 || theirs.body != "[]" && theirs.body != "null") {
			t.Errorf("bob reads %s: %d %s", path, theirs.status, theirs.body)
		}
	}
}

// unknownLike is an id of the same form that belongs to nothing.
func unknownLike(id string) string {
	last := "0"
	if strings.HasSuffix(id, "0") {
		last = "1"
	}
	return id[:len(id)-1] + last
}

func TestStrangersReadNothingByID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g, a := w.started()
	w.sells(strings.Replace(offerText, "4.0", "5.0", 1))
	s := w.demands()
	p := w.events(s, "timeout=60&maxEvents=10")[0]["proposal"].(map[string]any)["proposalId"].(string)
	b := w.exec(a, `[{"run":{"entry_point":"hello","args":[]}}]`)
	w.call(200, "GET", base+a+"/exec/"+b+"?timeout=60", "")
	w.call(200, "POST", "/market-api/v1/agreements/"+g+"/terminate", "null")
	scan := w.text(w.call(201, "POST", "/market-api/v1/scan", `{"type":"offer"}`))
	all, _ := documented()
	strangers(t, w.url, byID(all), map[string]string{
		"agreementId": g, "activityId": a, "batchId": b, "subscriptionId": s, "proposalId": p, "scanId": scan, "prefixes": "market",
	}, map[string]string{
		"FilterMetrics": "has no owner", "GetTile": "hashes are no secret", "ConnectServices": "is a WebSocket, see package gsb",
		"CollectScan": "a stranger's scan is 403", "GetRunningCommands": "nothing runs, see TestWaitersHearWhenTheActivityDies",
		"CollectOfferEvents": "see below", "GetOfferProposal": "is a proposal to a provider",
	})
	o := w.text(w.call(201, "POST", "/market-api/v1/offers", demandBody))
	w.call(200, "GET", "/market-api/v1/offers/"+o+"/events?timeout=0", "")
	for _, path := range []string{"/market-api/v1/offers/" + o + "/events?timeout=0", base + a + "/command"} {
		if got := ask(t, w.url, "GET", path, "", "Authorization: Bearer bob"); got.status != 404 {
			t.Errorf("bob reads %s: %d %s", path, got.status, got.body)
		}
	}
	if got := ask(t, w.url, "GET", "/market-api/v1/scan/"+scan+"/events?timeout=0", "", "Authorization: Bearer bob"); got.status != 403 {
		t.Errorf("bob reads alice's scan: %d", got.status)
	}
}

func TestStrangersReadNoMoneyByID(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	id := w.keepsBooks()
	_, routes := documented()
	strangers(t, w.url, byID(routes), map[string]string{
		"allocationId": id, "debitNoteId": "note-1", "invoiceId": "invoice-1", "agreementId": pact, "activityId": someID,
		"paymentId": someID, "orderId": "o1", "payee": string(bob),
	}, map[string]string{"GetCycle": "the platform is not a thing of anyone's"})
}
