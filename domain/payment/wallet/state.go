package wallet

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/internal/pmap"
)

// State is where one wallet stands.
type State struct {
	Address  string // "" = not in use
	ChainID  uint64
	OwnerID  identity.NodeID
	Platform payment.Platform

	Observed  bool         // the chain was asked at least once
	Block     uint64       // of the last observation
	Token     money.Amount // as observed, less what was spent since
	Native    money.Amount
	Held      money.Amount // by allocations: reserved and committed
	NextNonce uint64       // to be given out
	Suspended string       // why, "" = not
	Foreign   bool         // the chain knows of transactions that the log does not

	Health string // JSON array

	chainNonce uint64             // as observed
	used       bool               // a nonce was given out
	batches    pmap.Map[uint64]   // nonce by batch
	spent      pmap.Map[struct{}] // intent/allocation
	learned    pmap.Map[struct{}] // transaction/log
	holdings   pmap.Map[money.Amount]
	allowances map[string]money.Amount
	funding    []string // open requests
}

// Available is what a new allocation could get: what is on the chain less what
// allocations hold, whether accepted already or not.
func (s State) Available() money.Amount { return s.Token.Sub(s.Held) }

// Holding is what one allocation holds.
func (s State) Holding(allocationID string) money.Amount {
	a, _ := s.holdings.Get(allocationID)
	return a
}

// NonceOf is the nonce of a batch.
func (s State) NonceOf(batchID string) (uint64, bool) { return s.batches.Get(batchID) }

// Allowance is how much a contract may take, as last observed.
func (s State) Allowance(spender string) money.Amount { return s.allowances[spender] }

func evolve(s State, e Event) State {
	switch e := e.(type) {
	case Opened:
		s.Address, s.ChainID, s.OwnerID, s.Platform = e.Address, e.ChainID, e.OwnerID, e.Platform
	case FundsObserved:
		s.Observed, s.Block, s.Token, s.Native, s.chainNonce = true, e.Block, e.Token, e.Native, e.Nonce
		if !s.used {
			s.NextNonce = e.Nonce
		}
	case FundsReserved:
		s = s.hold(e.AllocationID, e.Amount)
	case FundsReturned:
		s = s.hold(e.AllocationID, e.Amount.Neg())
	case FundsSpent:
		s = s.hold(e.AllocationID, e.Amount.Neg())
		if e.Block > s.Block { // the transfer is not in the observed balance yet
			s.Token = s.Token.Sub(e.Amount)
		}
		s.spent = s.spent.Set(e.IntentID+"/"+e.AllocationID, struct{}{})
	case NonceReserved:
		s.used, s.NextNonce = true, e.Nonce+1
		s.batches = s.batches.Set(e.BatchID, e.Nonce)
	case AllowanceObserved:
		s.allowances = maps.Clone(s.allowances)
		if s.allowances == nil {
			s.allowances = make(map[string]money.Amount)
		}
		s.allowances[e.Spender] = e.Allowance
	case HealthChanged:
		s.Health = e.Properties
	case ForeignNonceSeen:
		s.Foreign = true
	case TransferLearned:
		s.learned = s.learned.Set(e.ref(), struct{}{})
	case SpendingSuspended:
		s.Suspended = e.Why
	case SpendingResumed:
		s.Suspended, s.Foreign, s.NextNonce = "", false, e.NextNonce
	case FundRequested:
		s.funding = append(slices.Clone(s.funding), e.RequestID)
	case Funded:
		s.funding = without(s.funding, e.RequestID)
	case FundFailed:
		s.funding = without(s.funding, e.RequestID)
	}
	return s
}

// ref names a transfer.
func (t TransferLearned) ref() string {
	return fmt.Sprintf("%s/%d", strings.ToLower(t.TxHash), t.Index)
}

// Used says whether a nonce was ever given out here.
func (s State) Used() bool { return s.used }

// ChainNonce is the next nonce that the chain expected when it was asked last.
func (s State) ChainNonce() uint64 { return s.chainNonce }

func (s State) hold(allocationID string, delta money.Amount) State {
	s.Held = s.Held.Add(delta)
	s.holdings = s.holdings.Set(allocationID, s.Holding(allocationID).Add(delta))
	return s
}

func without(list []string, id string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(x string) bool { return x == id })
}
