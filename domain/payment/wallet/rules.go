package wallet

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
)

// Rules say what may happen to a wallet, and what it then is.
var Rules = es.Decider[Command, Event, State]{Decide: decide, Evolve: evolve}

// Refusals.
var (
	ErrUnknown     = errors.New("the wallet is not in use")
	ErrNotObserved = errors.New("the chain was not asked about this wallet yet")
	ErrSuspended   = errors.New("spending from this wallet is suspended")
	ErrHolding     = errors.New("the allocation does not hold that much of the wallet")
)

// InsufficientFunds says that an allocation asks for more than is there.
type InsufficientFunds struct {
	Requested money.Amount
	Available money.Amount // on the chain, not held by allocations
	Reserved  money.Amount // held by allocations
}

func (e *InsufficientFunds) Error() string {
	return fmt.Sprintf("insufficient funds: requested %s, available %s, reserved by other allocations %s",
		e.Requested, e.Available, e.Reserved)
}

func decide(s State, c Command) ([]Event, error) {
	if _, first := c.(Open); !first && s.Address == "" {
		return nil, ErrUnknown
	}
	switch c := c.(type) {
	case Open:
		return open(s, c)
	case Observe:
		return observe(s, c)
	case Reserve:
		return reserve(s, c)
	case Return:
		if s.Holding(c.AllocationID).Less(c.Amount) || c.Amount.Sign() < 0 {
			return nil, ErrHolding
		}
		if c.Amount.IsZero() {
			return nil, nil
		}
		return []Event{FundsReturned{Address: s.Address, AllocationID: c.AllocationID, Amount: c.Amount, ChainID: s.ChainID}}, nil
	case Spend:
		return spend(s, c)
	case ReserveNonce:
		return reserveNonce(s, c)
	case ObserveAllowance:
		spender := strings.ToLower(c.Spender)
		if have, ok := s.allowances[spender]; ok && have.Equal(c.Allowance) {
			return nil, nil
		}
		return []Event{AllowanceObserved{Address: s.Address, Allowance: c.Allowance, Block: c.Block, ChainID: s.ChainID, Spender: spender}}, nil
	case ReportHealth:
		if c.Properties == s.Health || s.Health == "" && c.Properties == "[]" {
			return nil, nil
		}
		return []Event{HealthChanged{Address: s.Address, ChainID: s.ChainID, Properties: c.Properties}}, nil
	case Learn:
		return learn(s, c), nil
	case Suspend:
		if s.Suspended != "" {
			return nil, nil
		}
		return []Event{SpendingSuspended{Address: s.Address, ChainID: s.ChainID, Why: c.Why}}, nil
	case Resume:
		return resume(s, c)
	case Fund:
		return fund(s, c)
	case AnswerFund:
		return answerFund(s, c)
	}
	return nil, es.ErrWrongCommand
}

func open(s State, c Open) ([]Event, error) {
	if err := c.By.MayAct(c.OwnerID, identity.Requestor); err != nil {
		if err := c.By.MayAct(c.OwnerID, identity.Provider); err != nil {
			return nil, err
		}
	}
	if s.Address != "" {
		return nil, nil
	}
	return []Event{Opened{Address: strings.ToLower(c.Address), ChainID: c.ChainID, OwnerID: c.OwnerID, Platform: c.Platform}}, nil
}

func observe(s State, c Observe) ([]Event, error) {
	unknown := c.Unrecorded || s.used && c.Nonce > s.NextNonce
	same := c.Native.Equal(s.Native) && c.Token.Equal(s.Token) && c.Nonce == s.chainNonce
	if s.Observed && (c.Block < s.Block || same && (!unknown || s.Suspended != "")) {
		return nil, nil
	}
	facts := []Event{FundsObserved{
		Address: s.Address, Block: c.Block, ChainID: s.ChainID, Native: c.Native, Nonce: c.Nonce, Token: c.Token,
	}}
	if unknown && s.Suspended == "" {
		facts = append(facts,
			ForeignNonceSeen{Address: s.Address, ChainID: s.ChainID, Expected: s.NextNonce, Seen: c.Nonce},
			SpendingSuspended{Address: s.Address, ChainID: s.ChainID, Why: "another node sent transactions with this key"})
	}
	return facts, nil
}

func reserve(s State, c Reserve) ([]Event, error) {
	switch {
	case c.Amount.IsZero():
		return nil, nil
	case c.Unchecked:
	case !s.Observed:
		return nil, ErrNotObserved
	case s.Available().Less(c.Amount):
		return nil, &InsufficientFunds{
			Requested: c.Amount, Available: s.Available().Max(money.Amount{}), Reserved: s.Held,
		}
	}
	return []Event{FundsReserved{Address: s.Address, AllocationID: c.AllocationID, Amount: c.Amount, ChainID: s.ChainID}}, nil
}

func spend(s State, c Spend) ([]Event, error) {
	if _, ok := s.spent.Get(c.IntentID + "/" + c.AllocationID); ok || c.Amount.IsZero() {
		return nil, nil
	}
	if s.Holding(c.AllocationID).Less(c.Amount) {
		return nil, ErrHolding
	}
	return []Event{FundsSpent{
		Address: s.Address, AllocationID: c.AllocationID, Amount: c.Amount, Block: c.Block, ChainID: s.ChainID, IntentID: c.IntentID,
	}}, nil
}

func reserveNonce(s State, c ReserveNonce) ([]Event, error) {
	if _, ok := s.batches.Get(c.BatchID); ok {
		return nil, nil
	}
	switch {
	case s.Suspended != "":
		return nil, fmt.Errorf("%w: %s", ErrSuspended, s.Suspended)
	case !s.Observed:
		return nil, ErrNotObserved
	}
	return []Event{NonceReserved{Address: s.Address, BatchID: c.BatchID, ChainID: s.ChainID, Nonce: s.NextNonce, OrderID: c.OrderID}}, nil
}

func learn(s State, c Learn) (facts []Event) {
	for _, t := range c.Transfers {
		if _, known := s.learned.Get(t.ref()); known || t.Amount.Sign() <= 0 {
			continue
		}
		t.Address, t.ChainID, t.Platform, t.PayeeAddr = s.Address, s.ChainID, s.Platform, strings.ToLower(t.PayeeAddr)
		facts = append(facts, t)
		s = evolve(s, t)
	}
	return facts
}

func resume(s State, c Resume) ([]Event, error) {
	if err := c.By.MayAct(s.OwnerID, identity.Requestor); err != nil {
		return nil, err
	}
	if s.Suspended == "" {
		return nil, nil
	}
	return []Event{SpendingResumed{Address: s.Address, ChainID: s.ChainID, NextNonce: max(s.NextNonce, s.chainNonce)}}, nil
}

func fund(s State, c Fund) ([]Event, error) {
	if err := c.By.MayAct(s.OwnerID, identity.Requestor); err != nil {
		return nil, err
	}
	if slices.Contains(s.funding, c.RequestID) {
		return nil, nil
	}
	return []Event{FundRequested{Address: s.Address, ChainID: s.ChainID, Platform: s.Platform, RequestID: c.RequestID}}, nil
}

func answerFund(s State, c AnswerFund) ([]Event, error) {
	switch {
	case !slices.Contains(s.funding, c.RequestID):
		return nil, nil
	case c.Failure != "":
		return []Event{FundFailed{Address: s.Address, ChainID: s.ChainID, RequestID: c.RequestID, Why: c.Failure}}, nil
	}
	return []Event{Funded{Address: s.Address, ChainID: s.ChainID, RequestID: c.RequestID, Text: c.Text}}, nil
}
