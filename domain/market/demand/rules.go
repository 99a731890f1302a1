package demand

import (
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
)

// Rules of a demand.
var Rules = es.Decider[Command, Event, State]{Decide: decide, Evolve: evolve}

func decide(s State, c Command) ([]Event, error) {
	switch c := c.(type) {
	case Publish:
		return publish(s, c)
	case Withdraw:
		return withdraw(s, c)
	case Expire:
		if s.Exists() && !s.Withdrawn && !s.Expired && !s.Expires.After(c.At) {
			return []Event{Expired{DemandID: s.DemandID}}, nil
		}
		return nil, nil
	}
	return nil, es.ErrWrongCommand
}

func publish(s State, c Publish) ([]Event, error) {
	content := market.Content{Properties: c.Properties, Constraints: c.Constraints, Owner: c.Requestor, Created: c.Created, Expires: c.Expires}
	if err := market.CheckPublishing(c.By, identity.Requestor, "Demand", s.DemandID, c.DemandID, content); err != nil {
		return nil, err
	}
	return []Event{Published{
		Constraints: c.Constraints, Created: c.Created.UTC(), Expires: c.Expires.UTC(), DemandID: c.DemandID,
		Properties: c.Properties, Requestor: c.Requestor, Session: c.Session,
	}}, nil
}

func withdraw(s State, c Withdraw) ([]Event, error) {
	if c.By.MayAct(s.Requestor, identity.Requestor) != nil || !s.Live(c.At) {
		return nil, market.Errorf(market.ErrNoSubscription, "Demand [%s] not found.", c.DemandID)
	}
	return []Event{Withdrawn{DemandID: s.DemandID, Why: c.Why}}, nil
}
