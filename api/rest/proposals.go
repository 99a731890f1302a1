package rest

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/negotiation"
	"github.com/emet-node/emet/domain/market/props"
)

// GetDemandProposal shows a proposal about a demand.
func (m *marketAPI) GetDemandProposal(c echo.Context) error {
	return m.showProposal(c, identity.Requestor)
}

// GetOfferProposal shows a proposal about an offer.
func (m *marketAPI) GetOfferProposal(c echo.Context) error {
	return m.showProposal(c, identity.Provider)
}

// CounterDemandProposal answers a provider's proposal.
func (m *marketAPI) CounterDemandProposal(c echo.Context) error {
	return m.counter(c, identity.Requestor, m.demandOf)
}

// CounterOfferProposal answers a requestor's proposal.
func (m *marketAPI) CounterOfferProposal(c echo.Context) error {
	return m.counter(c, identity.Provider, m.offerOf)
}

// RejectDemandProposal turns a provider's proposal down.
func (m *marketAPI) RejectDemandProposal(c echo.Context) error {
	return m.rejectProposal(c, identity.Requestor)
}

// RejectOfferProposal turns a requestor's proposal down.
func (m *marketAPI) RejectOfferProposal(c echo.Context) error {
	return m.rejectProposal(c, identity.Provider)
}

// thread finds the negotiation of the proposal that a path names, and the
// proposal's bare id. Proposals of another side, subscription or identity are
// not found.
func (m *marketAPI) thread(c echo.Context, side identity.Side) (n negotiation.State, proposal string, err error) {
	ctx := c.Request().Context()
	sub, err := market.ParseSubscriptionID(c.Param("subscriptionId"))
	if err != nil {
		return n, "", err
	}
	shown := c.Param("proposalId")
	in, proposal, err := market.ParseProposalID(shown)
	if err != nil {
		return n, "", err
	}
	place, ok, err := m.Views.Proposal(ctx, side, proposal)
	if err != nil {
		return n, "", err
	}
	if !ok || in != side || place.Subscription != sub || place.Owner != keyOf(ctx).Identity {
		return n, "", market.ProposalNotFound(shown, sub)
	}
	n, _, err = m.Negotiations.Load(ctx, place.Negotiation)
	return n, proposal, err
}

func (m *marketAPI) showProposal(c echo.Context, side identity.Side) error {
	n, id, err := m.thread(c, side)
	if err != nil {
		return err
	}
	p, found := n.Find(id)
	if !found {
		return market.ProposalNotFound(c.Param("proposalId"), n.Subscription())
	}
	return ok(c, proposalOf(n, p, m.now()))
}

// counter records our answer and waits until the peer has it.
func (m *marketAPI) counter(c echo.Context, side identity.Side, find func(context.Context, string) (subscription, error)) error {
	ctx := c.Request().Context()
	properties, constraints, err := readTerms(c, props.Flatten)
	if err != nil {
		return err
	}
	if err := m.mayCounter(ctx, c.Param("subscriptionId"), find); err != nil {
		return err
	}
	n, prev, err := m.thread(c, side)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	cmd := negotiation.Counter{
		At: now, By: callerOf(ctx), Constraints: constraints, Prev: prev, Properties: properties,
		ProposalID: market.PairHash(n.OfferID, n.DemandID, now),
	}
	n, err = m.Negotiations.Do(ctx, n.NegotiationID, cmd, metaOf(c, n.NegotiationID, ""))
	if err != nil {
		return restate(err, statusRow{market.ErrUnsubscribed, http.StatusBadRequest})
	}
	id := cmd.ProposalID
	if _, made := n.Find(id); !made { // the same request again
		before, _ := n.Find(prev)
		id = before.Counter
	}
	return m.awaitCounter(c, n.NegotiationID, id)
}

// mayCounter looks at the subscription first, as its state decides the status.
func (m *marketAPI) mayCounter(ctx context.Context, id string, find func(context.Context, string) (subscription, error)) error {
	if _, err := market.ParseSubscriptionID(id); err != nil {
		return err
	}
	sub, err := find(ctx, id)
	switch {
	case err != nil:
		return err
	case sub.owner == "":
		return problem(http.StatusBadRequest, "Subscription [%s] wasn't found.", id)
	case sub.owner != keyOf(ctx).Identity:
		return problem(http.StatusUnauthorized, "Subscription [%s] belongs to another identity.", id)
	case !sub.live && !sub.expires.After(time.Now()):
		return market.SubscriptionExpired(id)
	case !sub.live:
		return problem(http.StatusBadRequest, "Subscription [%s] was already unsubscribed.", id)
	}
	return nil
}

func (m *marketAPI) awaitCounter(c echo.Context, thread, id string) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), peerPatience)
	defer cancel()
	n, err := m.Negotiations.Await(ctx, thread, func(n negotiation.State) bool {
		p, ok := n.Find(id)
		return !ok || p.Sending != negotiation.Pending
	})
	if err != nil {
		return unanswered(c, err)
	}
	p, ok := n.Find(id)
	if !ok || p.Sending == negotiation.Failed {
		return problem(http.StatusInternalServerError, "Counter-proposal could not be delivered to the other node.")
	}
	return answer(c, http.StatusOK, market.ProposalID(n.Side, id))
}

// unanswered is what waiting for a peer ends with: its silence is our 500.
func unanswered(c echo.Context, err error) error {
	if c.Request().Context().Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return problem(http.StatusInternalServerError, "The other node did not answer in time.")
	}
	return err
}

// rejectProposal is final here; the answer waits a little for the peer to know.
func (m *marketAPI) rejectProposal(c echo.Context, side identity.Side) error {
	reason, err := readReason(c)
	if err != nil {
		return err
	}
	n, id, err := m.thread(c, side)
	if errors.Is(err, market.ErrNotFound) {
		return problem(http.StatusInternalServerError, "%s", err.Error())
	}
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	cmd := negotiation.Reject{At: time.Now().UTC(), By: callerOf(ctx), ProposalID: id, Reason: reason}
	if _, err := m.Negotiations.Do(ctx, n.NegotiationID, cmd, metaOf(c, n.NegotiationID, "")); err != nil {
		return rejectionRefused(err)
	}
	m.patiently(ctx, func(ctx context.Context) error {
		_, err := m.Negotiations.Await(ctx, n.NegotiationID, func(n negotiation.State) bool {
			p, _ := n.Find(id)
			return p.Untold == 0
		})
		return err
	})
	return nothing(c)
}

func rejectionRefused(err error) error {
	for _, kind := range []error{market.ErrOwnProposal, market.ErrExpired, market.ErrUnsubscribed, market.ErrBadText} {
		if errors.Is(err, kind) {
			return problem(http.StatusBadRequest, "%s", err.Error())
		}
	}
	if errors.Is(err, identity.ErrForbidden) {
		return err
	}
	return problem(http.StatusInternalServerError, "%s", err.Error())
}

// patiently waits a little for a peer to be told what is true already. Whether
// it was in time changes nothing.
func (m *marketAPI) patiently(ctx context.Context, wait func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, noticePatience)
	defer cancel()
	_ = wait(ctx)
}
