package offer

import (
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
)

// Rules of an offer.
var Rules = es.Decider[Command, Event, State]{Decide: decide, Evolve: evolve}

func decide(s State, c Command) ([]Event, error) {
	switch c := c.(type) {
	case Publish:
		return publish(s, c)
	case Withdraw:
		return withdraw(s, c)
	case Expire:
		if s.Exists() && !s.Withdrawn && !s.Expired && !s.Expires.After(c.At) {
			return []Event{Expired{OfferID: s.OfferID}}, nil
		}
		return nil, nil
	}
	return nil, es.ErrWrongCommand
}

func publish(s State, c Publish) ([]Event, error) {
	content := market.Content{Properties: c.Properties, Constraints: c.Constraints, Owner: c.Provider, Created: c.Created, Expires: c.Expires}
	if err := market.CheckPublishing(c.By, identity.Provider, "Offer", s.OfferID, c.OfferID, content); err != nil {
		return nil, err
	}
	return []Event{Published{
		Constraints: c.Constraints, Created: c.Created.UTC(), Expires: c.Expires.UTC(), OfferID: c.OfferID,
		Preset: c.Preset, Properties: c.Properties, Provider: c.Provider, Session: c.Session,
	}}, nil
}

func withdraw(s State, c Withdraw) ([]Event, error) {
	if !s.Exists() {
		return nil, market.Errorf(market.ErrNoSubscription, "Offer [%s] not found.", c.OfferID)
	}
	if err := c.By.MayAct(s.Provider, identity.Provider); err != nil {
		return nil, err
	}
	if s.Withdrawn {
		return nil, market.Errorf(market.ErrUnsubscribed, "Offer [%s] already unsubscribed.", s.OfferID)
	}
	if !s.Live(c.At) {
		return nil, market.Errorf(market.ErrExpired, "Can't unsubscribe expired Offer [%s].", s.OfferID)
	}
	return []Event{Withdrawn{OfferID: s.OfferID, Why: c.Why}}, nil
}
