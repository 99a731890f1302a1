package usage

import (
	"errors"
	"fmt"

	"github.com/emet-node/emet/domain/activity"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
)

// Rules say what may be recorded about usage: readings that go forward in
// time, each with as many counters as the first, and nothing after the last.
var Rules = es.Decider[Command, Event, State]{Decide: decide, Evolve: evolve}

// ErrVector says that a reading does not fit the agreement's counters.
var ErrVector = errors.New("usage vector does not fit")

func decide(s State, c Command) ([]Event, error) {
	switch c := c.(type) {
	case Sample:
		fresh, err := mayAdd(s, c.By, c.ActivityID, c.Vector, c.Names)
		if err != nil || !fresh || !c.At.After(s.At) {
			return nil, err
		}
		return []Event{Sampled{ActivityID: c.ActivityID, At: c.At.UTC(), Names: c.Names, Source: c.Source, Split: c.Split, Vector: c.Vector}}, nil
	case Finalise:
		fresh, err := mayAdd(s, c.By, c.ActivityID, c.Vector, c.Names)
		if err != nil || !fresh {
			return nil, err
		}
		return []Event{Finalised{ActivityID: c.ActivityID, At: c.At.UTC(), Names: c.Names, Source: c.Source, Split: c.Split, Vector: c.Vector}}, nil
	}
	return nil, fmt.Errorf("%T: %w", c, es.ErrWrongCommand)
}

// mayAdd says whether a reading is welcome and still new. Only the node's own
// parts give readings; what a provider tells comes in through an effect.
func mayAdd(s State, by identity.Caller, id, vector string, names []string) (fresh bool, err error) {
	switch by.Actor {
	case es.ActorExeUnit, es.ActorEffect, es.ActorSaga, es.ActorImport:
	default:
		return false, fmt.Errorf("%w: usage is counted by the exe-unit, not by a %s", identity.ErrForbidden, by.Actor)
	}
	if err := activity.CheckID(id); err != nil {
		return false, err
	}
	numbers, err := ParseVector(vector)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrVector, err)
	}
	if len(names) > 0 && len(names) != len(numbers) {
		return false, fmt.Errorf("%w: %d numbers for %d counters", ErrVector, len(numbers), len(names))
	}
	if s.Samples == 0 || s.Final {
		return !s.Final, nil
	}
	if before, err := ParseVector(s.Vector); err == nil && len(before) != len(numbers) {
		return false, fmt.Errorf("%w: %d numbers, %d before", ErrVector, len(numbers), len(before))
	}
	return true, nil
}
