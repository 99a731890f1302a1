// Package deal makes the terms of an agreement of a negotiation's last two
// proposals.
package deal

import (
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/negotiation"
)

// Terms are what both sides agree to when the provider's draft becomes an
// agreement: the texts of that draft and of the requestor's proposal that it
// answers. Created and ValidTo are left to the caller. It fails with
// market.ErrNotFound when there is no such proposal, market.ErrNoNegotiations
// when it answers nothing, market.ErrOwnProposal when the requestor made it.
func Terms(thread negotiation.State, proposalID string) (agreement.Terms, error) {
	draft, ok := thread.Find(proposalID)
	if !ok {
		return agreement.Terms{}, market.ProposalNotFound(proposalID, thread.Subscription())
	}
	if draft.Issuer != identity.Provider {
		return agreement.Terms{}, market.Errorf(market.ErrOwnProposal, "Can't create Agreement out of own Proposal [%s].", proposalID)
	}
	wish, ok := thread.Find(draft.Prev)
	if !ok {
		return agreement.Terms{}, market.Errorf(market.ErrNoNegotiations, "Can't create Agreement for the initial Proposal [%s]. No negotiations with the Provider took place.", proposalID)
	}
	return agreement.Terms{
		DemandConstraints: wish.Constraints, DemandID: thread.DemandID, DemandProperties: wish.Properties,
		NegotiationID: thread.NegotiationID, OfferConstraints: draft.Constraints, OfferID: thread.OfferID,
		OfferProperties: draft.Properties, ProposalID: proposalID, Provider: thread.Provider, Requestor: thread.Requestor,
	}, nil
}
