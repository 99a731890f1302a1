package verifier

import (
	"crypto/sha256"
	"crypto/sha3"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

func (x *examiner) parties() verdict {
	switch {
	case x.agreements == 0:
		return lacks("the agreement is not shown")
	case x.agreements > 1:
		return no("the agreement is there more than once")
	case x.id != x.Agreement:
		return no("the events are about another agreement")
	case x.party() != x.owner:
		return no("the owner of the log is not the party")
	}
	for _, id := range x.trust.Identities {
		if id != x.terms.Requestor && id != x.terms.Provider {
			return no("%s is no party", id)
		}
	}
	return yes
}

// party and other are the two sides, the owner's first.
func (x *examiner) party() string {
	if x.Side == "R" {
		return x.terms.Requestor
	}
	return x.terms.Provider
}

func (x *examiner) other() string {
	if x.Side == "R" {
		return x.terms.Provider
	}
	return x.terms.Requestor
}

var notShown = lacks("the agreement is not shown once")

func (x *examiner) agreementID() verdict {
	if x.agreements != 1 {
		return notShown
	}
	t := x.terms.Created.UTC()
	sum := sha3.Sum256([]byte(x.terms.OfferID + x.terms.DemandID + t.Format("2006-01-02 15:04:") + fmt.Sprintf("%09d", t.Nanosecond())))
	if hex.EncodeToString(sum[:]) != x.Agreement {
		return no("the id is not the hash that it must be")
	}
	return yes
}

func (x *examiner) lastProposals() verdict {
	if x.agreements != 1 {
		return notShown
	}
	offer, ok1 := x.proposals[x.terms.ProposalID]
	demand, ok2 := x.proposals[offer.prev]
	switch {
	case !ok1, !ok2:
		return lacks("the negotiation is not shown")
	case offer.constraints != x.terms.OfferConstraints, offer.properties != x.terms.OfferProperties,
		demand.constraints != x.terms.DemandConstraints, demand.properties != x.terms.DemandProperties:
		return no("the terms are not what was proposed")
	}
	return yes
}

// statement is what a party signs about the agreement at a stage.
func (x *examiner) statement(stage string) [32]byte {
	w := new(writer)
	w.WriteString("emet/agreement/1\x00emet agreement " + stage + " v1\n")
	t := x.terms
	w.object(func(o *object) {
		o.text("agreementId", x.id)
		o.text("created", t.Created.UTC().Format(time.RFC3339Nano))
		o.field("demand", true, func() {
			w.object(func(o *object) {
				o.text("constraints", t.DemandConstraints)
				o.text("id", t.DemandID)
				o.text("properties", t.DemandProperties)
				o.text("requestor", t.Requestor)
			})
		})
		o.field("offer", true, func() {
			w.object(func(o *object) {
				o.text("constraints", t.OfferConstraints)
				o.text("id", t.OfferID)
				o.text("properties", t.OfferProperties)
				o.text("provider", t.Provider)
			})
		})
		o.text("validTo", t.ValidTo.UTC().Format(time.RFC3339Nano))
	})
	return sha256.Sum256(w.Bytes())
}

func (x *examiner) statements(party string, stages ...string) verdict {
	if x.agreements != 1 {
		return notShown
	}
	for _, stage := range stages {
		text := x.signatures[stage]
		if text == "" {
			return lacks("nobody signed it as %s", stage)
		}
		digits, ok := strings.CutPrefix(text, "emet1:")
		b, err := hex.DecodeString(digits)
		if !ok || err != nil || digits != hex.EncodeToString(b) {
			return no("the signature as %s is malformed", stage)
		}
		if who, err := signer(x.statement(stage), b); err != nil || who != party {
			return no("somebody else signed it as %s", stage)
		}
	}
	return yes
}
