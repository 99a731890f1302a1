// Package rent is a requestor: it buys computing through a node's REST
// interface, pays for it, and rents elsewhere when a provider fails.
package rent

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
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

// A demand that nobody answers, though a machine is wanted, is published anew
// after some time, and then after longer ones until somebody does.
const (
	firstDry   = 4 * time.Second
	longestDry = 16 * time.Second
)

// grudge is what a pool has against a provider that broke deals.
type grudge struct {
	deals int
	until time.Time // when it may have another one
}

// longestGrudge is how long nothing is rented from a provider that fails again
// and again. After its first failure it may have another deal at once: one that
// was killed comes back.
const longestGrudge = 30 * time.Second

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
