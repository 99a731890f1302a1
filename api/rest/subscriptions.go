package rest

import (
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	gen "github.com/emet-node/emet/api/gen/market"
	"github.com/emet-node/emet/api/rest/dto"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/demand"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/market/props"
	"github.com/emet-node/emet/projections"
)

// SubscribeDemand publishes a demand.
func (m *marketAPI) SubscribeDemand(c echo.Context) error {
	ctx := c.Request().Context()
	properties, constraints, err := readTerms(c, props.Flatten)
	if err != nil {
		return err
	}
	now, caller := time.Now().UTC(), callerOf(ctx)
	cmd := demand.Publish{
		By: caller, Constraints: constraints, Created: now, Expires: now.Add(m.ttl()), Properties: properties, Requestor: caller.Node,
	}
	prefix := newID(c)
	if id, ok, err := m.begun(c, prefix); ok || err != nil {
		return answerOr(c, id, err)
	}
	cmd.DemandID = market.SubscriptionID(prefix, market.Content{
		Properties: properties, Constraints: constraints, Owner: caller.Node, Created: now, Expires: cmd.Expires,
	})
	if _, err := m.Demands.Do(ctx, cmd.DemandID, cmd, metaOf(c, cmd.DemandID, "")); err != nil {
		return err
	}
	m.warn("demand", cmd.DemandID, constraints)
	return answer(c, http.StatusCreated, cmd.DemandID)
}

// SubscribeOffer publishes an offer.
func (m *marketAPI) SubscribeOffer(c echo.Context) error {
	ctx := c.Request().Context()
	properties, constraints, err := readTerms(c, props.Flatten)
	if err != nil {
		return err
	}
	now, caller := time.Now().UTC(), callerOf(ctx)
	cmd := offer.Publish{
		By: caller, Constraints: constraints, Created: now, Expires: now.Add(m.ttl()), Properties: properties, Provider: caller.Node,
	}
	prefix := newID(c)
	if id, ok, err := m.begun(c, prefix); ok || err != nil {
		return answerOr(c, id, err)
	}
	cmd.OfferID = market.SubscriptionID(prefix, market.Content{
		Properties: properties, Constraints: constraints, Owner: caller.Node, Created: now, Expires: cmd.Expires,
	})
	if _, err := m.Offers.Do(ctx, cmd.OfferID, cmd, metaOf(c, cmd.OfferID, "")); err != nil {
		return err
	}
	m.warn("offer", cmd.OfferID, constraints)
	return answer(c, http.StatusCreated, cmd.OfferID)
}

// warn tells the operator of constraints that nobody can read. They are taken, as
// clients expect, and match nothing.
func (m *marketAPI) warn(what, id, constraints string) {
	if _, err := props.Parse(constraints); err != nil {
		m.Logger.Warn("constraints cannot be read: nothing will match", what, id, "constraints", constraints, "error", err)
	}
}

// begun finds what an earlier try of the same request published. The id cannot
// be made again, since it is a hash over the time.
func (m *marketAPI) begun(c echo.Context, prefix string) (id string, ok bool, err error) {
	if c.Request().Header.Get(idempotencyHeader) == "" {
		return "", false, nil
	}
	ctx := c.Request().Context()
	row, ok, err := m.Views.SubscriptionBegun(ctx, keyOf(ctx).Identity, prefix)
	return row.ID, ok, err
}

func answerOr(c echo.Context, id string, err error) error {
	if err != nil {
		return err
	}
	return answer(c, http.StatusCreated, id)
}

// ListDemands lists the caller's live demands.
func (m *marketAPI) ListDemands(c echo.Context) error {
	ctx := c.Request().Context()
	rows, err := m.Views.Subscriptions(ctx, projections.Demands, keyOf(ctx).Identity)
	if err != nil {
		return err
	}
	out := make([]gen.Demand, 0, len(rows))
	for _, r := range rows {
		if r.Expires.After(m.now()) {
			out = append(out, gen.Demand{
				Properties: gen.Properties(r.Properties), Constraints: r.Constraints,
				DemandId: r.ID, RequestorId: string(r.Owner), Timestamp: dto.At(r.Created),
			})
		}
	}
	return list(c, out)
}

// ListOffers lists the caller's live offers.
func (m *marketAPI) ListOffers(c echo.Context) error {
	ctx := c.Request().Context()
	rows, err := m.Views.Subscriptions(ctx, projections.Offers, keyOf(ctx).Identity)
	if err != nil {
		return err
	}
	out := make([]gen.Offer, 0, len(rows))
	for _, r := range rows {
		if r.Expires.After(m.now()) {
			out = append(out, gen.Offer{
				Properties: gen.Properties(r.Properties), Constraints: r.Constraints,
				OfferId: r.ID, ProviderId: string(r.Owner), Timestamp: dto.At(r.Created),
			})
		}
	}
	return list(c, out)
}

// UnsubscribeDemand takes a demand back. Polls that wait for its events end
// with 404.
func (m *marketAPI) UnsubscribeDemand(c echo.Context) error {
	ctx := c.Request().Context()
	id, err := market.ParseSubscriptionID(c.Param("subscriptionId"))
	if err != nil {
		return err
	}
	cmd := demand.Withdraw{At: time.Now().UTC(), By: callerOf(ctx), DemandID: id, Why: "unsubscribed"}
	if _, err := m.Demands.Do(ctx, id, cmd, metaOf(c, id, "")); err != nil {
		return err
	}
	m.mail.close(id)
	return nothing(c)
}

// UnsubscribeOffer takes an offer back.
func (m *marketAPI) UnsubscribeOffer(c echo.Context) error {
	ctx := c.Request().Context()
	id, err := market.ParseSubscriptionID(c.Param("subscriptionId"))
	if err != nil {
		return err
	}
	cmd := offer.Withdraw{At: time.Now().UTC(), By: callerOf(ctx), OfferID: id, Why: "unsubscribed"}
	if _, err := m.Offers.Do(ctx, id, cmd, metaOf(c, id, "")); err != nil {
		return err
	}
	return nothing(c)
}

// gone is what a poll for a subscription that does not live is answered with.
func gone(id string, expired bool) error {
	text := fmt.Sprintf("Subscription [%s] not found. Could be unsubscribed.", id)
	if expired {
		text = fmt.Sprintf("Subscription [%s] expired.", id)
	}
	return problem(http.StatusNotFound, "%s", text)
}
