package order

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
)

// Rules say what may happen to an order, and what it then is.
var Rules = es.Decider[Command, Event, State]{Decide: decide, Evolve: evolve}

// Refusals.
var (
	ErrUnknown   = errors.New("there is no such order")
	ErrExists    = errors.New("another order has this id")
	ErrCompleted = errors.New("the order is completed")
	ErrIntent    = errors.New("not a payment that can be made")
	ErrUnbatched = errors.New("some intents of the order are in no batch")
)

// State is where one order stands.
type State struct {
	ID        string // "" = there is none
	ChainID   uint64
	CycleID   string
	PayerAddr string
	PayerID   identity.NodeID
	Platform  payment.Platform
	Total     money.Amount
	Completed bool
	Intents   []IntentRecorded
	Batches   []BatchSealed // returned ones too

	batchOf map[string]string // live batch by intent
}

// Intent returns an intent by id.
func (s State) Intent(id string) (IntentRecorded, bool) {
	i := slices.IndexFunc(s.Intents, func(x IntentRecorded) bool { return x.IntentID == id })
	if i < 0 {
		return IntentRecorded{}, false
	}
	return s.Intents[i], true
}

// Batch returns a batch by id.
func (s State) Batch(id string) (BatchSealed, bool) {
	i := slices.IndexFunc(s.Batches, func(x BatchSealed) bool { return x.BatchID == id })
	if i < 0 {
		return BatchSealed{}, false
	}
	return s.Batches[i], true
}

func evolve(s State, e Event) State {
	switch e := e.(type) {
	case Opened:
		return State{
			ID: e.OrderID, ChainID: e.ChainID, CycleID: e.CycleID, PayerAddr: e.PayerAddr, PayerID: e.PayerID,
			Platform: e.Platform, Total: e.Total,
		}
	case IntentRecorded:
		s.Intents = append(slices.Clip(s.Intents), e)
	case BatchSealed:
		s.Batches = append(slices.Clip(s.Batches), e)
		s.batchOf = maps.Clone(s.batchOf)
		if s.batchOf == nil {
			s.batchOf = make(map[string]string)
		}
		for _, id := range e.Intents {
			s.batchOf[id] = e.BatchID
		}
	case TransferAdopted:
		s.batchOf = maps.Clone(s.batchOf)
		if s.batchOf == nil {
			s.batchOf = make(map[string]string)
		}
		s.batchOf[e.IntentID] = "adopted/" + e.TxHash
	case BatchReturned:
		s.batchOf = maps.Clone(s.batchOf)
		maps.DeleteFunc(s.batchOf, func(_, batch string) bool { return batch == e.BatchID })
	case Completed:
		s.Completed = true
	}
	return s
}

func decide(s State, c Command) ([]Event, error) {
	if _, first := c.(Open); !first && s.ID == "" {
		return nil, ErrUnknown
	}
	switch c := c.(type) {
	case Open:
		return open(s, c)
	case SealBatch:
		return seal(s, c)
	case Adopt:
		return adopt(s, c)
	case ReturnBatch:
		if live := slices.ContainsFunc(s.Intents, func(i IntentRecorded) bool { return s.batchOf[i.IntentID] == c.BatchID }); !live {
			return nil, nil
		}
		return []Event{BatchReturned{BatchID: c.BatchID, OrderID: s.ID, Why: c.Why}}, nil
	case Complete:
		if s.Completed {
			return nil, nil
		}
		if len(s.batchOf) < len(s.Intents) {
			return nil, ErrUnbatched
		}
		return []Event{Completed{OrderID: s.ID}}, nil
	}
	return nil, es.ErrWrongCommand
}

func adopt(s State, c Adopt) ([]Event, error) {
	adopted := "adopted/" + c.TxHash
	switch _, ok := s.Intent(c.IntentID); {
	case !ok:
		return nil, fmt.Errorf("%w: %q is unknown", ErrIntent, c.IntentID)
	case s.batchOf[c.IntentID] == adopted:
		return nil, nil
	case s.batchOf[c.IntentID] != "":
		return nil, fmt.Errorf("%w: %q is in a batch already", ErrIntent, c.IntentID)
	}
	return []Event{TransferAdopted{Block: c.Block, IntentID: c.IntentID, OrderID: s.ID, TxHash: c.TxHash}}, nil
}

// PaymentID is the payment of an intent as peers and REST see it: the first 32
// of its 64 hexadecimal digits. An id that is shorter has none: "".
func PaymentID(intentID string) string {
	if len(intentID) < 32 {
		return ""
	}
	return intentID[:32]
}

func open(s State, c Open) ([]Event, error) {
	if s.ID != "" {
		if s.ID == c.OrderID {
			return nil, nil
		}
		return nil, ErrExists
	}
	var (
		total   money.Amount
		intents []Event
		seen    = make(map[string]bool)
	)
	for _, i := range c.Intents {
		amount := payment.Total(i.Ranges)
		if len(i.ID) != 64 || seen[i.ID] || amount.Sign() <= 0 {
			return nil, fmt.Errorf("%w: intent %q of %s", ErrIntent, i.ID, amount)
		}
		seen[i.ID] = true
		total = total.Add(amount)
		intents = append(intents, IntentRecorded{
			Amount: amount, IntentID: i.ID, OrderID: c.OrderID, PayeeAddr: i.PayeeAddr, PaymentID: PaymentID(i.ID), Ranges: i.Ranges,
		})
	}
	if len(intents) == 0 {
		return nil, fmt.Errorf("%w: an order needs at least one", ErrIntent)
	}
	return append([]Event{Opened{
		ChainID: c.ChainID, CycleID: c.CycleID, OrderID: c.OrderID, PayerAddr: c.PayerAddr, PayerID: c.PayerID,
		Platform: c.Platform, Total: total,
	}}, intents...), nil
}

func seal(s State, c SealBatch) ([]Event, error) {
	if _, ok := s.Batch(c.BatchID); ok {
		return nil, nil
	}
	if s.Completed {
		return nil, ErrCompleted
	}
	if len(c.Intents) == 0 {
		return nil, fmt.Errorf("%w: a batch needs at least one intent", ErrIntent)
	}
	for i, id := range c.Intents {
		if _, ok := s.Intent(id); !ok || s.batchOf[id] != "" || slices.Contains(c.Intents[:i], id) {
			return nil, fmt.Errorf("%w: %q is unknown or in a batch already", ErrIntent, id)
		}
	}
	return []Event{BatchSealed{
		BatchID: c.BatchID, Calldata: c.Calldata, Intents: c.Intents, Nonce: c.Nonce, OrderID: s.ID, To: c.To, Value: c.Value,
	}}, nil
}
