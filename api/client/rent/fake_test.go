package rent

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emet-node/emet/api/client"
)

// node answers as a requestor's node does, with one provider behind it. It is
// asked without a network, so that its tests need no time.
type node struct {
	http.ServeMux
	t *testing.T

	mu         sync.Mutex
	changed    chan struct{}
	offers     bool          // the provider has an offer: every demand sees it once
	broken     bool          // activities cannot be created
	silent     bool          // approvals do not arrive
	settling   time.Duration // so long a pending agreement can be neither approved nor cancelled; then it is approved
	demands    []time.Time
	gone       map[string]bool // demands
	inbox      map[string][]client.Proposal
	agreements []*deal
	invoices   []*client.Document
	dates      []string // of the invoices' events
	asked      []string // what changed something, in order
}

type deal struct {
	client.Agreement
	session, activity string
	at                time.Time
}

func newNode(t *testing.T) *node {
	n := &node{t: t, changed: make(chan struct{}), gone: map[string]bool{}, inbox: map[string][]client.Proposal{}}
	for pattern, h := range map[string]func(*http.Request) (int, any){
		"POST /payment-api/v1/allocations":                n.note(201, client.Allocation{ID: "new-budget"}),
		"DELETE /payment-api/v1/allocations/{id}":         n.note(200, nil),
		"GET /payment-api/v1/demandDecorations":           n.say(client.Decoration{}),
		"POST /payment-api/v1/invoices/{id}/accept":       n.accept,
		"GET /payment-api/v1/invoices/{id}":               n.invoice,
		"GET /payment-api/v1/invoiceEvents":               n.invoiceEvents,
		"GET /payment-api/v1/debitNoteEvents":             n.noEvents,
		"POST /market-api/v1/demands":                     n.subscribe,
		"DELETE /market-api/v1/demands/{id}":              n.unsubscribe,
		"GET /market-api/v1/demands/{id}/events":          n.demandEvents,
		"POST /market-api/v1/demands/{id}/proposals/{p}":  n.counter,
		"POST /market-api/v1/agreements":                  n.agree,
		"GET /market-api/v1/agreements":                   n.list,
		"GET /market-api/v1/agreements/{id}":              n.show,
		"POST /market-api/v1/agreements/{id}/confirm":     n.confirm,
		"POST /market-api/v1/agreements/{id}/wait":        n.approve,
		"POST /market-api/v1/agreements/{id}/cancel":      n.end("Cancelled"),
		"POST /market-api/v1/agreements/{id}/terminate":   n.end("Terminated"),
		"POST /activity-api/v1/activity":                  n.activity,
		"GET /activity-api/v1/activity":                   n.activities,
		"DELETE /activity-api/v1/activity/{id}":           n.note(200, nil),
		"GET /activity-api/v1/activity/{id}/usage":        n.say(map[string]any{"currentUsage": []float64{1.5, 2}}),
		"POST /activity-api/v1/activity/{id}/exec":        n.say("batch"),
		"GET /activity-api/v1/activity/{id}/exec/{batch}": n.say([]client.Result{{Result: "Ok"}, {Index: 1, Result: "Ok", Finished: true}}),
	} {
		n.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			status, body := h(r)
			w.WriteHeader(status)
			if body != nil {
				_ = json.NewEncoder(w).Encode(body)
			}
		})
	}
	return n
}

func (n *node) client() *client.Client {
	return &client.Client{URL: "http://node", HTTP: &http.Client{Transport: n}}
}

// RoundTrip implements http.RoundTripper.
func (n *node) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	n.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if w.Code == http.StatusNotFound && w.Header().Get("Content-Type") == "text/plain; charset=utf-8" {
		n.t.Errorf("nobody answers %s %s", r.Method, r.URL.Path)
	}
	return w.Result(), nil
}

func (n *node) say(what any) func(*http.Request) (int, any) {
	return func(*http.Request) (int, any) { return 200, what }
}

func (n *node) note(status int, what any) func(*http.Request) (int, any) {
	return func(r *http.Request) (int, any) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.noteLocked(r)
		return status, what
	}
}

// noteLocked remembers what was asked: the end of the path, and its budget.
func (n *node) noteLocked(r *http.Request) {
	var body struct{ AllocationID string }
	_ = json.NewDecoder(r.Body).Decode(&body)
	words := strings.Split(r.URL.Path, "/")
	n.asked = append(n.asked, strings.TrimSpace(r.Method+" "+strings.Join(words[3:], "/")+" "+body.AllocationID))
}

// wakeLocked tells those who wait for events.
func (n *node) wakeLocked() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// poll waits for events as long as the caller likes.
func poll[E any](n *node, r *http.Request, look func() []E) (int, any) {
	seconds, _ := strconv.ParseFloat(r.URL.Query().Get("timeout"), 64)
	late := time.After(time.Duration(seconds * float64(time.Second)))
	for {
		n.mu.Lock()
		changed, found := n.changed, look()
		n.mu.Unlock()
		if len(found) > 0 {
			return 200, found
		}
		select {
		case <-changed:
		case <-late:
			return 200, []E{}
		case <-r.Context().Done():
			return 500, nil
		}
	}
}

func (n *node) noEvents(r *http.Request) (int, any) {
	return poll(n, r, func() []client.BillEvent { return nil })
}

func (n *node) subscribe(*http.Request) (int, any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.demands = append(n.demands, time.Now())
	id := fmt.Sprintf("demand-%d", len(n.demands))
	if n.offers {
		n.inbox[id] = []client.Proposal{n.proposal("offer of "+id, "Initial")}
		n.wakeLocked()
	}
	return 201, id
}

func (n *node) proposal(id, state string) client.Proposal {
	return client.Proposal{ID: id, Issuer: "0xprovider", State: state, Properties: map[string]json.RawMessage{
		"golem.node.id.name": json.RawMessage(`"pia"`), "golem.com.payment.platform.erc20-hoodi-tglm.address": json.RawMessage(`"0x"`),
	}}
}

func (n *node) unsubscribe(r *http.Request) (int, any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gone[r.PathValue("id")] = true
	n.wakeLocked()
	return 200, nil
}

func (n *node) demandEvents(r *http.Request) (int, any) {
	id := r.PathValue("id")
	return poll(n, r, func() (events []client.Event) {
		for _, p := range n.inbox[id] {
			events = append(events, client.Event{Type: "ProposalEvent", Proposal: &p})
		}
		n.inbox[id] = nil
		return events
	})
}

func (n *node) counter(r *http.Request) (int, any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	id := r.PathValue("id")
	n.inbox[id] = append(n.inbox[id], n.proposal("answer to "+id, "Draft"))
	n.wakeLocked()
	return 201, "counter"
}

func (n *node) agree(*http.Request) (int, any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.dealLocked(fmt.Sprintf("agreement-%d", len(n.agreements)+1), "Proposal", "")
	return 201, d.ID
}

func (n *node) dealLocked(id, state, session string) *deal {
	d := &deal{session: session, at: time.Now()}
	d.ID, d.State, d.Offer.Provider = id, state, "0xprovider"
	d.Offer.Properties = map[string]json.RawMessage{"golem.usage.vector": json.RawMessage(`["s"]`), "golem.com.usage.vector": json.RawMessage(`["s","cpu"]`)}
	if state == "Approved" || state == "Terminated" {
		d.Approved = "2026-01-01T00:00:00Z"
	}
	n.agreements = append(n.agreements, d)
	return d
}

func (n *node) find(id string) *deal {
	for _, d := range n.agreements {
		if d.ID == id {
			return d
		}
	}
	n.t.Errorf("no agreement %s", id)
	return &deal{}
}

func (n *node) list(r *http.Request) (int, any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := []map[string]string{}
	for _, d := range n.agreements {
		if d.session == r.URL.Query().Get("appSessionId") {
			out = append(out, map[string]string{"id": d.ID})
		}
	}
	return 200, out
}

func (n *node) show(r *http.Request) (int, any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.find(r.PathValue("id"))
	n.settleLocked(d)
	return 200, d.Agreement
}

// settleLocked lets the approval of a pending agreement count when it is time.
func (n *node) settleLocked(d *deal) {
	if n.settling > 0 && d.State == "Pending" && time.Since(d.at) >= n.settling {
		d.State, d.Approved = "Approved", "2026-01-01T00:00:00Z"
	}
}

func (n *node) confirm(r *http.Request) (int, any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.find(r.PathValue("id"))
	d.session, d.State = r.URL.Query().Get("appSessionId"), "Pending"
	return 204, nil
}

func (n *node) approve(r *http.Request) (int, any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.silent {
		return 408, map[string]string{"message": "no answer"}
	}
	d := n.find(r.PathValue("id"))
	d.State, d.Approved = "Approved", "2026-01-01T00:00:00Z"
	return 204, nil
}

func (n *node) end(state string) func(r *http.Request) (int, any) {
	return func(r *http.Request) (int, any) {
		n.mu.Lock()
		defer n.mu.Unlock()
		d := n.find(r.PathValue("id"))
		n.settleLocked(d)
		if may := map[string][]string{"Cancelled": {"Proposal", "Pending"}, "Terminated": {"Approved"}}[state]; !slices.Contains(may, d.State) || n.settling > 0 && d.State == "Pending" {
			return 410, map[string]string{"message": "it is " + d.State}
		}
		n.noteLocked(r)
		d.State = state
		return 200, nil
	}
}

func (n *node) activity(r *http.Request) (int, any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.broken {
		return 500, map[string]string{"message": "no exe-unit"}
	}
	return 201, map[string]string{"activityId": fmt.Sprintf("activity-%d", len(n.agreements))}
}

func (n *node) activities(r *http.Request) (int, any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := []string{}
	if d := n.find(r.URL.Query().Get("agreementId")); d.activity != "" {
		out = append(out, d.activity)
	}
	return 200, out
}

// bills lets an invoice over an agreement come in.
func (n *node) bills(agreement, status string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.invoices = append(n.invoices, &client.Document{InvoiceID: "invoice of " + agreement, AgreementID: agreement, Amount: "0.5", Status: status})
	n.dates = append(n.dates, time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"))
	n.wakeLocked()
}

func (n *node) invoice(r *http.Request) (int, any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range n.invoices {
		if d.InvoiceID == r.PathValue("id") {
			return 200, d
		}
	}
	return 404, map[string]string{"message": "no such invoice"}
}

func (n *node) accept(r *http.Request) (int, any) {
	status, d := n.invoice(r)
	if status == 200 {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.noteLocked(r)
		d.(*client.Document).Status = "ACCEPTED"
		return 200, nil
	}
	return status, d
}

func (n *node) invoiceEvents(r *http.Request) (int, any) {
	return poll(n, r, func() (events []client.BillEvent) {
		for i, d := range n.invoices {
			if n.dates[i] > r.URL.Query().Get("afterTimestamp") {
				events = append(events, client.BillEvent{InvoiceID: d.InvoiceID, Type: "InvoiceReceivedEvent", Date: n.dates[i]})
			}
		}
		return events
	})
}
