package ledger

import (
	"encoding/json"

	"github.com/emet-node/emet/domain/money"
)

// savedBooks is the written form of what [Books] remembers.
type savedBooks struct {
	Allocations map[string]savedFund    `json:"allocations"`
	Earned      map[string]savedEarning `json:"earned"`
	Purses      map[string]savedPurse   `json:"purses"`
}

type savedPurse struct {
	Available money.Amount `json:"available"`
	Held      money.Amount `json:"held"`
	Shortfall money.Amount `json:"shortfall"`
}

type savedFund struct {
	Total  money.Amount `json:"total"`
	Wallet string       `json:"wallet"`
}

type savedEarning struct {
	Accepted   money.Amount            `json:"accepted"`
	Activities map[string]money.Amount `json:"activities"`
	Paid       money.Amount            `json:"paid"`
	Recognised money.Amount            `json:"recognised"`
}

// MarshalJSON writes what the books remember, so that they can go on later
// without hearing everything again.
func (b *Books) MarshalJSON() ([]byte, error) {
	out := savedBooks{
		Allocations: make(map[string]savedFund, len(b.allocations)), Earned: make(map[string]savedEarning, len(b.earned)),
		Purses: make(map[string]savedPurse, len(b.purses)),
	}
	for id, f := range b.allocations {
		out.Allocations[id] = savedFund{Total: f.total, Wallet: f.wallet}
	}
	for id, e := range b.earned {
		out.Earned[id] = savedEarning{Accepted: e.accepted, Activities: e.activities, Paid: e.paid, Recognised: e.recognised}
	}
	for id, p := range b.purses {
		out.Purses[id] = savedPurse{Available: p.available, Held: p.held, Shortfall: p.shortfall}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (b *Books) UnmarshalJSON(text []byte) error {
	var in savedBooks
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	*b = Books{purses: make(map[string]*purse, len(in.Purses)), allocations: make(map[string]fund, len(in.Allocations)), earned: make(map[string]*earning, len(in.Earned))}
	for id, f := range in.Allocations {
		b.allocations[id] = fund{wallet: f.Wallet, total: f.Total}
	}
	for id, e := range in.Earned {
		if e.Activities == nil {
			e.Activities = make(map[string]money.Amount)
		}
		b.earned[id] = &earning{recognised: e.Recognised, accepted: e.Accepted, paid: e.Paid, activities: e.Activities}
	}
	for id, p := range in.Purses {
		b.purses[id] = &purse{available: p.Available, shortfall: p.Shortfall, held: p.Held}
	}
	return nil
}
