package negotiation

import (
	"slices"
	"time"

	"github.com/emet-node/emet/domain/identity"
)

// Phase of a proposal, as REST spells it.
type Phase string

// The phases. Expired is what a reader may say of a proposal whose time is
// over; no fact sets it.
const (
	Initial  Phase = "Initial"
	Draft    Phase = "Draft"
	Rejected Phase = "Rejected"
	Accepted Phase = "Accepted"
)

// Sending is how far the delivery of an own act has come.
type Sending string

// The stages; "" means that there is nothing to deliver.
const (
	Pending   Sending = "pending"
	Delivered Sending = "delivered"
	Failed    Sending = "failed"
)

// Step is a proposal with its history.
type Step struct {
	Proposal
	Prev       string // "" for the match
	Issuer     identity.Side
	Phase      Phase
	Sending    Sending // of an own counter
	Counter    string  // the proposal that answers it; a failed one does not count
	Agreement  string  // that it became
	RejectedBy identity.Side
	Reason     string // of the rejection
	Untold     int    // own rejections whose delivery is open
}

// State is a thread as its facts tell it. The zero State is no thread.
type State struct {
	NegotiationID     string
	Side              identity.Side
	OfferID, DemandID string
	DemandProperties  string // at the provider "" (its first counter carries the demand)
	DemandConstraints string
	DemandExpires     time.Time
	Provider          identity.NodeID
	Requestor         identity.NodeID
	After             string
	Steps             []Step // in the order they were made
	Decisions         []Decided
	Agreement         string // the last one, "" = none
	Closed            string // why, "" = open
}

// Exists says whether the thread was opened.
func (s State) Exists() bool { return s.NegotiationID != "" }

// Subscription is the own side's id: the offer's at the provider, the demand's
// at the requestor.
func (s State) Subscription() string {
	if s.Side == identity.Provider {
		return s.OfferID
	}
	return s.DemandID
}

// Owner is the own side's identity, Peer the other's.
func (s State) Owner() identity.NodeID { return s.party(s.Side) }

// Peer is the other side's identity.
func (s State) Peer() identity.NodeID { return s.party(s.Side.Other()) }

func (s State) party(side identity.Side) identity.NodeID {
	if side == identity.Provider {
		return s.Provider
	}
	return s.Requestor
}

// IssuerID is the identity that issued a step.
func (s State) IssuerID(p Step) identity.NodeID { return s.party(p.Issuer) }

// Find returns the step with that proposal id (64 hexadecimal digits).
func (s State) Find(proposalID string) (Step, bool) {
	i := s.index(proposalID)
	if i < 0 {
		return Step{}, false
	}
	return s.Steps[i], true
}

func (s State) index(proposalID string) int {
	return slices.IndexFunc(s.Steps, func(p Step) bool { return p.ProposalID == proposalID })
}

func (s State) step(side identity.Side, prev string, p Proposal) Step {
	phase := Draft
	if prev == "" {
		phase = Initial
	}
	return Step{Proposal: p, Prev: prev, Issuer: side, Phase: phase}
}

// with returns s with one step changed; the steps of s stay as they are.
func (s State) with(proposalID string, change func(*Step)) State {
	i := s.index(proposalID)
	if i < 0 {
		return s
	}
	s.Steps = slices.Clone(s.Steps)
	change(&s.Steps[i])
	return s
}

// add appends a counter and links it. Countering a rejected proposal takes the
// rejection back.
func (s State) add(p Step) State {
	i := s.index(p.Prev)
	s.Steps = append(append(make([]Step, 0, len(s.Steps)+1), s.Steps...), p)
	if i < 0 {
		return s
	}
	prev := &s.Steps[i]
	prev.Counter = p.ProposalID
	if prev.Phase == Rejected {
		prev.Phase = Draft
		if prev.Prev == "" {
			prev.Phase = Initial
		}
	}
	return s
}

func evolve(s State, e Event) State {
	switch e := e.(type) {
	case Opened:
		return opened(e)
	case CounterRequested:
		p := s.step(s.Side, e.Prev, e.Proposal)
		p.Sending = Pending
		return s.add(p)
	case CounterDelivered:
		return s.with(e.ProposalID, func(p *Step) { p.Sending = Delivered })
	case CounterFailed:
		return counterFailed(s, e)
	case CounterReceived:
		return s.revive(e.Prev).add(s.step(s.Side.Other(), e.Prev, e.Proposal))
	case RejectionRequested:
		return s.with(e.ProposalID, func(p *Step) {
			p.Phase, p.RejectedBy, p.Reason = Rejected, s.Side, e.Reason
			p.Untold++
		})
	case RejectionDelivered:
		return s.with(e.ProposalID, func(p *Step) { p.Untold-- })
	case RejectionAbandoned:
		return s.with(e.ProposalID, func(p *Step) { p.Untold-- })
	case RejectionReceived:
		return s.with(e.ProposalID, func(p *Step) { p.Phase, p.RejectedBy, p.Reason = Rejected, s.Side.Other(), e.Reason })
	case Decided:
		s.Decisions = append(slices.Clip(s.Decisions), e)
	case Promoted:
		s.Agreement = e.AgreementID
		return s.revive(e.ProposalID).with(e.ProposalID, func(p *Step) { p.Phase, p.Agreement = Accepted, e.AgreementID })
	case Closed:
		s.Closed = e.Why
	}
	return s
}

func opened(e Opened) State {
	s := State{
		NegotiationID: e.NegotiationID, Side: e.Side, OfferID: e.OfferID, DemandID: e.DemandID,
		DemandProperties: e.DemandProperties, DemandConstraints: e.DemandConstraints, DemandExpires: e.DemandExpires,
		Provider: e.Provider, Requestor: e.Requestor, After: e.After,
	}
	s.Steps = []Step{s.step(identity.Provider, "", e.Initial)}
	return s
}

// counterFailed frees the proposal that the lost counter answered.
func counterFailed(s State, e CounterFailed) State {
	lost, _ := s.Find(e.ProposalID)
	s = s.with(e.ProposalID, func(p *Step) { p.Sending = Failed })
	return s.with(lost.Prev, func(prev *Step) {
		if prev.Counter == e.ProposalID {
			prev.Counter = ""
		}
	})
}

// revive makes a draft that we believed lost count again: the peer answered it.
func (s State) revive(proposalID string) State {
	p, ok := s.Find(proposalID)
	if !ok || p.Sending != Failed {
		return s
	}
	s = s.with(proposalID, func(p *Step) { p.Sending = Delivered })
	return s.with(p.Prev, func(prev *Step) { prev.Counter = proposalID })
}
