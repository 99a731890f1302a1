package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/emet-node/emet/api/client"
)

// deal is what the driver learnt.
type deal struct {
	allocation, demand, agreement, activity, invoice string
	batches                                          []string
	amount                                           string
	stdout                                           string
}

// trace drives one rental as golem-js does: the same calls in the same order.
type trace struct {
	c       *client.Client
	image   string
	session string
	begun   time.Time
	log     func(format string, args ...any)
	// broken is what happens while the guest works; the commands after it may
	// fail, the deal may not.
	broken func(ctx context.Context) error
	deal
}

const platform = "erc20-hoodi-tglm"

// patience is what each step may take that only ends early when all is well. A
// node that dies at every fact takes minutes for what another one does at once.
const patience = 3 * time.Minute

// rent runs the whole rental until the invoice is accepted.
func (d *trace) rent(ctx context.Context) error {
	d.session, d.begun = uuid.NewString(), time.Now()
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"publish", d.publish}, {"agree", d.agree}, {"activity", d.start}, {"commands", d.work}, {"end", d.end}, {"accept", d.accept}, {"release", d.release},
	} {
		begun := time.Now()
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		d.log("%s: %v", step.name, time.Since(begun).Round(time.Millisecond))
	}
	return nil
}

func (d *trace) publish(ctx context.Context) error {
	if err := d.c.Do(ctx, "GET", "/version/get", nil, nil); err != nil {
		return err
	}
	if _, err := d.c.Me(ctx); err != nil {
		return err
	}
	a, err := d.c.CreateAllocation(ctx, client.Allocation{Platform: platform, Total: "2", Timeout: time.Now().Add(time.Hour).UTC()})
	if err != nil {
		return err
	}
	d.allocation = a.ID
	deco, err := d.c.DecorateDemand(ctx, a.ID)
	if err != nil {
		return err
	}
	d.demand, err = d.c.Subscribe(ctx, d.offering(deco, false))
	return err
}

func (d *trace) offering(deco client.Decoration, chosen bool) client.Offering {
	o := client.Offering{Properties: map[string]any{
		"golem.srv.caps.multi-activity": true, "golem.node.debug.subnet": "public",
		"golem.srv.comp.expiration": d.begun.Add(time.Hour).UnixMilli(), "golem.srv.comp.task_package": d.image,
		"golem.com.scheme.payu.debit-note.interval-sec?": 3600, "golem.com.scheme.payu.payment-timeout-sec?": 43200,
		"golem.com.payment.debit-notes.accept-timeout?": 240, // golem-js asks for 120, and accepts notes; here there are none
	}}
	for _, kv := range deco.Properties {
		o.Properties[kv.Key] = kv.Value
	}
	if chosen {
		o.Properties["golem.com.payment.chosen-platform"] = platform
	}
	clauses := append([]string{"(golem.com.pricing.model=linear)", "(golem.node.debug.subnet=public)", "(golem.runtime.name=wasmtime)"}, deco.Constraints...)
	o.Constraints = "(&" + strings.Join(clauses, "\n\t") + ")"
	return o
}

// agree negotiates until a proposal became an approved agreement.
func (d *trace) agree(ctx context.Context) error {
	deco, err := d.c.DecorateDemand(ctx, d.allocation)
	if err != nil {
		return err
	}
	initial, err := d.await(ctx, func(p client.Proposal) bool { return p.State == "Initial" })
	if err != nil {
		return fmt.Errorf("initial proposal: %w", err)
	}
	draft, err := d.draft(ctx, initial.ID, d.offering(deco, true))
	if err != nil {
		return err
	}
	if d.agreement, err = d.c.CreateAgreement(ctx, draft.ID, time.Now().Add(time.Hour)); err != nil {
		return err
	}
	if err := d.undelivered(ctx, func() error { return d.c.Confirm(ctx, d.agreement, d.session) }); err != nil {
		return err
	}
	if err := d.c.WaitApproval(ctx, d.agreement, patience); err != nil {
		return err
	}
	return d.isState(ctx, "Approved")
}

// draft answers a proposal until the provider answers that. A counter that the
// provider could not be told may have arrived all the same: its answer shows
// it, unless another one is made before it comes.
func (d *trace) draft(ctx context.Context, proposal string, o client.Offering) (client.Proposal, error) {
	for pause := 10 * time.Second; ; pause *= 2 {
		mine, err := d.c.Counter(ctx, d.demand, proposal, o)
		if err == nil {
			if err := d.c.Do(ctx, "GET", "/market-api/v1/demands/"+d.demand+"/proposals/"+mine, nil, nil); err != nil {
				return client.Proposal{}, err
			}
			return d.await(ctx, func(p client.Proposal) bool { return p.State == "Draft" && p.Prev == mine })
		}
		arrived := client.StatusOf(err) == http.StatusGone && strings.Contains(err.Error(), "already has counter proposal")
		if !isUndelivered(err) && !arrived {
			return client.Proposal{}, err
		}
		d.log("again: %v", err)
		for begun := time.Now(); arrived || time.Since(begun) < pause; {
			p, found, err := d.poll(ctx, func(p client.Proposal) bool { return p.State == "Draft" })
			if found || err != nil {
				return p, err
			}
		}
	}
}

// undelivered repeats what only the provider can decide, while the node says
// that it did not reach it.
func (d *trace) undelivered(ctx context.Context, f func() error) error {
	return d.repeat(ctx, f, isUndelivered)
}

func isUndelivered(err error) bool {
	return client.StatusOf(err) == http.StatusInternalServerError && strings.Contains(err.Error(), "could not be delivered to the ")
}

func (d *trace) await(ctx context.Context, want func(client.Proposal) bool) (client.Proposal, error) {
	for {
		if p, found, err := d.poll(ctx, want); found || err != nil {
			return p, err
		}
	}
}

// poll looks once for a proposal. Events are handed out at most once, so it is
// never broken off.
func (d *trace) poll(ctx context.Context, want func(client.Proposal) bool) (p client.Proposal, found bool, err error) {
	events, err := d.c.DemandEvents(ctx, d.demand, 5*time.Second)
	if err != nil {
		return p, false, err
	}
	for _, e := range events {
		if e.Proposal != nil && want(*e.Proposal) {
			return *e.Proposal, true, nil
		}
		if e.Proposal == nil {
			return p, false, fmt.Errorf("%s of %s: %s", e.Type, e.ID, e.Reason)
		}
	}
	return p, false, nil
}

func (d *trace) isState(ctx context.Context, want string) error {
	var a struct {
		State string `json:"state"`
	}
	err := d.c.Do(ctx, "GET", "/market-api/v1/agreements/"+d.agreement, nil, &a)
	if err == nil && a.State != want {
		err = fmt.Errorf("agreement is %s, want %s", a.State, want)
	}
	return err
}

func (d *trace) start(ctx context.Context) (err error) {
	if d.activity, err = d.c.CreateActivity(ctx, d.agreement, patience); err != nil {
		return err
	}
	if err := d.c.Unsubscribe(ctx, d.demand); err != nil {
		return err
	}
	return d.refresh(ctx)
}

// refresh is what golem-js asks after nearly every step.
func (d *trace) refresh(ctx context.Context) error {
	var of string
	if err := d.c.Do(ctx, "GET", "/activity-api/v1/activity/"+d.activity+"/agreement", nil, &of); err != nil {
		return err
	}
	if of != d.agreement {
		return fmt.Errorf("the activity is of agreement %s", of)
	}
	if err := d.c.Do(ctx, "GET", "/market-api/v1/agreements/"+d.agreement, nil, nil); err != nil {
		return err
	}
	// The provider may be down this moment: golem-js asks again, too.
	return d.tries(ctx, func() error {
		if _, err := d.c.ActivityState(ctx, d.activity); err != nil {
			return err
		}
		_, err := d.c.Usage(ctx, d.activity)
		return err
	})
}

// tries repeats what fails while the provider is out of reach.
func (d *trace) tries(ctx context.Context, f func() error) error {
	return d.repeat(ctx, f, func(err error) bool { return client.StatusOf(err) == http.StatusInternalServerError })
}

// repeat repeats what fails in a way that may pass.
func (d *trace) repeat(ctx context.Context, f func() error, mayPass func(error) bool) error {
	for begun := time.Now(); ; {
		err := f()
		if err == nil || !mayPass(err) || time.Since(begun) > patience {
			return err
		}
		d.log("again: %v", err)
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// work deploys, starts, moves a file in and runs the guest twice.
func (d *trace) work(ctx context.Context) error {
	capture := map[string]any{"atEnd": map[string]any{"format": "string"}}
	run := func(args ...string) map[string]any {
		return map[string]any{"run": map[string]any{"entry_point": "echo", "args": args, "capture": map[string]any{"stdout": capture, "stderr": capture}}}
	}
	deploy := map[string]any{"deploy": map[string]any{"volumes": []string{"/golem/work"}}}
	if _, err := d.exec(ctx, deploy, map[string]any{"start": map[string]any{}}); err != nil {
		return fmt.Errorf("deploy and start: %w", err)
	}
	if d.broken != nil {
		return d.broken(ctx)
	}
	_, url, _ := strings.Cut(strings.TrimPrefix(d.image, "hash:sha3:"), ":")
	moved := map[string]any{"transfer": map[string]any{"from": url, "to": "container:/golem/work/a"}}
	if _, err := d.exec(ctx, moved, run("-copy", "/golem/work/a", "/golem/work/b")); err != nil {
		return fmt.Errorf("transfer and copy: %w", err)
	}
	results, err := d.exec(ctx, run("hello", "from", "a", "crashing", "world"))
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	if results[0].Stdout != nil {
		d.stdout = string(results[0].Stdout)
	}
	if d.stdout != "hello from a crashing world\n" {
		return fmt.Errorf("the guest said %q", d.stdout)
	}
	return nil
}

// exec runs a script to its end and returns all results.
func (d *trace) exec(ctx context.Context, script ...any) ([]client.Result, error) {
	order, err := json.Marshal(script)
	if err != nil {
		return nil, err
	}
	var batch string
	path := fmt.Sprintf("/activity-api/v1/activity/%s/exec?timeout=%d", d.activity, int(patience.Seconds()))
	err = d.c.Do(ctx, "POST", path, map[string]any{"text": string(order)}, &batch)
	if err != nil {
		return nil, err
	}
	d.batches = append(d.batches, batch)
	if err := d.refresh(ctx); err != nil {
		return nil, err
	}
	for {
		results, err := d.c.Results(ctx, d.activity, batch, 5*time.Second)
		if err != nil {
			return nil, err
		}
		if len(results) == 0 || !results[len(results)-1].Finished {
			continue
		}
		for _, r := range results {
			if r.Result != "Ok" {
				b, _ := json.Marshal(r)
				return nil, fmt.Errorf("command %d: %s", r.Index, b)
			}
		}
		if len(results) != len(script) {
			return nil, fmt.Errorf("%d results for %d commands", len(results), len(script))
		}
		return results, nil
	}
}

// isOver waits until the node says that the activity ended by itself.
func (d *trace) isOver(ctx context.Context) error {
	for {
		state, err := d.c.ActivityState(ctx, d.activity)
		if err == nil && state == "Terminated" {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("the activity is %q", state), err, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (d *trace) end(ctx context.Context) error {
	if err := d.c.DestroyActivity(ctx, d.activity, patience); err != nil {
		return err
	}
	if err := d.refresh(ctx); err != nil {
		return err
	}
	if err := d.c.Terminate(ctx, d.agreement, "Finished"); err != nil {
		return err
	}
	return d.isState(ctx, "Terminated")
}

// accept waits for the invoice and accepts it, debit notes on the way as well.
func (d *trace) accept(ctx context.Context) error {
	cursor := d.begun.Add(-time.Second).UTC().Format("2006-01-02T15:04:05.000Z")
	for d.invoice == "" {
		events, err := d.c.BillEvents(ctx, "invoice", d.session, cursor, 5*time.Second)
		if err != nil {
			return err
		}
		for _, e := range events {
			cursor = e.Date
			if e.Type != "InvoiceReceivedEvent" {
				continue
			}
			doc, err := d.c.Invoice(ctx, e.InvoiceID)
			if err != nil {
				return err
			}
			if doc.AgreementID != d.agreement || doc.Status != "RECEIVED" {
				return fmt.Errorf("invoice %+v", doc)
			}
			d.invoice, d.amount = doc.InvoiceID, doc.Amount
		}
	}
	return d.c.Accept(ctx, "invoices", d.invoice, d.amount, d.allocation)
}

func (d *trace) release(ctx context.Context) error {
	if err := d.c.Do(ctx, "GET", "/payment-api/v1/allocations/"+d.allocation, nil, nil); err != nil {
		return err
	}
	return d.c.ReleaseAllocation(ctx, d.allocation)
}

// settled waits until an invoice is settled in the books of a node.
func settled(ctx context.Context, c *client.Client, invoice string) error {
	var status string
	for {
		doc, err := c.Invoice(ctx, invoice)
		if err == nil && doc.Status == "SETTLED" {
			return nil
		}
		if err == nil {
			status = doc.Status
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("invoice %s is %q", invoice, status), err, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
