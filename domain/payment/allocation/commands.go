package allocation

import (
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
)

// A Command is a wish about one allocation. Create, Amend, Release and Expire
// also move funds of the wallet and are given through package ops.
//
//sumtype:decl
type Command interface{ allocationCommand() }

// Create sets a budget aside. A Timeout that has passed is [*TimeoutPassed].
type Create struct {
	Address      string
	AllocationID string
	AppSessionID string
	At           time.Time
	By           identity.Caller
	ChainID      uint64
	OwnerID      identity.NodeID
	Platform     payment.Platform
	Timeout      time.Time
	Total        money.Amount
}

// Amend changes the budget, its end, or both. A Total below what was committed
// is [ErrBelowSpent].
type Amend struct {
	At      time.Time
	By      identity.Caller
	Timeout time.Time     // zero = as it was
	Total   *money.Amount // nil = as it was
}

// Commit takes Delta for an accepted document. More than what is left is
// [*NotEnough].
type Commit struct {
	ActivityID  string
	AgreementID string
	Delta       money.Amount
	DocumentID  string
	Kind        payment.Kind
}

// Spend says that committed money has left the wallet for good.
type Spend struct {
	Delta    money.Amount
	IntentID string
}

// Release gives back what is left. A released allocation is [ErrReleased].
type Release struct{ By identity.Caller }

// Expire gives back what is left when the timeout has passed. Too early is
// [ErrTooEarly].
type Expire struct{ At time.Time }

func (Create) allocationCommand()  {}
func (Amend) allocationCommand()   {}
func (Commit) allocationCommand()  {}
func (Spend) allocationCommand()   {}
func (Release) allocationCommand() {}
func (Expire) allocationCommand()  {}
