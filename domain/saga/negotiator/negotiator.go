// Package negotiator answers, for a provider, what requestors propose: it asks
// the provider's components and counters or rejects; an agreement it approves
// or rejects. Who was turned away for want of a slot is asked again when one
// is free.
package negotiator

import (
	"slices"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/negotiation"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/peer"
	"github.com/emet-node/emet/domain/provider"
	"github.com/emet-node/emet/domain/provider/agent"
	"github.com/emet-node/emet/domain/saga/subscription"
)

// ApproveWithin is how long a requestor has to commit an approved agreement. An
// approval that was not answered in that time is said again, with twice the
// time, until Approvals were in vain: then its slot is free, and it expires.
const (
	ApproveWithin = 10 * time.Second
	Approvals     = 3
)

// State is one provider's open business.
type State struct {
	Policy    provider.Policy
	Offers    map[string]bool   // on the market, of the built-in provider
	Threads   map[string]thread // by negotiation
	Busy      map[string]bool   // agreements that hold a slot
	Approved  map[string]int    // how often those were that are not committed yet
	Postponed []waiting         // in the order they came
	Closed    bool              // by the operator: agreements go on, and no new ones are made

	orders []es.Order // that the last fact led to
}

// thread is what a decision needs of a negotiation.
type thread struct {
	offerID, demandID string
	constraints       string // of our offer: they never change
	ours              string // properties of our last proposal
	requestor         identity.NodeID
	expires           time.Time
}

// waiting is a proposal that was turned away for want of a slot.
type waiting struct {
	negotiation string
	proposal    negotiation.Proposal
}

// Saga is the process; an instance is one provider. What it decides is part of
// its state, since a slot counts as taken from the decision on.
var Saga = es.Saga[State]{
	Name: "negotiator",
	Hears: []string{
		"provider.enabled.v1", "provider.draining.v1", "provider.disabled.v1", "provider.paused.v1",
		"provider.rules_changed.v1", "offer.published.v1", "offer.withdrawn.v1", "offer.expired.v1",
		"negotiation.opened.v1", "negotiation.counter_requested.v1", "negotiation.counter_received.v1", "negotiation.closed.v1",
		"agreement.received.v1", "agreement.approval_failed.v1", "agreement.approved.v1", "agreement.rejected.v1",
		"agreement.cancelled.v1", "agreement.expired.v1", "agreement.terminated.v1",
	},
	Instance: instance,
	Evolve:   evolve,
	React:    func(s State, _ es.Recorded) []es.Order { return s.orders },
}

var own = identity.Caller{Actor: es.ActorSaga, Grade: es.GradeSelf}

func instance(r es.Recorded) string {
	if r.Stream.Category() == agent.Category {
		return r.Stream.Key()
	}
	return r.Info.Identity
}

func evolve(s State, r es.Recorded) State {
	if s.Offers == nil {
		s.Offers, s.Threads, s.Busy = make(map[string]bool), make(map[string]thread), make(map[string]bool)
		s.Approved = make(map[string]int)
	}
	s.orders = nil
	switch e := r.Data.(type) {
	case agent.RulesChanged:
		s.Policy = subscription.Policy(e.Rules)
	case agent.Enabled:
		if s.Closed {
			s.Closed = false
			s.askAgain(r.Recorded)
		}
	case agent.Draining, agent.Disabled, agent.Paused:
		s.Closed = true
	case offer.Published:
		if e.Preset != "" {
			s.Offers[e.OfferID] = true
		}
	case negotiation.Opened:
		s.open(e, r.Recorded)
	case negotiation.CounterRequested:
		if t, ok := s.Threads[e.NegotiationID]; ok {
			t.ours = e.Proposal.Properties
			s.Threads[e.NegotiationID] = t
		}
	case negotiation.CounterReceived:
		s.answer(e.NegotiationID, e.Proposal, r.Recorded)
	case negotiation.Closed:
		delete(s.Threads, e.NegotiationID)
	case agreement.Received:
		s.decide(e, r.Recorded)
	default:
		s.hearEnd(r)
	}
	return s
}

func (s *State) hearEnd(r es.Recorded) {
	switch e := r.Data.(type) {
	case agreement.ApprovalFailed:
		s.again(e, r.Recorded)
	case agreement.Approved:
		if e.Side == identity.Provider {
			delete(s.Approved, e.AgreementID)
		}
	case agreement.Rejected:
		s.free(e.Side, e.AgreementID, r.Recorded)
	case agreement.Cancelled:
		s.free(e.Side, e.AgreementID, r.Recorded)
	case agreement.Expired:
		s.free(e.Side, e.AgreementID, r.Recorded)
	case agreement.Terminated:
		s.free(e.Side, e.AgreementID, r.Recorded)
	}
}

// open remembers a thread about an offer of the built-in provider. Offers that
// an agent published over REST are the agent's business.
func (s *State) open(e negotiation.Opened, now time.Time) {
	for id, t := range s.Threads {
		if t.expires.Before(now) {
			delete(s.Threads, id)
		}
	}
	s.Postponed = slices.DeleteFunc(s.Postponed, func(w waiting) bool {
		_, open := s.Threads[w.negotiation]
		return !open
	})
	if e.Side != identity.Provider || !s.Offers[e.OfferID] {
		return
	}
	s.Threads[e.NegotiationID] = thread{
		offerID: e.OfferID, demandID: e.DemandID, constraints: e.Initial.Constraints, ours: e.Initial.Properties,
		requestor: e.Requestor, expires: e.DemandExpires,
	}
}

// answer counters or rejects a requestor's proposal.
func (s *State) answer(id string, p negotiation.Proposal, now time.Time) {
	t, ok := s.Threads[id]
	if !ok {
		return
	}
	d := s.ask(provider.Negotiate, provider.Input{
		ActiveAgreements: len(s.Busy), Demand: p.Properties, Now: now, Offer: t.ours, Policy: s.Policy, Requestor: t.requestor,
	})
	order := func(c negotiation.Command) {
		s.orders = append(s.orders, es.Order{Category: negotiation.Category, ID: id, Command: c})
	}
	order(negotiation.RecordDecision{By: own, Components: d.Components, Outcome: d.Outcome, Postponed: d.Postponed, ProposalID: p.ProposalID})
	s.Postponed = slices.DeleteFunc(s.Postponed, func(w waiting) bool { return w.negotiation == id })
	if d.Outcome == provider.Reject {
		if d.Postponed {
			s.Postponed = append(s.Postponed, waiting{negotiation: id, proposal: p})
		}
		order(negotiation.Reject{At: now, By: own, ProposalID: p.ProposalID, Reason: d.Reason})
		return
	}
	order(negotiation.Counter{
		At: now, By: own, Constraints: t.constraints, Prev: p.ProposalID, Properties: d.Offer,
		ProposalID: market.PairHash(t.offerID, t.demandID, now),
	})
}

// ask lets the components decide, while the provider is open. Its offers are
// taken back when it closes, but what was negotiated about them is still said.
func (s *State) ask(decide func(provider.Input) (provider.Decision, error), in provider.Input) provider.Decision {
	if s.Closed {
		const why = "The provider makes no new agreements now."
		return provider.Decision{
			Components: []negotiation.Verdict{{Component: "Closed", Message: why, Outcome: provider.Reject}},
			Outcome:    provider.Reject, Reason: market.Reason(why, market.KeyFinal, false),
		}
	}
	d, err := decide(in)
	if err != nil {
		d = provider.Decision{Outcome: provider.Reject, Reason: market.Reason(err.Error(), market.KeyFinal, true)}
	}
	return d
}

// decide approves or rejects an agreement.
func (s *State) decide(e agreement.Received, now time.Time) {
	if !s.Offers[e.Terms.OfferID] {
		return
	}
	d := s.ask(provider.Confirm, provider.Input{
		ActiveAgreements: len(s.Busy), Demand: e.Terms.DemandProperties, Now: now, Offer: e.Terms.OfferProperties,
		Policy: s.Policy, Requestor: e.Terms.Requestor,
	})
	s.orders = append(s.orders, es.Order{Category: negotiation.Category, ID: e.Terms.NegotiationID, Command: negotiation.RecordDecision{
		By: own, Components: d.Components, Outcome: d.Outcome, Postponed: d.Postponed, ProposalID: e.Terms.ProposalID,
	}})
	var c agreement.Command = agreement.Reject{By: own, Reason: d.Reason}
	if d.Outcome == provider.Approve {
		s.Busy[e.AgreementID] = true
		c = s.approval(e.AgreementID, now)
	}
	s.order(e.AgreementID, c)
}

func (s *State) order(agreementID string, c agreement.Command) {
	s.orders = append(s.orders, es.Order{Category: agreement.Category, ID: agreement.StreamID(identity.Provider, agreementID), Command: c})
}

// approval is the next one of an agreement.
func (s *State) approval(agreementID string, now time.Time) agreement.Approve {
	n := s.Approved[agreementID]
	s.Approved[agreementID] = n + 1
	return agreement.Approve{At: now, By: own, Deadline: now.Add(ApproveWithin << n)}
}

// again approves an agreement once more whose requestor was out of reach, or
// whose commit came too late: it has the agreement, and waits.
func (s *State) again(e agreement.ApprovalFailed, now time.Time) {
	n := s.Approved[e.AgreementID]
	if e.Side != identity.Provider || n == 0 {
		return
	}
	switch e.Failure.Code {
	case market.Timeout, market.NoAnswer, market.Unreachable, string(peer.Busy), string(peer.Internal):
		if n < Approvals {
			s.order(e.AgreementID, s.approval(e.AgreementID, now))
			return
		}
	}
	s.free(e.Side, e.AgreementID, now)
}

// free gives a slot back to those who were turned away.
func (s *State) free(side identity.Side, agreementID string, now time.Time) {
	if side != identity.Provider || !s.Busy[agreementID] {
		return
	}
	delete(s.Busy, agreementID)
	delete(s.Approved, agreementID)
	if !s.Closed {
		s.askAgain(now)
	}
}

// askAgain decides anew about those who were turned away for want of a slot.
func (s *State) askAgain(now time.Time) {
	again := s.Postponed
	s.Postponed = nil
	for _, w := range again {
		if t, ok := s.Threads[w.negotiation]; ok && t.expires.After(now) {
			s.answer(w.negotiation, w.proposal, now)
			now = now.Add(time.Microsecond) // ids hash the time: each counter its own
		}
	}
}
