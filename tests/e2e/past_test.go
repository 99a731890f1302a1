package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	nodes "github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/projections/story/storytest"
)

// where finds the first fact of a type.
func where(t *testing.T, s es.Store, typ string) es.Event {
	t.Helper()
	for e, err := range s.ReadAll(t.Context(), 0, es.Forward, es.Filter{Types: []string{typ}}, 1) {
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	t.Fatal("no " + typ)
	return es.Event{}
}

// call sends what an SDK would send.
func call(t *testing.T, method, url, key, body string) (status int, text string, header http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Content-Type", "application/json")
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, string(b), a.Header
}

// A node of the past answers a client's reads as it would have then, refuses
// its writes, and leaves the directory to others.
func TestANodeOfThePast(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := nodes.OpenLedger(t.Context(), nodes.Options{Dir: dir})
	if err == nil {
		err = storytest.Write(t.Context(), l.Log)
	}
	if err != nil {
		t.Fatal(err)
	}
	approved, received := where(t, l.Store, "agreement.approved.v1"), where(t, l.Store, "bill.invoice_received.v1")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	const key = "the-key-of-now"
	d := storytest.First
	past := begin(t, []string{"YAGNA_AUTOCONF_APPKEY=" + key}, "up", "-d", dir, "--as-of", fmt.Sprint(received.Position), "--read-only", "--listen", "127.0.0.1:0", "--export")
	url := past.said["YAGNA_API_URL"]
	if url == "" || past.said["YAGNA_APPKEY"] != key {
		t.Fatalf("it said %v", past.said)
	}
	get := func(path string) (int, string) {
		status, text, header := call(t, http.MethodGet, url+path, key, "")
		if header.Get("Emet-Position") != fmt.Sprint(received.Position) {
			t.Errorf("%s is answered for %q", path, header.Get("Emet-Position"))
		}
		return status, text
	}
	// what golem-js asks when it looks at its deals, in its order
	for _, c := range []struct{ path, has string }{
		{"/version/get", `"version":"0.17.6"`},
		{"/me", string(storytest.Buyer)},
		{"/payment-api/v1/allocations/" + storytest.Allocation, `"totalAmount":"10"`},
		{"/payment-api/v1/allocations", storytest.Allocation},
		{"/payment-api/v1/requestorAccounts", "erc20-hoodi-tglm"},
		{"/market-api/v1/demands", "["},
		{"/market-api/v1/agreements/" + d.Agreement, `"state":"Approved"`},
		{"/market-api/v1/agreements", d.Agreement},
		{"/market-api/v1/agreementEvents?timeout=0&maxEvents=100&afterTimestamp=2020-01-01T00:00:00.000Z", "AgreementApprovedEvent"},
		{"/activity-api/v1/activity/" + d.Activity + "/state", `"state":[`},
		{"/activity-api/v1/activity/" + d.Activity + "/agreement", d.Agreement},
		{"/payment-api/v1/invoiceEvents?timeout=0&maxEvents=50&afterTimestamp=2020-01-01T00:00:00.000Z", d.Invoice},
		{"/payment-api/v1/invoices/" + d.Invoice, `"status":"RECEIVED"`},
		{"/payment-api/v1/invoices", d.Invoice},
		{"/payment-api/v1/debitNotes", "["},
		{"/payment-api/v1/payments?timeout=0", "[]"},
		{"/emet-api/v1/head", fmt.Sprintf(`"size":%d`, received.Position+1)},
	} {
		if status, text := get(c.path); status != 200 || !strings.Contains(text, c.has) {
			t.Errorf("%s: %d %s, want %s", c.path, status, text, c.has)
		}
	}
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/market-api/v1/demands", `{"properties":{},"constraints":"()"}`},
		{"POST", "/payment-api/v1/invoices/" + d.Invoice + "/accept", `{"totalAmountAccepted":"1","allocationId":"` + storytest.Allocation + `"}`},
		{"POST", "/market-api/v1/agreements/" + d.Agreement + "/terminate", `{"message":"bye"}`},
		{"DELETE", "/payment-api/v1/allocations/" + storytest.Allocation, ""},
		{"GET", "/market-api/v1/demands/" + storytest.Demand + "/events?timeout=1", ""},
	} {
		if status, text, _ := call(t, c.method, url+c.path, key, c.body); status != 403 || !strings.Contains(text, "this node shows the past") {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, text)
		}
	}
	if status, _, _ := call(t, http.MethodGet, url+"/me", "wrong", ""); status != 401 {
		t.Errorf("a wrong key: %d", status)
	}
	// who polls is held back as by a node that lives
	begun := time.Now()
	if status, text, _ := call(t, http.MethodGet, url+"/payment-api/v1/invoiceEvents?timeout=1&afterTimestamp="+time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05.000Z"), key, ""); status != 200 || text != "[]" || time.Since(begun) < 900*time.Millisecond {
		t.Errorf("a poll: %d %s after %s", status, text, time.Since(begun))
	}
	// beside it the present runs, and answers about other moments
	now := begin(t, []string{"YAGNA_AUTOCONF_APPKEY=" + key}, "up", "-d", dir, "--no-provider", "--listen", "127.0.0.1:0", "--net-listen", "/ip4/127.0.0.1/tcp/0", "--export")
	here := now.said["YAGNA_API_URL"]
	invoice := "/payment-api/v1/invoices/" + d.Invoice
	if status, text, header := call(t, http.MethodGet, here+invoice+"?asOf="+fmt.Sprint(received.Position), key, ""); status != 200 || !strings.Contains(text, `"status":"RECEIVED"`) || header.Get("Emet-Position") != fmt.Sprint(received.Position) {
		t.Errorf("as of then: %d %s", status, text)
	}
	if status, _, _ := call(t, http.MethodGet, here+invoice+"?asOf="+approved.Recorded.Format(time.RFC3339Nano), key, ""); status != 404 {
		t.Errorf("before there was an invoice: %d", status)
	}
	if status, text, _ := call(t, http.MethodGet, here+invoice+"?asOf=999999", key, ""); status != 400 || !strings.Contains(text, "the last fact is at position") {
		t.Errorf("as of the future: %d %s", status, text)
	}
	for _, p := range []*process{past, now} {
		p.signal(syscall.SIGINT)
		if code := p.ended(20 * time.Second); code != 0 {
			t.Errorf("it ended with %d:\n%s", code, p.out)
		}
	}
}
