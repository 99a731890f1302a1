package allocation

import (
	"errors"
	"fmt"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
)

// Rules say what may happen to an allocation, and what it then is.
var Rules = es.Decider[Command, Event, State]{Decide: decide, Evolve: evolve}

// Refusals.
var (
	ErrUnknown    = errors.New("there is no such allocation")
	ErrReleased   = errors.New("the allocation is released")
	ErrBelowSpent = errors.New("New allocation would be smaller than the already spent amount") //nolint:staticcheck // clients show this sentence
	ErrTooEarly   = errors.New("the timeout of the allocation is still to come")
	ErrAmount     = errors.New("the amount of an allocation must not be negative")
	ErrExists     = errors.New("another allocation has this id")
)

// TimeoutPassed says that an allocation would end before it begins.
type TimeoutPassed struct{ Requested time.Time }

func (e *TimeoutPassed) Error() string {
	return fmt.Sprintf("allocation timeout %s is in the past", e.Requested.Format(time.RFC3339))
}

// NotEnough says that a document costs more than the allocation has left.
type NotEnough struct {
	AllocationID      string
	Remaining, Needed money.Amount
}

func (e *NotEnough) Error() string {
	return fmt.Sprintf("Not enough funds. Allocated: %s Needed: %s", e.Remaining, e.Needed)
}

func decide(s State, c Command) ([]Event, error) {
	if _, first := c.(Create); !first && s.ID == "" {
		return nil, ErrUnknown
	}
	switch c := c.(type) {
	case Create:
		return create(s, c)
	case Amend:
		return amend(s, c)
	case Commit:
		return commit(s, c)
	case Spend:
		return spend(s, c)
	case Release:
		if err := c.By.MayAct(s.OwnerID, identity.Requestor); err != nil {
			return nil, err
		}
		if s.Closed {
			return nil, ErrReleased
		}
		return []Event{Released{AllocationID: s.ID, Returned: s.Remaining()}}, nil
	case Expire:
		return expire(s, c)
	}
	return nil, es.ErrWrongCommand
}

func create(s State, c Create) ([]Event, error) {
	if err := c.By.MayAct(c.OwnerID, identity.Requestor); err != nil {
		return nil, err
	}
	switch {
	case s.ID != "":
		return nil, ErrExists
	case c.Total.Sign() < 0:
		return nil, ErrAmount
	case !c.Timeout.After(c.At):
		return nil, &TimeoutPassed{Requested: c.Timeout}
	}
	return []Event{Created{
		Address: c.Address, AllocationID: c.AllocationID, AppSessionID: c.AppSessionID, ChainID: c.ChainID,
		OwnerID: c.OwnerID, Platform: c.Platform, Timeout: c.Timeout.UTC(), Total: c.Total,
	}}, nil
}

func amend(s State, c Amend) ([]Event, error) {
	if err := c.By.MayAct(s.OwnerID, identity.Requestor); err != nil {
		return nil, err
	}
	if s.Closed {
		return nil, ErrReleased
	}
	out := Amended{AllocationID: s.ID, Timeout: s.Timeout, Total: s.Total}
	if c.Total != nil {
		out.Total = *c.Total
	}
	if !c.Timeout.IsZero() {
		if !c.Timeout.After(c.At) {
			return nil, &TimeoutPassed{Requested: c.Timeout}
		}
		out.Timeout = c.Timeout.UTC()
	}
	if out.Total.Less(s.Committed) {
		return nil, ErrBelowSpent
	}
	if out.Total.Equal(s.Total) && out.Timeout.Equal(s.Timeout) {
		return nil, nil
	}
	return []Event{out}, nil
}

func commit(s State, c Commit) ([]Event, error) {
	switch {
	case s.Closed:
		return nil, ErrReleased
	case c.Delta.Sign() < 0:
		return nil, ErrAmount
	case c.Delta.IsZero():
		return nil, nil
	case s.Remaining().Less(c.Delta):
		return nil, &NotEnough{AllocationID: s.ID, Remaining: s.Remaining(), Needed: c.Delta}
	}
	return []Event{Committed{
		ActivityID: c.ActivityID, AgreementID: c.AgreementID, AllocationID: s.ID, Delta: c.Delta,
		DocumentID: c.DocumentID, Kind: c.Kind,
	}}, nil
}

// ErrOverspent says that more would be paid than was ever committed. It is a
// bug wherever it appears.
var ErrOverspent = errors.New("more is paid from the allocation than was committed")

func spend(s State, c Spend) ([]Event, error) {
	if _, ok := s.spent.Get(c.IntentID); ok || c.Delta.IsZero() {
		return nil, nil // said twice, true once
	}
	if s.Committed.Less(s.Paid.Add(c.Delta)) {
		return nil, fmt.Errorf("%w: committed %s, paid %s, asked for %s", ErrOverspent, s.Committed, s.Paid, c.Delta)
	}
	return []Event{Spent{AllocationID: s.ID, Delta: c.Delta, IntentID: c.IntentID}}, nil
}

func expire(s State, c Expire) ([]Event, error) {
	switch {
	case s.Closed:
		return nil, nil
	case c.At.Before(s.Timeout):
		return nil, ErrTooEarly
	}
	return []Event{Expired{AllocationID: s.ID, Returned: s.Remaining()}}, nil
}
