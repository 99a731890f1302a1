package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/api/client"
	"github.com/emet-node/emet/tests/built"
)

// deal is a requestor's agreement; the test decides what is accepted.
type deal struct {
	t                                                  *testing.T
	c                                                  *client.Client
	session, allocation, agreement, activity, provider string
}

// wish is what a deal is to be like.
type wish struct {
	image, budget string
	accept, notes int // seconds; 0 = two minutes, and an hour: no notes
	not           []string
}

func (w wish) properties(platform client.Decoration) client.Offering {
	o := client.Offering{Properties: map[string]any{
		"golem.srv.caps.multi-activity": true, "golem.node.debug.subnet": "public", "golem.srv.comp.task_package": w.image,
		"golem.srv.comp.expiration":                      time.Now().Add(20 * time.Minute).UnixMilli(),
		"golem.com.scheme.payu.debit-note.interval-sec?": cmp.Or(w.notes, 3600),
		"golem.com.payment.debit-notes.accept-timeout?":  cmp.Or(w.accept, 120),
	}}
	clauses := []string{"(golem.runtime.name=wasmtime)"}
	for _, kv := range platform.Properties {
		o.Properties[kv.Key] = kv.Value
	}
	o.Constraints = "(&" + strings.Join(append(clauses, platform.Constraints...), "\n\t") + ")"
	return o
}

// strike makes an agreement with a provider that is not among those to avoid.
func strike(t *testing.T, c *client.Client, w wish) *deal {
	t.Helper()
	d, err := try(t, c, w)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// try is strike, which may not succeed.
func try(t *testing.T, c *client.Client, w wish) (*deal, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	d := &deal{t: t, c: c, session: fmt.Sprintf("%x", time.Now().UnixNano())}
	a, err := c.CreateAllocation(ctx, client.Allocation{Platform: "erc20-hoodi-tglm", Total: w.budget, Timeout: time.Now().Add(time.Hour).UTC()})
	if err != nil {
		return nil, err
	}
	d.allocation = a.ID
	deco, err := c.DecorateDemand(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	o := w.properties(deco)
	demand, err := c.Subscribe(ctx, o)
	if err != nil {
		return nil, err
	}
	defer c.Unsubscribe(ctx, demand) //nolint:errcheck // it has served
	chosen := client.Offering{Properties: map[string]any{"golem.com.payment.chosen-platform": "erc20-hoodi-tglm"}, Constraints: o.Constraints}
	for k, v := range o.Properties {
		chosen.Properties[k] = v
	}
	for {
		events, err := c.DemandEvents(ctx, demand, 5*time.Second)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			switch p := e.Proposal; {
			case p == nil || slices.Contains(w.not, p.Issuer):
			case p.State == "Initial":
				_ = delivered(func() error {
					_, err := c.Counter(ctx, demand, p.ID, chosen)
					return err
				})
			case p.State == "Draft":
				d.provider = p.Issuer
				if d.agreement, err = c.CreateAgreement(ctx, p.ID, time.Now().Add(time.Hour)); err != nil {
					return nil, err
				}
				if err := delivered(func() error { return c.Confirm(ctx, d.agreement, d.session) }); err != nil {
					return nil, err
				}
				return d, c.WaitApproval(ctx, d.agreement, least)
			}
		}
	}
}

// delivered asks some times for what only the other side can decide: on a busy
// machine it may not be reached in time.
func delivered(ask func() error) (err error) {
	for range 6 {
		if err = ask(); client.StatusOf(err) != http.StatusInternalServerError {
			return err
		}
	}
	return err
}

// create makes an activity.
func (d *deal) create() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 2*least)
	defer cancel()
	var err error
	if d.activity, err = d.c.CreateActivity(ctx, d.agreement, least); err != nil {
		d.t.Fatal(err)
	}
}

// getReady begins the scripts of an activity.
var getReady = []any{map[string]any{"deploy": map[string]any{}}, map[string]any{"start": map[string]any{}}}

// start makes an activity that is ready to run the guest.
func (d *deal) start() {
	d.t.Helper()
	d.create()
	r := d.do(getReady...)
	if n := len(r); n != 2 || r[1].Result != "Ok" {
		d.t.Fatalf("the activity is not ready: %s", told(r))
	}
}

// told shows results with what they say.
func told(r []client.Result) string {
	b, err := json.Marshal(r)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func guest(args ...string) map[string]any {
	return map[string]any{"run": map[string]any{"entry_point": "guest", "args": args}}
}

// exec begins a script.
func (d *deal) exec(script ...any) string {
	d.t.Helper()
	id, err := d.c.Exec(d.t.Context(), d.activity, script)
	if err != nil {
		d.t.Fatal(err)
	}
	return id
}

// results waits for the end of a script.
func (d *deal) results(batch string, within time.Duration) []client.Result {
	d.t.Helper()
	for deadline := time.Now().Add(max(within, least)); time.Now().Before(deadline); {
		r, err := d.c.Results(d.t.Context(), d.activity, batch, 2*time.Second)
		if err == nil && len(r) > 0 && r[len(r)-1].Finished {
			return r
		}
	}
	d.t.Fatalf("batch %s did not end within %s", batch, max(within, least))
	return nil
}

func (d *deal) do(script ...any) []client.Result {
	d.t.Helper()
	return d.results(d.exec(script...), time.Minute)
}

// bill waits for an event about a bill of this agreement and returns its id.
func (d *deal) bill(within time.Duration) string {
	d.t.Helper()
	var id string
	eventually(d.t, within, "an invoice", func() bool {
		var all []client.Document
		if d.c.Do(d.t.Context(), "GET", "/payment-api/v1/invoices", nil, &all) != nil {
			return false
		}
		for _, doc := range all {
			if doc.AgreementID == d.agreement {
				id = doc.InvoiceID
			}
		}
		return id != ""
	})
	return id
}

// acceptNote waits for a debit note and accepts it.
func (d *deal) acceptNote() {
	d.t.Helper()
	eventually(d.t, 30*time.Second, "a debit note", func() bool {
		var all []client.Document
		if d.c.Do(d.t.Context(), "GET", "/payment-api/v1/debitNotes", nil, &all) != nil || len(all) == 0 {
			return false
		}
		newest := all[len(all)-1]
		return d.c.Accept(d.t.Context(), "debitNotes", newest.DebitNoteID, newest.TotalDue, d.allocation) == nil
	})
}

// state is the agreement's, as a node sees it.
func (d *deal) state(c *client.Client) (state, reason string) {
	var a struct{ State string }
	if err := c.Do(d.t.Context(), "GET", "/market-api/v1/agreements/"+d.agreement, nil, &a); err != nil {
		return err.Error(), ""
	}
	r := ask(d.t, c, "GET", "/market-api/v1/agreements/"+d.agreement+"/terminate/reason", "")
	return a.State, r.body
}

func message(r client.Result) string {
	if r.Message == nil {
		return ""
	}
	return *r.Message
}

func TestAnActivityHasItsLimits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dev := begin(t, nil, "dev", "--port", "0", "--providers", "1", "-d", dir)
	d := strike(t, dev.client(), wish{image: built.Serve(t, built.Guest), budget: "1"})
	d.start()
	spin := d.exec(guest("spin"))
	eventually(t, 20*time.Second, "it spins", func() bool {
		a := ask(t, d.c, "GET", "/activity-api/v1/activity/"+d.activity+"/command", "")
		return a.status == 200 && strings.Contains(a.body, "Run")
	})

	second := d.do(guest("args"))
	if m := message(second[len(second)-1]); second[len(second)-1].Result != "Error" || !strings.Contains(m, "Busy: StatePair(Ready, Some(Ready))") {
		t.Errorf("a second batch: %+v %q", second, m)
	}
	_, err := d.c.CreateActivity(t.Context(), d.agreement, time.Minute)
	if err == nil || !strings.Contains(err.Error(), "Only single Activity allowed") && !strings.Contains(err.Error(), "2 simultaneous Activities") {
		t.Errorf("a second activity: %v", err)
	}

	if n := len(running(d.activity)); n == 0 {
		t.Fatal("no exe-unit is found, so that its end would not be seen")
	}
	if err := d.c.DestroyActivity(t.Context(), d.activity, least); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "the guest is gone", func() bool { return len(running(d.activity)) == 0 })
	r := d.results(spin, time.Minute)
	if r[len(r)-1].Result != "Error" {
		t.Errorf("the batch that spun: %+v", r)
	}

	// It is billed; a budget that is too small is told and can be made larger.
	if err := d.c.Do(t.Context(), "PUT", "/payment-api/v1/allocations/"+d.allocation, map[string]any{"totalAmount": "0.0000001"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := d.c.Terminate(t.Context(), d.agreement, "Finished"); err != nil {
		t.Fatal(err)
	}
	id := d.bill(20 * time.Second)
	doc, err := d.c.Invoice(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	accept := fmt.Sprintf(`{"totalAmountAccepted":%q,"allocationId":%q}`, doc.Amount, d.allocation)
	path := "/payment-api/v1/invoices/" + id + "/accept?timeout=60"
	ask(t, d.c, "POST", path, accept).says(t, 400, "Not enough funds", "Allocated: 0.0000001", "Needed: "+doc.Amount)
	ask(t, d.c, "PUT", "/payment-api/v1/allocations/"+d.allocation, `{"totalAmount":"1"}`).says(t, 200)
	ask(t, d.c, "POST", path, accept).says(t, 200)
	eventually(t, 30*time.Second, "the invoice is settled", func() bool {
		doc, err := d.c.Invoice(t.Context(), id)
		return err == nil && doc.Status == "SETTLED"
	})
}

func TestAConstraintThatCannotBeRead(t *testing.T) {
	t.Parallel()
	dev := begin(t, nil, "dev", "--port", "0", "--providers", "1")
	c := dev.client()
	o := wish{image: "hash:sha3:00:http://127.0.0.1/x"}.properties(client.Decoration{})
	o.Constraints = "(&(golem.runtime.name=wasmtime"
	bad, err := c.Subscribe(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	o.Constraints += "))"
	good, err := c.Subscribe(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	events, err := c.DemandEvents(t.Context(), good, least)
	if err != nil || len(events) == 0 || events[0].Proposal == nil {
		t.Fatalf("the good one does not match: %+v %v", events, err)
	}
	if none, err := c.DemandEvents(t.Context(), bad, time.Second); err != nil || len(none) != 0 {
		t.Errorf("the bad one: %+v %v", none, err)
	}
	ask(t, c, "POST", "/market-api/v1/demands/"+good+"/proposals/"+events[0].Proposal.ID, `{"properties":{},"constraints":"(&(a=1"}`).says(t, 400)
}

// settle ends the agreement, accepts its invoice and waits until that is
// settled in somebody's books.
func (d *deal) settle(books *client.Client) {
	d.t.Helper()
	if err := d.c.Terminate(d.t.Context(), d.agreement, "Finished"); err != nil {
		d.t.Fatal(err)
	}
	id := d.bill(30 * time.Second)
	doc, err := d.c.Invoice(d.t.Context(), id)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := d.c.Accept(d.t.Context(), "invoices", id, doc.Amount, d.allocation); err != nil {
		d.t.Fatal(err)
	}
	eventually(d.t, time.Minute, "the invoice is settled", func() bool {
		doc, err := books.Invoice(d.t.Context(), id)
		return err == nil && doc.Status == "SETTLED"
	})
}
