package golemjs

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// distance is a requestor and providers that know each other only through the
// network, each a process of its own, and a chain.
type distance struct {
	requestor Node
	providers []Node
}

func apart(t *testing.T, providers int) distance {
	t.Helper()
	dir := t.TempDir()
	chain := start(t, "emet devchain", nil, "devchain", "--listen", "127.0.0.1:0", "--network", "hoodi", "-d", filepath.Join(dir, "chain"))
	env := []string{
		"HOODI_GETH_ADDR=" + chain["hoodi"], "EMET_PAYMENT_CYCLE=5s", "EMET_PROVIDER_ALLOW_LOOPBACK=true", "EMET_STORE_SEGMENT_MIB=16",
		"EMET_LOG_LEVEL=info",
	}
	node := func(name string, args ...string) map[string]string {
		return start(t, name, env, append([]string{
			"up", "--export", "--end-units", "-d", filepath.Join(dir, name), "--listen", "http://127.0.0.1:0", "--name", name,
			"--net-listen", "/ip4/127.0.0.1/udp/0/quic-v1,/ip4/127.0.0.1/tcp/0",
		}, args...)...)
	}
	said := node("requestor", "--no-provider")
	d := distance{requestor: nodeOf(said), providers: make([]Node, providers)}
	var all sync.WaitGroup
	for i := range providers {
		all.Go(func() {
			d.providers[i] = nodeOf(node([]string{"north", "south", "west"}[i], "--bootstrap", said["EMET_BOOTSTRAP"]))
		})
	}
	all.Wait()
	fund(t, chain["hoodi"], d.requestor.me(t))
	return d
}

func nodeOf(said map[string]string) Node {
	return Node{URL: said["YAGNA_API_URL"], AppKey: said["YAGNA_APPKEY"]}
}

// me is the identity of a node's key.
func (n Node) me(t *testing.T) string {
	t.Helper()
	var me struct{ Identity string }
	if err := n.get(t.Context(), "/me", &me); err != nil {
		t.Fatal(err)
	}
	return me.Identity
}

// fund lets the chain give an address coins and tokens.
func fund(t *testing.T, chain, address string) {
	t.Helper()
	ask := `{"jsonrpc":"2.0","id":1,"method":"emet_fund","params":["` + address + `"]}`
	resp, err := http.Post(chain, "application/json", strings.NewReader(ask)) //nolint:noctx // of a test
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	if b, err := io.ReadAll(resp.Body); err != nil || bytes.Contains(b, []byte(`"error"`)) {
		t.Fatalf("fund %s: %s, %v", address, b, err)
	}
}

// invoiceEvent is what clients read of an event.
type invoiceEvent struct{ InvoiceID, EventType string }

// events reads invoice events as golem-js does, or with headers that ask for
// more.
func (n Node) events(t *testing.T, header ...string) []invoiceEvent {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		n.URL+"/payment-api/v1/invoiceEvents?timeout=0&maxEvents=100&afterTimestamp=2026-01-01T00:00:00.000Z", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+n.AppKey)
	if len(header) == 2 {
		req.Header.Set(header[0], header[1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	var out []invoiceEvent
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

func kinds(events []invoiceEvent) map[string]int {
	out := map[string]int{}
	for _, e := range events {
		out[e.EventType]++
	}
	return out
}

func TestAPoolOfRemoteMachines(t *testing.T) {
	t.Parallel()
	url, hash := image(t)
	d := apart(t, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	report, err := RentPool(ctx, d.requestor, Order{
		ImageURL: url, ImageHash: hash, Engine: "wasmtime", Network: "hoodi", TimeoutMS: 120_000, Say: []string{"main", "say", "here is"},
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, report)
	}
	used := map[string]Line{}
	for _, l := range report.Find("used") {
		used[l.Text("name")] = l
		if l.Text("stdout") != "here is "+l.Text("name")+"\n" || l.Text("result") != "Ok" {
			t.Errorf("used: %v", l.Fields)
		}
	}
	first, second, again, third := used["first0"], used["first1"], used["again"], used["third"]
	if first.Text("provider") == second.Text("provider") || first.Text("agreementId") == "" {
		t.Errorf("two machines of one provider: %v, %v", first.Fields, second.Fields)
	}
	if again.Text("agreementId") != first.Text("agreementId") {
		t.Errorf("the released machine was not taken again: %v", again.Fields)
	}
	if third.Text("agreementId") == first.Text("agreementId") || third.Text("agreementId") == second.Text("agreementId") || third.Step == "" {
		t.Errorf("the machine in its place: %v", third.Fields)
	}
	if len(report.Find("demandRefreshed")) == 0 || third.Text("demandId") == first.Text("demandId") {
		t.Errorf("the demand was not published anew: %v, %v", first.Text("demandId"), third.Text("demandId"))
	}
	ended := report.Find("agreementTerminated")
	accepted := report.Find("invoiceAccepted")
	if len(ended) != 3 || len(accepted) != 3 || len(report.Find("drained")) != 1 || len(report.Find("allocationReleased")) != 1 {
		t.Errorf("%d agreements ended, %d invoices accepted", len(ended), len(accepted))
	}
	d.agreementsLast(t, first, second, third)
	d.eventsAreForTheirSide(t, accepted)
	if t.Failed() {
		t.Logf("report:\n%s", report)
	}
}

// agreementsLast looks at the time of agreements: pools say one hour, or what
// was rented, whatever they were asked for.
func (d distance) agreementsLast(t *testing.T, used ...Line) {
	t.Helper()
	for _, l := range used {
		var a struct {
			State              string
			Timestamp, ValidTo time.Time
		}
		if err := d.requestor.get(t.Context(), "/market-api/v1/agreements/"+l.Text("agreementId"), &a); err != nil {
			t.Error(err)
		} else if lasts := a.ValidTo.Sub(a.Timestamp).Round(time.Minute); a.State != "Terminated" || lasts != 30*time.Minute && lasts != time.Hour {
			t.Errorf("agreement %s is %s and was for %v", l.Text("agreementId"), a.State, lasts)
		}
	}
}

// eventsAreForTheirSide waits for the money and looks at what each side hears
// of the invoices, without asking for more and with it.
func (d distance) eventsAreForTheirSide(t *testing.T, accepted []Line) {
	t.Helper()
	for _, l := range accepted {
		settles(t, d.requestor, l.Text("id"))
	}
	heard := kinds(d.requestor.events(t))
	if len(heard) != 1 || heard["InvoiceReceivedEvent"] != len(accepted) {
		t.Errorf("the requestor hears %v", heard)
	}
	more := kinds(d.requestor.events(t, "X-Requestor-Events", "RECEIVED,ACCEPTED,SETTLED"))
	if more["InvoiceAcceptedEvent"] != len(accepted) || more["InvoiceSettledEvent"] != len(accepted) {
		t.Errorf("the requestor who asks hears %v", more)
	}
	total := map[string]int{}
	for _, p := range d.providers {
		for began := time.Now(); time.Since(began) < 2*time.Minute; time.Sleep(50 * time.Millisecond) {
			if k := kinds(p.events(t)); k["InvoiceSettledEvent"] == k["InvoiceAcceptedEvent"] && k["InvoiceSettledEvent"] > 0 {
				break
			}
		}
		for _, e := range p.events(t) {
			total[e.EventType]++
			if !slices.ContainsFunc(accepted, func(l Line) bool { return l.Text("id") == e.InvoiceID }) {
				t.Errorf("a provider hears of %v", e)
			}
		}
	}
	if len(total) != 2 || total["InvoiceAcceptedEvent"] != len(accepted) || total["InvoiceSettledEvent"] != len(accepted) {
		t.Errorf("the providers hear %v", total)
	}
}
