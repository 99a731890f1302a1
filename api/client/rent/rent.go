// Package rent is a requestor: it buys computing through a node's REST
// interface, pays for it, and rents elsewhere when a provider fails.
package rent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emet-node/emet/api/client"
)

// Wish is what to rent.
type Wish struct {
	Image   string // golem.srv.comp.task_package: "hash:sha3:<hex>:<url>"
	Runtime string // golem.runtime.name, "" = wasmtime
	Network string // payment network, "" = hoodi
	Token   string // in platform names, "" = tglm
	Budget  string // GLM
	// Allocation is a budget to go on with, "" = a new one.
	Allocation string
	Subnet     string // "" = public
	Lifetime   time.Duration
	// NoteInterval is how often a provider may send a debit note.
	NoteInterval time.Duration
}

// News is what happens, for those who watch.
type News struct {
	What      string // "proposal", "agreement", "activity", "note", "invoice", "settled", "failed", …
	Provider  string // name or node id
	Agreement string
	Activity  string
	Detail    string
}

// Pool is a demand on the market with the agreements that came of it.
type Pool struct {
	c       *client.Client
	wish    Wish
	watch   func(News)
	session string

	allocation client.Allocation
	demand     client.Offering
	platform   string
	since      time.Time // bills from then on

	drafts chan draft
	life   context.Context // ends with the pool
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	demandID string
	waiting  int                // callers of Rent
	dry      time.Duration      // how long the demand may stay unanswered
	failed   map[string]*grudge // by provider
	deals    map[string]*Deal   // also those that were never approved
	order    []*Deal
	bills    chan struct{} // closed and remade at each change of a bill
}

// draft is a provider's answer to our counter: it may become an agreement.
type draft struct{ proposal client.Proposal }

// Deal is one agreement with what is known of its cost.
type Deal struct {
	Agreement string   `json:"agreement"`
	Activity  string   `json:"activity"`
	Provider  string   `json:"provider"` // node id
	Name      string   `json:"name"`
	Counters  []string `json:"counters"` // names of the usage counters
	Usage     []string `json:"usage"`    // their last values
	Invoice   string   `json:"invoice"`
	Amount    string   `json:"amount"`
	Status    string   `json:"status"` // of the invoice
	Tx        string   `json:"tx"`     // transaction hash
	Notes     int      `json:"notes"`
	// Lost says that the deal was broken off: the provider was gone, or did not
	// do what it should. An invoice may never come.
	Lost bool `json:"lost,omitzero"`

	// Unpaid says why the invoice could not be accepted.
	Unpaid string `json:"unpaid,omitzero"`

	over bool // ended by us
	old  bool // made before the pool was
}

// Open sets the budget aside and publishes the demand. session names this use
// of the node; watch may be nil.
func Open(ctx context.Context, c *client.Client, session string, w Wish, watch func(News)) (*Pool, error) {
	return prepare(c, session, w, watch).open(ctx)
}

func prepare(c *client.Client, session string, w Wish, watch func(News)) *Pool {
	if watch == nil {
		watch = func(News) {}
	}
	return &Pool{
		c: c, wish: w.withDefaults(), watch: watch, session: session, drafts: make(chan draft, 64), since: time.Now().Add(-time.Second),
		dry: firstDry, failed: make(map[string]*grudge), deals: make(map[string]*Deal), bills: make(chan struct{}),
	}
}

// open publishes the demand and begins to listen.
func (p *Pool) open(ctx context.Context) (*Pool, error) {
	if err := p.publish(ctx); err != nil {
		p.release()
		return nil, err
	}
	bg, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.life, p.stop = bg, stop
	open := slices.DeleteFunc(slices.Clone(p.order), func(d *Deal) bool { return d.over })
	for _, d := range open {
		p.wg.Go(func() { p.endOld(bg, d) })
	}
	p.wg.Go(func() { p.negotiate(bg) })
	for _, kind := range []string{"invoice", "debitNote"} {
		p.wg.Go(func() { p.pay(bg, kind) })
	}
	return p, nil
}

func (w Wish) withDefaults() Wish {
	def := func(v *string, d string) {
		if *v == "" {
			*v = d
		}
	}
	def(&w.Runtime, "wasmtime")
	def(&w.Network, "hoodi")
	def(&w.Token, "tglm")
	def(&w.Subnet, "public")
	if w.Lifetime == 0 {
		w.Lifetime = time.Hour
	}
	if w.NoteInterval == 0 {
		w.NoteInterval = 2 * time.Minute
	}
	return w
}

func (p *Pool) publish(ctx context.Context) error {
	p.platform = "erc20-" + p.wish.Network + "-" + p.wish.Token
	if p.allocation.ID = p.wish.Allocation; p.allocation.ID == "" {
		a, err := p.c.CreateAllocation(ctx, client.Allocation{Platform: p.platform, Total: p.wish.Budget, Timeout: time.Now().Add(p.wish.Lifetime + time.Hour).UTC()})
		if err != nil {
			if client.StatusOf(err) == 400 {
				err = fmt.Errorf("%w: %w", ErrBudget, err)
			}
			return fmt.Errorf("set %s GLM aside: %w", p.wish.Budget, err)
		}
		p.allocation = a
	}
	d, err := p.c.DecorateDemand(ctx, p.allocation.ID)
	if err != nil {
		return err
	}
	p.demand = p.text(d)
	id, err := p.c.Subscribe(ctx, p.demand)
	if err != nil {
		return fmt.Errorf("publish the demand: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.demandID = id
	return nil
}

// renew publishes the demand anew: providers whose deal was broken off, or
// whose answer was lost with a node that was killed, see it as a new one.
func (p *Pool) renew(ctx context.Context) error {
	old := p.demandNow()
	id, err := p.c.Subscribe(ctx, p.demand)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.demandID, p.dry = id, min(2*p.dry, longestDry)
	p.mu.Unlock()
	if err := p.c.Unsubscribe(ctx, old); err != nil && client.StatusOf(err) < 400 {
		return err
	}
	return nil
}

func (p *Pool) demandNow() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.demandID
}

// wants says whether somebody waits for a machine.
func (p *Pool) wants() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting > 0 && len(p.drafts) == 0
}

func (p *Pool) wait(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting += n
}

func (p *Pool) text(d client.Decoration) client.Offering {
	o := client.Offering{Properties: map[string]any{
		"golem.srv.caps.multi-activity":                  true,
		"golem.node.debug.subnet":                        p.wish.Subnet,
		"golem.srv.comp.expiration":                      time.Now().Add(p.wish.Lifetime).UnixMilli(),
		"golem.srv.comp.task_package":                    p.wish.Image,
		"golem.com.scheme.payu.debit-note.interval-sec?": int(p.wish.NoteInterval / time.Second),
		"golem.com.scheme.payu.payment-timeout-sec?":     43200,
		"golem.com.payment.debit-notes.accept-timeout?":  120,
	}}
	clauses := []string{
		"(golem.com.pricing.model=linear)", "(golem.node.debug.subnet=" + p.wish.Subnet + ")", "(golem.runtime.name=" + p.wish.Runtime + ")",
	}
	for _, kv := range d.Properties {
		o.Properties[kv.Key] = kv.Value
	}
	o.Constraints = "(&" + strings.Join(append(clauses, d.Constraints...), "\n\t") + ")"
	return o
}

// negotiate answers matches and collects the providers' answers.
func (p *Pool) negotiate(ctx context.Context) {
	chosen := client.Offering{Properties: map[string]any{"golem.com.payment.chosen-platform": p.platform}, Constraints: p.demand.Constraints}
	for k, v := range p.demand.Properties {
		chosen.Properties[k] = v
	}
	heard := time.Now()
	for ctx.Err() == nil {
		events, err := p.c.DemandEvents(ctx, p.demandNow(), 2*time.Second)
		gone := client.StatusOf(err) == 404
		if len(events) > 0 || !p.wants() {
			heard = time.Now()
		}
		if p.wants() && (gone || p.isDry(heard)) {
			if err = p.renew(ctx); err == nil {
				heard = time.Now()
			}
		}
		if err != nil {
			pause(ctx, time.Second)
			continue
		}
		for _, e := range events {
			if e.Proposal != nil {
				p.answer(ctx, *e.Proposal, chosen)
			}
		}
	}
}

// A demand that nobody answers, though a machine is wanted, is published anew
// after some time, and then after longer ones until somebody does.
const (
	firstDry   = 4 * time.Second
	longestDry = 16 * time.Second
)

func (p *Pool) isDry(heard time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(heard) > p.dry
}

func (p *Pool) answer(ctx context.Context, prop client.Proposal, chosen client.Offering) {
	if prop.State == "Draft" {
		select {
		case p.drafts <- draft{prop}:
		case <-ctx.Done():
		}
		return
	}
	if _, ok := prop.Properties["golem.com.payment.platform."+p.platform+".address"]; !ok || prop.State != "Initial" || p.isFailed(prop.Issuer) {
		return
	}
	p.watch(News{What: "proposal", Provider: nameOf(prop)})
	if _, err := p.c.Counter(ctx, p.demandNow(), prop.ID, chosen); err != nil && ctx.Err() == nil {
		p.watch(News{What: "refused", Provider: nameOf(prop), Detail: err.Error()})
	}
}

func nameOf(p client.Proposal) string { return nameIn(p.Properties, p.Issuer) }

// nameIn is the name in an offer, or else the node's id.
func nameIn(properties map[string]json.RawMessage, id string) string {
	var name string
	if json.Unmarshal(properties["golem.node.id.name"], &name) == nil && name != "" {
		return name
	}
	return id
}

// grudge is what a pool has against a provider that broke deals.
type grudge struct {
	deals int
	until time.Time // when it may have another one
}

// longestGrudge is how long nothing is rented from a provider that fails again
// and again. After its first failure it may have another deal at once: one that
// was killed comes back.
const longestGrudge = 30 * time.Second

func (p *Pool) isFailed(provider string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.failed[provider]
	return g != nil && time.Now().Before(g.until)
}

// resent notes a broken deal. The caller holds the lock.
func (p *Pool) resent(provider string) {
	g := p.failed[provider]
	if g == nil {
		g = &grudge{}
		p.failed[provider] = g
	}
	if g.deals++; g.deals > 1 {
		g.until = time.Now().Add(min(time.Second<<min(g.deals-1, 10), longestGrudge))
	}
}

// ErrBudget says that the account does not allow the budget.
var ErrBudget = errors.New("the budget was refused")

// ErrNoProvider says that nobody offered a machine in time.
var ErrNoProvider = errors.New("no provider offered a machine")

// Rent makes an agreement with the next provider that answers and prepares a
// machine there. It tries others when one backs out.
func (p *Pool) Rent(ctx context.Context) (*Machine, error) { return p.RentUnless(ctx, nil) }

// RentUnless is Rent that returns nothing when stop is closed before a machine
// was found.
func (p *Pool) RentUnless(ctx context.Context, stop <-chan struct{}) (*Machine, error) {
	p.wait(1)
	defer p.wait(-1)
	var last error
	for {
		select {
		case <-stop:
			return nil, nil
		case <-ctx.Done():
			return nil, errors.Join(ErrNoProvider, last, ctx.Err())
		case d := <-p.drafts:
			if p.isFailed(d.proposal.Issuer) {
				continue
			}
			p.wait(-1)
			m, err := p.sign(ctx, d)
			p.wait(1)
			if err == nil {
				return m, nil
			}
			last = err
			p.watch(News{What: "failed", Provider: nameOf(d.proposal), Detail: err.Error()})
		}
	}
}

// sign turns a draft into an agreement and starts an activity in it.
func (p *Pool) sign(ctx context.Context, d draft) (*Machine, error) {
	id, err := p.c.CreateAgreement(ctx, d.proposal.ID, time.Now().Add(time.Hour))
	if err != nil {
		return nil, err
	}
	deal := &Deal{Agreement: id, Provider: d.proposal.Issuer, Name: nameOf(d.proposal)}
	_ = json.Unmarshal(d.proposal.Properties["golem.com.usage.vector"], &deal.Counters)
	p.mu.Lock()
	p.deals[id] = deal // its bills are ours, whatever comes of it
	p.mu.Unlock()
	if err = p.c.Confirm(ctx, id, p.session); err == nil {
		err = p.c.WaitApproval(ctx, id, 15*time.Second)
	}
	if err != nil {
		if p.back(ctx, id) == "" {
			p.wg.Go(func() { p.end(p.life, id, notApproved) })
		}
		return nil, err
	}
	p.mu.Lock()
	p.order, p.dry = append(p.order, deal), firstDry
	p.mu.Unlock()
	p.watch(News{What: "agreement", Provider: deal.Name, Agreement: id})
	m := &Machine{pool: p, deal: deal}
	if err := m.start(ctx); err != nil {
		m.Abandon("could not start: " + err.Error())
		return nil, err
	}
	return m, nil
}

const notApproved = "not approved in time"

// back withdraws from an agreement of which it is not known whether the
// provider approved it, and returns the state that it came to, "" when that
// took too long.
func (p *Pool) back(ctx context.Context, agreement string) (state string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return p.end(ctx, agreement, notApproved)
}

// end ends an agreement, whatever its state, and returns the state that it came
// to, "" when ctx ended before. While the nodes settle between them whether it
// is approved it can be neither cancelled nor terminated.
func (p *Pool) end(ctx context.Context, agreement, why string) (state string) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		a, err := p.c.Agreement(ctx, agreement)
		switch {
		case err != nil:
		case !isOpen(a.State):
			return a.State
		case a.State == "Approved":
			if p.c.Terminate(ctx, agreement, why) == nil {
				return "Terminated"
			}
		case p.c.Cancel(ctx, agreement, why) == nil:
			return "Cancelled"
		}
		if pause(ctx, wait); ctx.Err() != nil {
			return ""
		}
	}
}

// isOpen says whether an agreement in a state is still to be ended.
func isOpen(state string) bool {
	return state == "Proposal" || state == "Pending" || state == "Approved"
}

// Deals lists the agreements in the order they were made.
func (p *Pool) Deals() []Deal {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Deal, len(p.order))
	for i, d := range p.order {
		out[i] = *d
	}
	return out
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Close takes the demand back, stops listening and releases the budget. Deals
// that are still open are terminated.
func (p *Pool) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = p.c.Unsubscribe(ctx, p.demandNow())
	for _, d := range p.Deals() {
		if !d.over {
			_ = p.c.Terminate(ctx, d.Agreement, "Cancelled")
		}
	}
	p.stop()
	p.wg.Wait()
	p.release()
}

func (p *Pool) release() {
	if p.allocation.ID == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = p.c.ReleaseAllocation(ctx, p.allocation.ID)
}
