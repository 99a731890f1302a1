package order

import (
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
)

// A Command is a wish about one order.
//
//sumtype:decl
type Command interface{ orderCommand() }

// Open begins an order with all its intents.
type Open struct {
	ChainID   uint64
	CycleID   string
	Intents   []Intent
	OrderID   string
	PayerAddr string
	PayerID   identity.NodeID
	Platform  payment.Platform
}

// Intent is one transfer that is meant.
type Intent struct {
	ID        string
	PayeeAddr string
	Ranges    []payment.Range
}

// SealBatch fixes the transaction for intents that are in no live batch. Give
// it through ops.ReserveNonce.
type SealBatch struct {
	BatchID  string
	Calldata string
	Intents  []string
	Nonce    uint64
	To       string
	Value    money.Amount
}

// Adopt lets a transfer that was learned from the chain carry an intent that is
// in no live batch.
type Adopt struct {
	Block    uint64
	IntentID string
	TxHash   string
}

// ReturnBatch frees the intents of a batch whose transaction failed for good.
type ReturnBatch struct {
	BatchID string
	Why     string
}

// Complete closes an order all of whose batches are final. The settlement saga
// knows when.
type Complete struct{}

func (Open) orderCommand()        {}
func (SealBatch) orderCommand()   {}
func (Adopt) orderCommand()       {}
func (ReturnBatch) orderCommand() {}
func (Complete) orderCommand()    {}
