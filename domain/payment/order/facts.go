// Package order is one settlement run: which debts it pays, in which
// transfers, and where these stand.
package order

import (
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
)

// Category of the streams of this package; the id is that of the order, a UUID.
const Category = "order"

// An Event is a fact about one order.
//
//sumtype:decl
type Event interface{ orderEvent() }

// Opened says that a run of a cycle found debts to pay.
type Opened struct {
	ChainID   uint64           `json:"chainId"`
	CycleID   string           `json:"cycleId"` // id of the cycle's stream
	OrderID   string           `json:"orderId"`
	PayerAddr string           `json:"payerAddr"`
	PayerID   identity.NodeID  `json:"payerId"`
	Platform  payment.Platform `json:"platform"`
	Total     money.Amount     `json:"total"`
}

// IntentRecorded says that one transfer to PayeeAddr will cover the ranges.
// The id follows from the ranges, so the same debt cannot make two intents.
// PaymentID is the beginning of it, the name under which both nodes know the
// payment.
type IntentRecorded struct {
	Amount    money.Amount    `json:"amount"`
	IntentID  string          `json:"intentId"` // 64 hexadecimal digits
	OrderID   string          `json:"orderId"`
	PayeeAddr string          `json:"payeeAddr"`
	PaymentID string          `json:"paymentId"` // 32 hexadecimal digits
	Ranges    []payment.Range `json:"ranges"`
}

// BatchSealed says what transaction carries out some intents. It is never
// changed; the nonce is reserved with it.
type BatchSealed struct {
	BatchID  string       `json:"batchId"`
	Calldata string       `json:"calldata"` // 0x and hexadecimal digits
	Intents  []string     `json:"intents"`
	Nonce    uint64       `json:"nonce"`
	OrderID  string       `json:"orderId"`
	To       string       `json:"to"`
	Value    money.Amount `json:"value"` // of the native coin
}

// BatchReturned says that the transaction of a batch used up its nonce without
// paying: its intents go into another batch.
type BatchReturned struct {
	BatchID string `json:"batchId"`
	OrderID string `json:"orderId"`
	Why     string `json:"why"`
}

// TransferAdopted says that a transfer which the chain holds already, and the
// log had lost, carries an intent: nothing is sent for it.
type TransferAdopted struct {
	Block    uint64 `json:"block"`
	IntentID string `json:"intentId"`
	OrderID  string `json:"orderId"`
	TxHash   string `json:"txHash"`
}

// Completed says that all transfers of the order are final.
type Completed struct {
	OrderID string `json:"orderId"`
}

func (Opened) orderEvent()          {}
func (IntentRecorded) orderEvent()  {}
func (BatchSealed) orderEvent()     {}
func (BatchReturned) orderEvent()   {}
func (TransferAdopted) orderEvent() {}
func (Completed) orderEvent()       {}
