package deal_test

import (
	"errors"
	"testing"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/deal"
	"github.com/emet-node/emet/domain/market/negotiation"
)

// thread is a match (0), the requestor's wish (1) and the provider's draft (2).
func thread() negotiation.State {
	step := func(id, prev string, issuer identity.Side) negotiation.Step {
		return negotiation.Step{
			Proposal: negotiation.Proposal{ProposalID: id, Properties: "p" + id, Constraints: "c" + id}, Prev: prev, Issuer: issuer,
		}
	}
	return negotiation.State{
		NegotiationID: "n", OfferID: "o", DemandID: "d", Provider: "0xb", Requestor: "0xa", Side: identity.Requestor,
		Steps: []negotiation.Step{step("0", "", identity.Provider), step("1", "0", identity.Requestor), step("2", "1", identity.Provider)},
	}
}

func TestTheTermsAreTheLastTwoProposals(t *testing.T) {
	t.Parallel()
	got, err := deal.Terms(thread(), "2")
	if err != nil || got.OfferProperties != "p2" || got.OfferConstraints != "c2" || got.DemandProperties != "p1" || got.DemandConstraints != "c1" ||
		got.OfferID != "o" || got.DemandID != "d" || got.Provider != "0xb" || got.Requestor != "0xa" || got.ProposalID != "2" || got.NegotiationID != "n" ||
		!got.Created.IsZero() || !got.ValidTo.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWhatIsNoDraftMakesNoDeal(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]error{"0": market.ErrNoNegotiations, "1": market.ErrOwnProposal, "9": market.ErrNotFound, "": market.ErrNotFound} {
		if _, err := deal.Terms(thread(), id); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", id, err, want)
		}
	}
}
