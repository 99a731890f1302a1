// Package wallet is one address on one chain: what it holds, what of it is
// promised, and which nonces it has used.
package wallet

import (
	"fmt"
	"strings"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
)

// Category of the streams of this package.
const Category = "wallet"

// StreamID is the id of the stream of an address on a chain.
func StreamID(chainID uint64, address string) string {
	return fmt.Sprintf("%d-%s", chainID, strings.ToLower(address))
}

// An Event is a fact about one wallet. Addresses are "0x" and 40 lower-case
// hexadecimal digits.
//
//sumtype:decl
type Event interface{ walletEvent() }

// Opened says that a wallet is in use.
type Opened struct {
	Address  string           `json:"address"`
	ChainID  uint64           `json:"chainId"`
	OwnerID  identity.NodeID  `json:"ownerId"`
	Platform payment.Platform `json:"platform"`
}

// FundsObserved is what the chain said about the wallet at a block. Native is
// the coin that pays for gas, Nonce the next one that the chain expects.
type FundsObserved struct {
	Address string       `json:"address"`
	Block   uint64       `json:"block"`
	ChainID uint64       `json:"chainId"`
	Native  money.Amount `json:"native"`
	Nonce   uint64       `json:"nonce"`
	Token   money.Amount `json:"token"`
}

// FundsReserved says that an allocation holds Amount.
type FundsReserved struct {
	Address      string       `json:"address"`
	AllocationID string       `json:"allocationId"`
	Amount       money.Amount `json:"amount"`
	ChainID      uint64       `json:"chainId"`
}

// FundsReturned says that an allocation gave back Amount.
type FundsReturned struct {
	Address      string       `json:"address"`
	AllocationID string       `json:"allocationId"`
	Amount       money.Amount `json:"amount"`
	ChainID      uint64       `json:"chainId"`
}

// FundsSpent says that Amount of what an allocation held left the wallet in a
// transfer that is final.
type FundsSpent struct {
	Address      string       `json:"address"`
	AllocationID string       `json:"allocationId"`
	Amount       money.Amount `json:"amount"`
	Block        uint64       `json:"block"`
	ChainID      uint64       `json:"chainId"`
	IntentID     string       `json:"intentId"`
}

// NonceReserved says that a nonce belongs to a batch, for ever.
type NonceReserved struct {
	Address string `json:"address"`
	BatchID string `json:"batchId"`
	ChainID uint64 `json:"chainId"`
	Nonce   uint64 `json:"nonce"`
	OrderID string `json:"orderId"`
}

// AllowanceObserved is how much of the token a contract may take.
type AllowanceObserved struct {
	Address   string       `json:"address"`
	Allowance money.Amount `json:"allowance"`
	Block     uint64       `json:"block"`
	ChainID   uint64       `json:"chainId"`
	Spender   string       `json:"spender"`
}

// HealthChanged is what stands in the way of paying, as clients are told it: a
// JSON array of driver status properties, empty when all is well.
type HealthChanged struct {
	Address    string `json:"address"`
	ChainID    uint64 `json:"chainId"`
	Properties string `json:"properties"`
}

// ForeignNonceSeen says that the chain has seen more transactions of this
// wallet than were made here: another node uses the same key.
type ForeignNonceSeen struct {
	Address  string `json:"address"`
	ChainID  uint64 `json:"chainId"`
	Expected uint64 `json:"expected"`
	Seen     uint64 `json:"seen"`
}

// TransferLearned says that the chain holds a transfer of this wallet that the
// log knows nothing of: it was made by a newer copy of this node. What it paid
// is not paid again.
type TransferLearned struct {
	Address   string           `json:"address"`
	Amount    money.Amount     `json:"amount"`
	Block     uint64           `json:"block"`
	ChainID   uint64           `json:"chainId"`
	Index     uint64           `json:"index"` // of the log in its block
	PayeeAddr string           `json:"payeeAddr"`
	Platform  payment.Platform `json:"platform"`
	TxHash    string           `json:"txHash"`
}

// SpendingSuspended says that no nonce is given out until the operator agrees.
type SpendingSuspended struct {
	Address string `json:"address"`
	ChainID uint64 `json:"chainId"`
	Why     string `json:"why"`
}

// SpendingResumed says that the operator agreed; the next nonce is NextNonce.
type SpendingResumed struct {
	Address   string `json:"address"`
	ChainID   uint64 `json:"chainId"`
	NextNonce uint64 `json:"nextNonce"`
}

// FundRequested says that the owner asked for test money. It is an intent;
// [Funded] or [FundFailed] answers it.
type FundRequested struct {
	Address   string           `json:"address"`
	ChainID   uint64           `json:"chainId"`
	Platform  payment.Platform `json:"platform"`
	RequestID string           `json:"requestId"`
}

// Funded says that a faucet paid. Text tells the owner what came.
type Funded struct {
	Address   string `json:"address"`
	ChainID   uint64 `json:"chainId"`
	RequestID string `json:"requestId"`
	Text      string `json:"text"`
}

// FundFailed says that no faucet paid.
type FundFailed struct {
	Address   string `json:"address"`
	ChainID   uint64 `json:"chainId"`
	RequestID string `json:"requestId"`
	Why       string `json:"why"`
}

func (Opened) walletEvent()            {}
func (FundsObserved) walletEvent()     {}
func (FundsReserved) walletEvent()     {}
func (FundsReturned) walletEvent()     {}
func (FundsSpent) walletEvent()        {}
func (NonceReserved) walletEvent()     {}
func (AllowanceObserved) walletEvent() {}
func (HealthChanged) walletEvent()     {}
func (ForeignNonceSeen) walletEvent()  {}
func (TransferLearned) walletEvent()   {}
func (SpendingSuspended) walletEvent() {}
func (SpendingResumed) walletEvent()   {}
func (FundRequested) walletEvent()     {}
func (Funded) walletEvent()            {}
func (FundFailed) walletEvent()        {}

// IsIntent is true: a faucet must be asked.
func (FundRequested) IsIntent() bool { return true }
