package props

import (
	"fmt"
	"strings"
)

// Side is one party's texts, ready to be matched.
type Side struct {
	Properties  Properties
	Constraints *Expr
}

// CompileSide reads both texts of a party.
func CompileSide(properties, constraints string) (Side, error) {
	p, err := Compile(properties)
	if err != nil {
		return Side{}, err
	}
	e, err := Parse(constraints)
	if err != nil {
		return Side{}, err
	}
	return Side{Properties: p, Constraints: e}, nil
}

// Outcome of matching: True is yes, False is no, Undefined is that something
// is missing. Only yes counts.
type Outcome struct {
	Truth Truth
	// OfferMismatch are properties that the demand asks for and the offer has
	// not; DemandMismatch the other way round.
	OfferMismatch, DemandMismatch []string
	// DemandReduced and OfferReduced are what remains of each constraint, nil
	// if it is decided.
	DemandReduced, OfferReduced *Expr
}

// Yes says whether the two match.
func (o Outcome) Yes() bool { return o.Truth == True }

// Match evaluates both constraints over the other side's properties.
func Match(demand, offer Side) Outcome {
	d := demand.Constraints.Eval(offer.Properties)
	o := offer.Constraints.Eval(demand.Properties)
	out := Outcome{
		Truth: True, OfferMismatch: d.Unresolved, DemandMismatch: o.Unresolved,
		DemandReduced: d.Reduced, OfferReduced: o.Reduced,
	}
	switch {
	case d.Truth == Undefined || o.Truth == Undefined:
		out.Truth = Undefined
	case d.Truth == False || o.Truth == False:
		out.Truth = False
	}
	return out
}

// Mismatch says why a counter does not fit the proposal it answers.
type Mismatch struct {
	Properties string // of the counter
	Previous   string // id of the proposal it answers
	Outcome    Outcome
}

func (m *Mismatch) Error() string {
	return fmt.Sprintf("Proposal properties [%s] doesn't match previous Proposal [%s]. Mismatched constraints - Offer: [%s], Demand: [%s]",
		m.Properties, m.Previous, strings.Join(m.Outcome.OfferMismatch, ", "), strings.Join(m.Outcome.DemandMismatch, ", "))
}

// CheckCounter says whether a counter and the proposal that it answers match
// in both directions. It fails with a *[Mismatch], or with why a text cannot
// be read.
func CheckCounter(properties, constraints, previousProperties, previousConstraints, previous string) error {
	counter, err := CompileSide(properties, constraints)
	if err != nil {
		return err
	}
	prev, err := CompileSide(previousProperties, previousConstraints)
	if err != nil {
		return err
	}
	if o := Match(counter, prev); !o.Yes() {
		return &Mismatch{Properties: properties, Previous: previous, Outcome: o}
	}
	return nil
}
