// Package simulate asks what a provider's business would have been with other
// prices or rules: every negotiation that is in the log is decided again, with
// the requestors' texts as they were.
//
// What requestors would have done is known from their texts only: a proposal
// that bids less than the new price is refused by the rules; one whose
// constraints the new offer does not meet would not have come. Everybody else
// is taken to have agreed as they did. Work is taken to have used what it used.
package simulate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/usage"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/negotiation"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/market/terms"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/pricing"
	"github.com/emet-node/emet/domain/provider"
	"github.com/emet-node/emet/domain/provider/agent"
	"github.com/emet-node/emet/domain/saga/subscription"
)

// Wish is what would have been otherwise. Zero fields are as they were.
type Wish struct {
	// Prices are GLM per unit by counter; [Start] is the price of having begun.
	Prices map[string]money.Decimal
	// Factor multiplies all prices that Prices does not name; nil = 1.
	Factor        *money.Decimal
	MaxAgreements int
	Blacklist     []identity.NodeID
	Since         time.Time // of what is counted
	Provider      identity.NodeID
}

// Start names the price of having begun in [Wish].
const Start = "start"

// Counts are what came of proposals and agreements.
type Counts struct {
	Countered int // proposals that were answered with an offer
	Rejected  int // proposals that were refused
	Approved  int // agreements
	Refused   int // agreements that the provider refused
	Missed    int // agreements that would not have come: the price does not meet their constraints, or the proposal was refused
	Income    money.Amount
}

// Case is a proposal or an agreement that would have ended in another way.
type Case struct {
	Position  es.Position
	Thread    string
	Agreement string // "" for a proposal
	Requestor identity.NodeID
	Then, Now string // "counter", "reject", "approve", "missed"
	Reason    string // JSON or text
}

// Result is what came of it.
type Result struct {
	Then, Now Counts
	// Unknown counts agreements that only the simulation has: what they would
	// have used is not known, and their income is not counted.
	Unknown int
	Cases   []Case
}

// Run decides everything again.
func Run(ctx context.Context, log *es.Log, w Wish) (Result, error) {
	s := &simulation{
		wish: w, rules: make(map[identity.NodeID]provider.Policy), offers: make(map[string]identity.NodeID), threads: make(map[string]*thread),
		deals: make(map[string]*deal), works: make(map[string]*work), busy: make(map[identity.NodeID]map[string]bool), then: make(map[string]string),
	}
	for r, err := range log.ReadAll(ctx, 0, es.Filter{StreamPrefixes: []string{"provider-", "offer-", "negotiation-", "agreement-P-", "activity-P-", "usage-P-", "bill-P-"}}) {
		if err != nil {
			return Result{}, err
		}
		if err := s.hear(r); err != nil {
			return Result{}, fmt.Errorf("event %d: %w", r.Position, err)
		}
	}
	return s.result()
}

type simulation struct {
	wish    Wish
	rules   map[identity.NodeID]provider.Policy
	offers  map[string]identity.NodeID // of built-in providers
	threads map[string]*thread
	deals   map[string]*deal
	works   map[string]*work
	busy    map[identity.NodeID]map[string]bool
	then    map[string]string // what was decided about a proposal, by thread and proposal
	asked   []proposal
	order   []string // agreements as they came
}

// thread is a negotiation about one of our offers.
type thread struct {
	owner, requestor identity.NodeID
	offer            string // as it would have been
	lost             string // why nothing would have come of it
	last             negotiation.Proposal
}

// proposal is one that was decided about.
type proposal struct {
	Case
	counts bool
}

type deal struct {
	Case
	owner  identity.NodeID
	terms  agreement.Terms
	counts bool
	billed *money.Amount
	works  []*work
}

type work struct{ vector string }

func (s *simulation) counts(at time.Time, owner identity.NodeID) bool {
	return !at.Before(s.wish.Since) && (s.wish.Provider == "" || s.wish.Provider == owner)
}

func (s *simulation) hear(r es.Recorded) error {
	switch e := r.Data.(type) {
	case agent.RulesChanged:
		s.rules[e.Provider] = s.changed(subscription.Policy(e.Rules))
	case offer.Published:
		if e.Preset != "" {
			s.offers[e.OfferID] = e.Provider
		}
	case negotiation.Opened:
		if owner, ours := s.offers[e.OfferID]; ours && e.Side == identity.Provider {
			text, err := s.reprice(e.Initial.Properties)
			s.threads[e.NegotiationID] = &thread{owner: owner, requestor: e.Requestor, offer: text}
			return err
		}
	case negotiation.CounterReceived:
		s.answer(e, r)
	case negotiation.Decided:
		s.decided(e, r)
	default:
		return s.hearDeal(r)
	}
	return nil
}

func (s *simulation) hearDeal(r es.Recorded) error {
	switch e := r.Data.(type) {
	case agreement.Received:
		return s.decide(e, r)
	case agreement.ApprovalRequested:
		s.mark(e.AgreementID, provider.Approve)
		s.hold(e.AgreementID) // one that failed is said again
	case agreement.Rejected:
		s.mark(e.AgreementID, provider.Reject)
		s.free(e.AgreementID)
	case agreement.ApprovalFailed:
		s.free(e.AgreementID)
	case agreement.Cancelled:
		s.free(e.AgreementID)
	case agreement.Expired:
		s.free(e.AgreementID)
	case agreement.Terminated:
		s.free(e.AgreementID)
	case activity.Created:
		if d := s.deals[e.AgreementID]; d != nil {
			x := &work{}
			s.works[e.ActivityID] = x
			d.works = append(d.works, x)
		}
	case usage.Sampled:
		s.used(e.ActivityID, e.Vector)
	case usage.Finalised:
		s.used(e.ActivityID, e.Vector)
	case bill.InvoiceIssued:
		if d := s.deals[e.AgreementID]; d != nil {
			d.billed = &e.Amount
		}
	}
	return nil
}

func (s *simulation) used(id, vector string) {
	if x := s.works[id]; x != nil {
		x.vector = vector
	}
}

func (s *simulation) mark(id, outcome string) {
	if d := s.deals[id]; d != nil && d.Then == "" {
		d.Then = outcome
	}
}

func (s *simulation) hold(id string) {
	if d := s.deals[id]; d != nil && d.Now == provider.Approve {
		s.busy[d.owner][id] = true
	}
}

func (s *simulation) free(id string) {
	if d := s.deals[id]; d != nil {
		delete(s.busy[d.owner], id)
	}
}

// changed is a policy as it would have been.
func (s *simulation) changed(p provider.Policy) provider.Policy {
	if s.wish.MaxAgreements > 0 {
		p.MaxAgreements = s.wish.MaxAgreements
	}
	if len(s.wish.Blacklist) > 0 {
		p.Blacklist.Enabled = true
		p.Blacklist.Identities = append(slices.Clip(p.Blacklist.Identities), s.wish.Blacklist...)
	}
	return p
}

func (s *simulation) policy(owner identity.NodeID) provider.Policy {
	if p, ok := s.rules[owner]; ok {
		return p
	}
	return s.changed(provider.Policy{})
}

// answer decides about a requestor's proposal.
func (s *simulation) answer(e negotiation.CounterReceived, r es.Recorded) {
	t := s.threads[e.NegotiationID]
	if t == nil {
		return
	}
	t.last = e.Proposal
	p := proposal{Case: Case{Position: r.Position, Thread: e.NegotiationID, Requestor: t.requestor}, counts: s.counts(r.Recorded, t.owner)}
	p.Now, p.Reason = s.negotiate(t, r.Recorded)
	p.Case.Then = e.NegotiationID + e.Proposal.ProposalID // looked up in the end
	s.asked = append(s.asked, p)
}

// negotiate decides about the last proposal of a thread.
func (s *simulation) negotiate(t *thread, now time.Time) (outcome, reason string) {
	if why := unmet(t.last.Constraints, t.offer); why != "" {
		t.lost = why
		return "missed", why
	}
	d, err := provider.Negotiate(provider.Input{
		ActiveAgreements: len(s.busy[t.owner]), Demand: t.last.Properties, Now: now, Offer: t.offer, Policy: s.policy(t.owner), Requestor: t.requestor,
	})
	if err != nil {
		d = provider.Decision{Outcome: provider.Reject, Reason: err.Error()}
	}
	t.lost = ""
	if d.Outcome == provider.Reject {
		t.lost = d.Reason
	} else {
		t.offer = d.Offer
	}
	return d.Outcome, d.Reason
}

// decided keeps what was decided first. A proposal that was turned away for
// want of a slot was looked at again when one was free, and is here too.
func (s *simulation) decided(e negotiation.Decided, r es.Recorded) {
	key := e.NegotiationID + e.ProposalID
	switch _, again := s.then[key]; {
	case e.Outcome != provider.Counter && e.Outcome != provider.Reject:
	case !again:
		s.then[key] = e.Outcome
	default:
		if t := s.threads[e.NegotiationID]; t != nil && t.last.ProposalID == e.ProposalID {
			s.negotiate(t, r.Recorded)
		}
	}
}

// decide decides about an agreement.
func (s *simulation) decide(e agreement.Received, r es.Recorded) error {
	owner, ours := s.offers[e.Terms.OfferID]
	if !ours {
		return nil
	}
	d := &deal{
		Case:  Case{Position: r.Position, Thread: e.Terms.NegotiationID, Agreement: e.AgreementID, Requestor: e.Terms.Requestor},
		owner: owner, terms: e.Terms, counts: s.counts(r.Recorded, owner),
	}
	s.deals[e.AgreementID] = d
	s.order = append(s.order, e.AgreementID)
	text, err := s.reprice(e.Terms.OfferProperties)
	if err != nil {
		return err
	}
	d.terms.OfferProperties = text
	t := s.threads[e.Terms.NegotiationID]
	switch why := unmet(e.Terms.DemandConstraints, text); {
	case t != nil && t.lost != "":
		d.Now, d.Reason = "missed", t.lost
		return nil
	case why != "":
		d.Now, d.Reason = "missed", why
		return nil
	}
	out, err := provider.Confirm(provider.Input{
		ActiveAgreements: len(s.busy[owner]), Demand: e.Terms.DemandProperties, Now: r.Recorded, Offer: text, Policy: s.policy(owner), Requestor: e.Terms.Requestor,
	})
	if err != nil {
		out = provider.Decision{Outcome: provider.Reject, Reason: err.Error()}
	}
	d.Now, d.Reason = out.Outcome, out.Reason
	if d.Now == provider.Approve {
		if s.busy[owner] == nil {
			s.busy[owner] = make(map[string]bool)
		}
		s.busy[owner][e.AgreementID] = true
	}
	return nil
}

func (s *simulation) result() (Result, error) {
	var out Result
	for _, p := range s.asked {
		p.Then = s.then[p.Then]
		if !p.counts || p.Then == "" { // not decided by rules: an agent's business
			continue
		}
		count(&out.Then, p.Then)
		count(&out.Now, p.Now)
		if p.Then != p.Now {
			out.Cases = append(out.Cases, p.Case)
		}
	}
	for _, id := range s.order {
		d := s.deals[id]
		if !d.counts || d.Then == "" {
			continue
		}
		count(&out.Then, d.Then+" deal")
		count(&out.Now, d.Now+" deal")
		if d.Then != d.Now {
			out.Cases = append(out.Cases, d.Case)
		}
		if err := d.earn(&out); err != nil {
			return out, fmt.Errorf("agreement %s: %w", id, err)
		}
	}
	slices.SortFunc(out.Cases, func(a, b Case) int { return int(a.Position) - int(b.Position) }) //nolint:gosec // far below 2^63
	return out, nil
}

func count(c *Counts, what string) {
	switch what {
	case provider.Counter:
		c.Countered++
	case provider.Reject:
		c.Rejected++
	case provider.Approve + " deal":
		c.Approved++
	case provider.Reject + " deal":
		c.Refused++
	case "missed deal":
		c.Missed++
	}
}

// earn adds what the agreement brought, and would have brought.
func (d *deal) earn(out *Result) error {
	if d.Then == provider.Approve && d.billed != nil {
		out.Then.Income = out.Then.Income.Add(*d.billed)
	}
	if d.Now != provider.Approve {
		return nil
	}
	if d.Then != provider.Approve {
		out.Unknown++
		return nil
	}
	if d.billed == nil {
		return nil // it was not billed then, and would not have been
	}
	coeffs := terms.Parse(d.terms.OfferProperties).Numbers(terms.Coefficients)
	for _, x := range d.works {
		var numbers []json.Number
		if json.Unmarshal([]byte(x.vector), &numbers) != nil {
			continue // it was never measured, and cost nothing
		}
		texts := make([]string, len(numbers))
		for i, n := range numbers {
			texts[i] = n.String()
		}
		cost, err := pricing.Cost(coeffs, texts)
		if err != nil {
			return err
		}
		out.Now.Income = out.Now.Income.Add(cost)
	}
	return nil
}

// Short is the name of a counter as people give it.
func Short(counter string) string {
	return strings.TrimSuffix(strings.TrimPrefix(counter, "golem.usage."), "_sec")
}
