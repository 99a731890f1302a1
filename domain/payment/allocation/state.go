package allocation

import (
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/internal/pmap"
)

// State is where one allocation stands.
type State struct {
	ID           string // "" = there is none
	Address      string
	AppSessionID string
	ChainID      uint64
	OwnerID      identity.NodeID
	Platform     payment.Platform
	Timeout      time.Time
	Closed       bool // released or expired

	Total     money.Amount // the budget, also after it was closed: what was committed then
	Committed money.Amount // taken by acceptances; clients know it as "spent"
	Paid      money.Amount // of it, final on the chain

	spent       pmap.Map[struct{}] // intents
	expenditure pmap.Map[Expenditure]
}

// Expenditure is what one debt took from the allocation.
type Expenditure struct {
	ActivityID  string // "" = the invoice of the agreement
	AgreementID string
	Accepted    money.Amount
}

// Active says whether money can be taken.
func (s State) Active() bool { return s.ID != "" && !s.Closed }

// Remaining is what can still be taken.
func (s State) Remaining() money.Amount { return s.Total.Sub(s.Committed) }

// Expenditures are what was taken, in no useful order.
func (s State) Expenditures() []Expenditure {
	out := make([]Expenditure, 0, s.expenditure.Len())
	for _, e := range s.expenditure.All() {
		out = append(out, e)
	}
	return out
}

func evolve(s State, e Event) State {
	switch e := e.(type) {
	case Created:
		return State{
			ID: e.AllocationID, Address: e.Address, AppSessionID: e.AppSessionID, ChainID: e.ChainID,
			OwnerID: e.OwnerID, Platform: e.Platform, Timeout: e.Timeout, Total: e.Total,
		}
	case Amended:
		s.Total, s.Timeout = e.Total, e.Timeout
	case Committed:
		s.Committed = s.Committed.Add(e.Delta)
		key := e.AgreementID + "/" + e.ActivityID
		x, _ := s.expenditure.Get(key)
		x.ActivityID, x.AgreementID, x.Accepted = e.ActivityID, e.AgreementID, x.Accepted.Add(e.Delta)
		s.expenditure = s.expenditure.Set(key, x)
	case Spent:
		s.Paid = s.Paid.Add(e.Delta)
		s.spent = s.spent.Set(e.IntentID, struct{}{})
	case Released, Expired:
		s.Closed, s.Total = true, s.Committed
	}
	return s
}
