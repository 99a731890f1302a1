package wallet

import (
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
)

// A Command is a wish about one wallet.
//
//sumtype:decl
type Command interface{ walletCommand() }

// Open takes a wallet into use. Opening it again changes nothing.
type Open struct {
	Address  string
	By       identity.Caller
	ChainID  uint64
	OwnerID  identity.NodeID
	Platform payment.Platform
}

// Observe reports what the chain says. Older blocks than the last one are
// passed over. A nonce beyond what was reserved here suspends spending, and so
// does a transfer that is Unrecorded here.
type Observe struct {
	Block      uint64
	Native     money.Amount
	Nonce      uint64
	Token      money.Amount
	Unrecorded bool
}

// Reserve holds Amount for an allocation. More than is available is
// [*InsufficientFunds], unless Unchecked. A wallet that was never observed
// is [ErrNotObserved].
type Reserve struct {
	AllocationID string
	Amount       money.Amount
	Unchecked    bool // developers may allocate money that is not there
}

// Return gives back Amount of an allocation.
type Return struct {
	AllocationID string
	Amount       money.Amount
}

// Spend says that a final transfer took Amount of an allocation.
type Spend struct {
	AllocationID string
	Amount       money.Amount
	Block        uint64
	IntentID     string
}

// ReserveNonce binds the next nonce to a batch. A batch that has one keeps it.
// [ErrSuspended] and [ErrNotObserved] say why there is none.
type ReserveNonce struct {
	BatchID string
	OrderID string
}

// ObserveAllowance reports what a contract may take.
type ObserveAllowance struct {
	Allowance money.Amount
	Block     uint64
	Spender   string
}

// ReportHealth says what stands in the way of paying. The same again changes
// nothing.
type ReportHealth struct{ Properties string }

// Learn keeps transfers that the chain holds and the log does not. Those that
// are known are passed over.
type Learn struct{ Transfers []TransferLearned }

// Suspend stops spending until [Resume].
type Suspend struct{ Why string }

// Resume lets spending go on from the nonce that the chain expects. Only the
// operator or the owner may.
type Resume struct{ By identity.Caller }

// Fund asks for test money.
type Fund struct {
	By        identity.Caller
	RequestID string
}

// AnswerFund reports what a faucet did. Failure is empty when it paid.
type AnswerFund struct {
	Failure   string
	RequestID string
	Text      string
}

func (Open) walletCommand()             {}
func (Observe) walletCommand()          {}
func (Reserve) walletCommand()          {}
func (Return) walletCommand()           {}
func (Spend) walletCommand()            {}
func (ReserveNonce) walletCommand()     {}
func (ObserveAllowance) walletCommand() {}
func (ReportHealth) walletCommand()     {}
func (Learn) walletCommand()            {}
func (Suspend) walletCommand()          {}
func (Resume) walletCommand()           {}
func (Fund) walletCommand()             {}
func (AnswerFund) walletCommand()       {}
