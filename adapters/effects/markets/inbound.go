package markets

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/deal"
	"github.com/emet-node/emet/domain/market/negotiation"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/peer"
)

// Threads finds the negotiation that a proposal belongs to.
type Threads interface {
	// ThreadOf returns "" when side has no proposal of that hash. It has seen
	// the whole log.
	ThreadOf(ctx context.Context, side identity.Side, proposalID string) (negotiationID string, err error)
}

// OwnOffers are the offers that this node's identities have on the market.
type OwnOffers interface {
	OfferTexts(ctx context.Context, ids []string) ([]peer.Offer, error)
	OfferDigests(ctx context.Context) ([]peer.OfferDigest, error)
}

// Inbound answers what other nodes say about the market.
type Inbound struct {
	Aggregates
	Threads Threads
	Book    OwnOffers
	// Verify checks a signature under an agreement that begins with "emet1:".
	// nil = none is checked.
	Verify func(signer identity.NodeID, text []byte, signature string) error
	// Limits bound what others may make this node write down. nil = nothing does.
	Limits *Limits
}

// signed begins the signatures that can be checked. Nodes that do not sign
// write something else.
const signed = "emet1:"

// verify refuses a signature that is not what it says to be.
func (in *Inbound) verify(stage agreement.Stage, id string, t agreement.Terms, signature string) error {
	if in.Verify == nil || !strings.HasPrefix(signature, signed) {
		return nil
	}
	signer := t.Requestor
	if stage == agreement.StageApproved {
		signer = t.Provider
	}
	text, err := agreement.SigningInput(stage, id, t)
	if err != nil {
		return err
	}
	if err := in.Verify(signer, text, signature); err != nil {
		return peer.Refuse(peer.BadRequest, "Agreement [%s]: the signature as %s is not that of %s: %v", id, stage, signer, err)
	}
	return nil
}

// Answers is the table of what is answered.
func (in *Inbound) Answers() effects.Inbound {
	return effects.Inbound{Calls: map[string]effects.Call{
		peer.ProposalOpened{}.Kind():      effects.Typed(in.opened),
		peer.ProposalCountered{}.Kind():   effects.Typed(in.countered),
		peer.ProposalRejected{}.Kind():    effects.Typed(in.proposalRejected),
		peer.AgreementProposed{}.Kind():   effects.Typed(in.proposed),
		peer.AgreementApproved{}.Kind():   effects.Typed(in.approved),
		peer.AgreementCommitted{}.Kind():  effects.Typed(in.committed),
		peer.AgreementRejected{}.Kind():   effects.Typed(in.rejected),
		peer.AgreementCancelled{}.Kind():  effects.Typed(in.cancelled),
		peer.AgreementTerminated{}.Kind(): effects.Typed(in.terminated),
		peer.GetOffers{}.Kind():           effects.Typed(in.getOffers),
		peer.ListOffers{}.Kind():          effects.Typed(in.listOffers),
	}}
}

// answer is Ack, or the rules' no in the words of the protocol.
func answer(err error) (peer.Message, error) {
	if err == nil {
		return peer.Ack{}, nil
	}
	if errors.Is(err, ledger.ErrHeld) {
		return nil, effects.Busy(time.Hour, "this node agrees to nothing new now")
	}
	if _, ok := effects.RefusalOf(err); ok {
		return nil, err
	}
	return nil, market.Refusal(err)
}

// opened is a requestor's first counter to an offer of ours.
func (in *Inbound) opened(ctx context.Context, from peer.Caller, m peer.ProposalOpened) (peer.Message, error) {
	o, _, err := in.Offers.Load(ctx, m.OfferID)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	if o.OfferID == "" || o.Provider != from.To {
		return nil, peer.Refuse(peer.NotFound, "Subscription [%s] wasn't found.", m.OfferID)
	}
	switch {
	case o.Withdrawn:
		return answer(market.Unsubscribed(m.OfferID))
	case !o.Live(now):
		return answer(market.SubscriptionExpired(m.OfferID))
	}
	if err := in.Limits.proposal(from); err != nil {
		return nil, err
	}
	thread := negotiation.ThreadID(from.Node, m.Proposal.ID)
	undo, err := in.opening(ctx, from, thread)
	if err != nil {
		return nil, err
	}
	initial := negotiation.Proposal{Constraints: o.Constraints, Properties: o.Properties, Created: now, Expires: o.Expires}
	initial.ProposalID = market.PairHash(m.OfferID, m.DemandID, initial.Created)
	_, err = in.Negotiations.Do(ctx, thread, negotiation.ReceiveOpening{
		At: now, By: effects.FromPeer(from), DemandExpires: m.DemandExpires, DemandID: m.DemandID, Initial: initial,
		NegotiationID: thread, OfferID: m.OfferID, Proposal: proposal(m.Proposal), Provider: o.Provider, Raw: market.KeepRaw(from.Raw),
	}, effects.Following(ctx, in.Log.Store, effects.PeerMeta(from, thread, "open/"+m.Proposal.ID),
		es.StreamOf(offer.Category, m.OfferID)))
	if err != nil {
		undo()
	}
	return answer(err)
}

func proposal(t peer.ProposalText) negotiation.Proposal {
	return negotiation.Proposal{Constraints: t.Constraints, Created: t.Created, Expires: t.Expires, ProposalID: t.ID, Properties: t.Properties}
}

// thread finds the negotiation in which the caller is the other party. Who is
// not learns that there is none.
func (in *Inbound) thread(ctx context.Context, from peer.Caller, proposalID string) (string, error) {
	for _, side := range []identity.Side{identity.Requestor, identity.Provider} {
		id, err := in.Threads.ThreadOf(ctx, side, proposalID)
		if err != nil {
			return "", err
		}
		if id == "" {
			continue
		}
		s, _, err := in.Negotiations.Load(ctx, id)
		if err != nil {
			return "", err
		}
		if s.Owner() == from.To && s.Peer() == from.Node {
			return id, nil
		}
	}
	return "", peer.Refuse(peer.NotFound, "Proposal [%s] not found.", proposalID)
}

func (in *Inbound) countered(ctx context.Context, from peer.Caller, m peer.ProposalCountered) (peer.Message, error) {
	id, err := in.thread(ctx, from, m.Prev)
	if err != nil {
		return nil, err
	}
	if err := in.Limits.proposal(from); err != nil {
		return nil, err
	}
	_, err = in.Negotiations.Do(ctx, id, negotiation.ReceiveCounter{
		At: time.Now().UTC(), By: effects.FromPeer(from), Prev: m.Prev, Proposal: proposal(m.Proposal), Raw: market.KeepRaw(from.Raw),
	}, effects.Following(ctx, in.Log.Store, effects.PeerMeta(from, id, "counter/"+m.Proposal.ID), es.StreamOf(negotiation.Category, id)))
	return answer(err)
}

// proposalRejected ends a thread. That a requestor does not like an offer as
// such is not worth a fact: there is no thread about it here.
func (in *Inbound) proposalRejected(ctx context.Context, from peer.Caller, m peer.ProposalRejected) (peer.Message, error) {
	if m.Initial {
		return peer.Ack{}, nil
	}
	id, err := in.thread(ctx, from, m.ProposalID)
	if err != nil {
		return nil, err
	}
	_, err = in.Negotiations.Do(ctx, id, negotiation.ReceiveRejection{
		By: effects.FromPeer(from), ProposalID: m.ProposalID, Raw: market.KeepRaw(from.Raw), Reason: m.Reason,
	}, effects.Following(ctx, in.Log.Store, effects.PeerMeta(from, id, "reject/"+m.ProposalID), es.StreamOf(negotiation.Category, id)))
	return answer(err)
}

// proposed makes an agreement of our draft: the thread is promoted and the
// agreement received in one append.
func (in *Inbound) proposed(ctx context.Context, from peer.Caller, m peer.AgreementProposed) (peer.Message, error) {
	id, err := in.thread(ctx, from, m.ProposalID)
	if err != nil {
		return nil, err
	}
	if err := in.Limits.proposal(from); err != nil {
		return nil, err
	}
	undo, err := in.squatting(ctx, from, m.AgreementID)
	if err != nil {
		return nil, err
	}
	now, by := time.Now().UTC(), effects.FromPeer(from)
	meta := effects.Following(ctx, in.Log.Store, effects.PeerMeta(from, m.AgreementID, "propose/"+m.AgreementID), es.StreamOf(negotiation.Category, id))
	_, err = in.Log.Atomically(ctx, meta, func(t *es.Tx) error {
		thread, err := in.Negotiations.Peek(t, id)
		if err != nil {
			return err
		}
		terms, err := deal.Terms(thread, m.ProposalID)
		if err != nil {
			return err
		}
		terms.Created, terms.ValidTo = m.Created, m.ValidTo
		if err := in.verify(agreement.StageProposed, m.AgreementID, terms, m.Signature); err != nil {
			return err
		}
		if _, err := in.Agreements.In(t, agreement.StreamID(identity.Provider, m.AgreementID), agreement.Receive{
			AgreementID: m.AgreementID, At: now, By: by, Raw: market.KeepRaw(from.Raw), Signature: m.Signature, Terms: terms,
		}); err != nil {
			return err
		}
		_, err = in.Negotiations.In(t, id, negotiation.Promote{AgreementID: m.AgreementID, At: now, By: by, ProposalID: m.ProposalID})
		return err
	})
	if err != nil {
		undo()
	}
	return answer(err)
}

// tell gives an agreement's command that a peer's message means.
func (in *Inbound) tell(ctx context.Context, from peer.Caller, side identity.Side, agreementID, act string, c agreement.Command) (peer.Message, error) {
	if _, err := effects.Deal(ctx, in.Agreements, from, side, agreementID); err != nil {
		return nil, err
	}
	_, err := in.Agreements.Do(ctx, agreement.StreamID(side, agreementID), c, effects.Following(ctx, in.Log.Store,
		effects.PeerMeta(from, agreementID, act+"/"+from.MessageID), agreement.StreamOf(side, agreementID)))
	return answer(err)
}

// tellSigned is tell for a step that the other party signs.
func (in *Inbound) tellSigned(ctx context.Context, from peer.Caller, stage agreement.Stage, side identity.Side, id, signature string, c agreement.Command) (peer.Message, error) {
	s, err := effects.Deal(ctx, in.Agreements, from, side, id)
	if err != nil {
		return nil, err
	}
	if err := in.verify(stage, id, s.Terms, signature); err != nil {
		return nil, err
	}
	return in.tell(ctx, from, side, id, string(stage), c)
}

func (in *Inbound) approved(ctx context.Context, from peer.Caller, m peer.AgreementApproved) (peer.Message, error) {
	return in.sealing(ctx, from, agreement.StageApproved, identity.Requestor, m.AgreementID, m.Signature, agreement.ReceiveApproval{
		ApprovedAt: m.ApprovedAt, At: time.Now().UTC(), By: effects.FromPeer(from), Raw: market.KeepRaw(from.Raw), Signature: m.Signature,
	})
}

func (in *Inbound) committed(ctx context.Context, from peer.Caller, m peer.AgreementCommitted) (peer.Message, error) {
	return in.sealing(ctx, from, agreement.StageCommitted, identity.Provider, m.AgreementID, m.Signature, agreement.ReceiveCommit{
		At: time.Now().UTC(), By: effects.FromPeer(from), Raw: market.KeepRaw(from.Raw), Signature: m.Signature,
	})
}

// sealing is tellSigned for the step that makes an agreement hold. Whoever
// gets that far may negotiate anew; saying it again changes nothing.
func (in *Inbound) sealing(ctx context.Context, from peer.Caller, stage agreement.Stage, side identity.Side, id, signature string, c agreement.Command) (peer.Message, error) {
	before, _, err := in.Agreements.Load(ctx, agreement.StreamID(side, id))
	if err != nil {
		return nil, err
	}
	reply, err := in.tellSigned(ctx, from, stage, side, id, signature, c)
	if err == nil && (before.Phase == agreement.PhasePending || before.Phase == agreement.PhaseApproving && side == identity.Provider) {
		in.Limits.agreed(from)
	}
	return reply, err
}

func (in *Inbound) rejected(ctx context.Context, from peer.Caller, m peer.AgreementRejected) (peer.Message, error) {
	return in.tell(ctx, from, identity.Requestor, m.AgreementID, "reject", agreement.ReceiveRejection{
		By: effects.FromPeer(from), Raw: market.KeepRaw(from.Raw), Reason: m.Reason,
	})
}

func (in *Inbound) cancelled(ctx context.Context, from peer.Caller, m peer.AgreementCancelled) (peer.Message, error) {
	return in.tell(ctx, from, identity.Provider, m.AgreementID, "cancel", agreement.ReceiveCancellation{
		By: effects.FromPeer(from), Raw: market.KeepRaw(from.Raw), Reason: m.Reason,
	})
}

// terminated may concern either side of ours: one node can hold both.
func (in *Inbound) terminated(ctx context.Context, from peer.Caller, m peer.AgreementTerminated) (peer.Message, error) {
	var last error
	for _, side := range []identity.Side{identity.Requestor, identity.Provider} {
		answered, err := in.tell(ctx, from, side, m.AgreementID, "terminate", agreement.ReceiveTermination{
			By: effects.FromPeer(from), Raw: market.KeepRaw(from.Raw), Reason: m.Reason, Signature: m.Signature,
		})
		if err == nil {
			return answered, nil
		}
		var no *peer.Refusal
		if last == nil || !errors.As(err, &no) || no.Code != peer.NotFound {
			last = err
		}
	}
	return nil, last
}

func (in *Inbound) getOffers(ctx context.Context, _ peer.Caller, m peer.GetOffers) (peer.Message, error) {
	if len(m.IDs) > maxAsked {
		return nil, peer.Refuse(peer.BadRequest, "%d ids, at most %d are answered", len(m.IDs), maxAsked)
	}
	offers, err := in.Book.OfferTexts(ctx, m.IDs)
	return peer.Offers{Offers: fitting(offers)}, err
}

// maxTexts is how much of texts goes into one answer, about: as JSON they may
// take twice the room, and the answer has 1 MiB.
const maxTexts = 400 << 10

// fitting are the first of the offers that go into one answer. The rest is asked
// for again when it is announced again.
func fitting(offers []peer.Offer) []peer.Offer {
	size := 0
	for i, o := range offers {
		if size += len(o.Properties) + len(o.Constraints) + 512; size > maxTexts && i > 0 {
			return offers[:i]
		}
	}
	return offers
}

func (in *Inbound) listOffers(ctx context.Context, _ peer.Caller, _ peer.ListOffers) (peer.Message, error) {
	digests, err := in.Book.OfferDigests(ctx)
	return peer.OffersAnnounced{Offers: digests}, err
}
