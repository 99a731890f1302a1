package provider

import (
	"encoding/json"
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/negotiation"
	"github.com/emet-node/emet/domain/market/props"
)

// Outcomes of a decision and of its components.
const (
	Ready   = "ready"   // of a component: nothing to change
	Counter = "counter" // the offer changed, or (of a proposal) is repeated
	Reject  = "reject"
	Approve = "approve" // of an agreement
)

// Input is all that a decision depends on.
type Input struct {
	ActiveAgreements int // that hold a slot, this one not counted
	Credentials      Credentials
	Demand           string // flat property text of the received proposal
	Now              time.Time
	Offer            string // flat property text of our own last proposal
	Policy           Policy
	Requestor        identity.NodeID
}

// Decision is what the provider answers. Reason is set for Reject only.
type Decision struct {
	Components []negotiation.Verdict
	Final      bool
	Offer      string // the text to counter with
	Outcome    string
	Postponed  bool   // rejected for want of a slot: to be looked at again
	Reason     string // JSON object
}

// verdict is what one component says.
type verdict struct {
	outcome, message string
	final            bool
}

var ready = verdict{outcome: Ready}

func changed() verdict { return verdict{outcome: Counter} }

func no(final bool, message string) verdict {
	return verdict{outcome: Reject, message: message, final: final}
}

// talk is a negotiation in the hands of the components; they may change offer.
type talk struct {
	Input
	demand, offer props.Flat
}

// components in the order in which they are asked. The order is part of what
// providers promise: the first rejection is the one that is told.
var components = []struct {
	name string
	ask  func(*talk) verdict
}{
	{"Validation", validation},
	{"Blacklist", blacklist},
	{"AllowOnlyList", allowOnly},
	{"LimitAgreements", limitAgreements},
	{"LimitExpiration", limitExpiration},
	{"AcceptTimeout", acceptTimeout},
	{"DebitNoteInterval", noteInterval},
	{"PaymentTimeout", paymentTimeout},
	{"ManifestSignature", manifestSignature},
	{"Price", comparePrice},
}

// Negotiate decides about a proposal of a requestor: counter or reject. It
// fails when one of the texts is not JSON.
func Negotiate(in Input) (Decision, error) {
	d, _, err := decide(in)
	return d, err
}

// Confirm decides about an agreement: everything must be ready, since what is
// agreed is what both sides last said.
func Confirm(in Input) (Decision, error) {
	d, allReady, err := decide(in)
	switch {
	case err != nil || d.Outcome == Reject:
	case allReady:
		d.Outcome = Approve
	default:
		d.Outcome = Reject
		d.Reason = reason("Negotiations aren't finished.", false)
	}
	return d, err
}

func decide(in Input) (d Decision, allReady bool, err error) {
	t := &talk{Input: in}
	if t.demand, err = props.ParseFlat(in.Demand); err != nil {
		return d, false, err
	}
	if t.offer, err = props.ParseFlat(in.Offer); err != nil {
		return d, false, err
	}
	d.Outcome, allReady = Counter, true
	for _, c := range components {
		v := c.ask(t)
		d.Components = append(d.Components, negotiation.Verdict{Component: c.name, Final: v.final, Message: v.message, Outcome: v.outcome})
		allReady = allReady && v.outcome == Ready
		if v.outcome == Reject && d.Outcome != Reject {
			d.Outcome, d.Final, d.Reason = Reject, v.final, reason(v.message, v.final)
			d.Postponed = c.name == "LimitAgreements"
		}
	}
	d.Offer = t.offer.Text()
	return d, allReady, nil
}

func reason(message string, final bool) string { return market.Reason(message, market.KeyFinal, final) }

// set writes an integer property of the offer.
func (t *talk) set(name string, n int64) {
	b, _ := json.Marshal(n) // an integer always can
	t.offer[name] = b
}
