package dossier

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
)

func (c *checker) parties() answer {
	switch d := c.deal; {
	case d.proposals == 0:
		return missing("the agreement itself is not shown")
	case d.proposals > 1:
		return disproved("the agreement was made %d times", d.proposals)
	case d.id != c.Agreement:
		return disproved("the events are about agreement %s", d.id)
	case c.own() != c.owner:
		return disproved("the log is kept by %s, who is not the %s", c.owner, sideName(c.Side))
	}
	t := c.deal.terms
	for _, id := range c.trust.Identities {
		if id != t.Requestor && id != t.Provider {
			return disproved("%s is no party: the agreement is between %s and %s", id, t.Requestor, t.Provider)
		}
	}
	return proved("%s buys of %s; this is the %s's log", t.Requestor, t.Provider, sideName(c.Side))
}

func sideName(side string) string {
	if side == string(identity.Requestor) {
		return "requestor"
	}
	return "provider"
}

// own and other are the parties as the agreement names them.
func (c *checker) own() identity.NodeID {
	if c.Side == string(identity.Requestor) {
		return c.deal.terms.Requestor
	}
	return c.deal.terms.Provider
}

func (c *checker) other() identity.NodeID {
	if c.Side == string(identity.Requestor) {
		return c.deal.terms.Provider
	}
	return c.deal.terms.Requestor
}

func (c *checker) agreementID() answer {
	t := c.deal.terms
	switch {
	case c.deal.proposals != 1:
		return missing("the agreement itself is not shown once")
	case market.PairHash(t.OfferID, t.DemandID, t.Created) != c.Agreement:
		return disproved("the id is not the hash of offer, demand and time")
	}
	return proved("the id is the hash of offer, demand and time")
}

// proposals compares the terms with the two last steps of the negotiation.
func (c *checker) proposals() answer {
	t := c.deal.terms
	draft, ok := c.deal.steps[t.ProposalID]
	wish, ok2 := c.deal.steps[draft.prev]
	switch {
	case c.deal.proposals != 1:
		return missing("the agreement itself is not shown once")
	case !ok || !ok2:
		return missing("the negotiation is not shown")
	case draft.constraints != t.OfferConstraints || draft.properties != t.OfferProperties:
		return disproved("the provider proposed something else than the terms")
	case wish.constraints != t.DemandConstraints || wish.properties != t.DemandProperties:
		return disproved("the requestor proposed something else than the terms")
	}
	return proved("the terms are those of the last two proposals")
}

// statements checks what a party signed.
func (c *checker) statements(who string, signer identity.NodeID, stages ...agreement.Stage) answer {
	if c.deal.proposals != 1 {
		return missing("the agreement itself is not shown once")
	}
	for _, stage := range stages {
		sig, ok := c.deal.signatures[stage]
		if !ok {
			return missing("the %s has not signed it as %s", who, stage)
		}
		text, err := agreement.SigningInput(stage, c.deal.id, c.deal.terms)
		if err != nil {
			return disproved("%v", err)
		}
		if !signedStatement("emet/agreement/1", text, sig, signer) {
			return disproved("the signature as %s is not that of %s", stage, signer)
		}
	}
	return proved("signed by the %s %s (%s)", who, signer, joinStages(stages))
}

func joinStages(stages []agreement.Stage) string {
	out := make([]string, len(stages))
	for i, s := range stages {
		out[i] = string(s)
	}
	return strings.Join(out, ", ")
}

// signedStatement checks "emet1:" and r‖s‖v in lower-case hexadecimal.
func signedStatement(tag string, text []byte, signature string, signer identity.NodeID) bool {
	digits, ok := strings.CutPrefix(signature, "emet1:")
	sig, err := hex.DecodeString(digits)
	if !ok || err != nil || hex.EncodeToString(sig) != digits {
		return false
	}
	who, err := verify.Recover(sha256.Sum256(append([]byte(tag+"\x00"), text...)), sig)
	return err == nil && who == signer
}
