package inbox

import (
	"github.com/emet-node/emet/domain/es"
)

// Rules of an inbox.
var Rules = es.Decider[Command, Event, State]{Decide: decide, Evolve: evolve}

func decide(s State, c Command) ([]Event, error) {
	d, ok := c.(Deliver)
	if !ok {
		return nil, es.ErrWrongCommand
	}
	if err := d.By.MayAct(d.Owner, d.Side); err != nil {
		return nil, err
	}
	fresh := s.Fresh(d.Refs)
	if len(fresh) == 0 {
		return nil, nil
	}
	return []Event{Delivered{Refs: fresh, Subscription: d.Subscription}}, nil
}
