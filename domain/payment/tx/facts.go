// Package tx is everything about one nonce of one wallet: the one payload it
// carries, the signed transactions that were made for it, and what the chain
// did with them.
package tx

import (
	"fmt"
	"strings"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
)

// Category of the streams of this package.
const Category = "tx"

// StreamID is the id of the stream of a nonce.
func StreamID(chainID uint64, address string, nonce uint64) string {
	return fmt.Sprintf("%d-%s-%d", chainID, strings.ToLower(address), nonce)
}

// An Event is a fact about one nonce. Hashes and addresses are "0x" and
// lower-case hexadecimal digits.
//
//sumtype:decl
type Event interface{ txEvent() }

// Planned says what the nonce will carry: To, Value and Calldata never change.
type Planned struct {
	Address     string           `json:"address"`
	BatchID     string           `json:"batchId"`
	Calldata    string           `json:"calldata"`
	ChainID     uint64           `json:"chainId"`
	Nonce       uint64           `json:"nonce"`
	OrderID     string           `json:"orderId"`
	OwnerID     identity.NodeID  `json:"ownerId"` // whose key signs
	PayloadHash string           `json:"payloadHash"`
	Platform    payment.Platform `json:"platform"`
	To          string           `json:"to"`
	Value       money.Amount     `json:"value"` // of the native coin
}

// SigningRequested asks for a signed transaction, with higher fees than
// Replaces when that is set. [Signed] or [SigningFailed] answers it.
type SigningRequested struct {
	Address  string `json:"address"`
	ChainID  uint64 `json:"chainId"`
	Nonce    uint64 `json:"nonce"`
	Replaces string `json:"replaces,omitzero"` // hash
}

// Signed is a transaction that can be sent, kept before it is. Fees are per
// gas, in the native coin.
type Signed struct {
	Address     string       `json:"address"`
	ChainID     uint64       `json:"chainId"`
	GasLimit    uint64       `json:"gasLimit"`
	Hash        string       `json:"hash"`
	MaxFee      money.Amount `json:"maxFee"`
	Nonce       uint64       `json:"nonce"`
	PriorityFee money.Amount `json:"priorityFee"`
	Raw         []byte       `json:"raw"`
}

// SigningFailed says why there is no signed transaction. It is asked for again
// when the reason goes away.
type SigningFailed struct {
	Address string        `json:"address"`
	ChainID uint64        `json:"chainId"`
	Code    SigningReason `json:"code"`
	Nonce   uint64        `json:"nonce"`
	Why     string        `json:"why"`
}

// SigningReason says what must change before signing can succeed.
type SigningReason string

// The reasons.
const (
	Locked   SigningReason = "locked"   // the identity must be unlocked
	NoGas    SigningReason = "no-gas"   // the wallet needs native coin
	NoToken  SigningReason = "no-token" // the wallet needs tokens
	Rejected SigningReason = "rejected" // the signer or the chain refuses the payload
)

// Replaced says that a transaction gave way to another one of the same nonce
// with higher fees. Either may still be mined.
type Replaced struct {
	Address string `json:"address"`
	By      string `json:"by"`
	ChainID uint64 `json:"chainId"`
	Hash    string `json:"hash"`
	Nonce   uint64 `json:"nonce"`
}

// BroadcastRequested asks for the newest signed transaction to be sent.
// [Broadcast] answers it.
type BroadcastRequested struct {
	Address string `json:"address"`
	ChainID uint64 `json:"chainId"`
	Hash    string `json:"hash"`
	Nonce   uint64 `json:"nonce"`
}

// Broadcast is what an endpoint said to the transaction. Whether it is mined
// is known only from the chain.
type Broadcast struct {
	Address string `json:"address"`
	ChainID uint64 `json:"chainId"`
	Hash    string `json:"hash"`
	Nonce   uint64 `json:"nonce"`
	Result  string `json:"result"` // "accepted", or the endpoint's error
	RPC     string `json:"rpc"`    // name of the endpoint
}

// Included says that a block holds a transaction of the nonce. Status 0 means
// that it was carried out and failed.
type Included struct {
	Address     string       `json:"address"`
	BatchID     string       `json:"batchId"`
	BlockHash   string       `json:"blockHash"`
	BlockNumber uint64       `json:"blockNumber"`
	ChainID     uint64       `json:"chainId"`
	Fee         money.Amount `json:"fee"` // paid for gas
	GasUsed     uint64       `json:"gasUsed"`
	Hash        string       `json:"hash"`
	Logs        []Log        `json:"logs,omitzero"`
	Nonce       uint64       `json:"nonce"`
	OrderID     string       `json:"orderId"`
	Status      uint64       `json:"status"`
}

// Log is an entry that a contract wrote.
type Log struct {
	Address string   `json:"address"`
	Data    string   `json:"data"`
	Index   uint64   `json:"index"` // in the block
	Topics  []string `json:"topics"`
}

// Finalised says that the block will stay: the transfers are made.
type Finalised struct {
	Address     string       `json:"address"`
	BatchID     string       `json:"batchId"`
	BlockNumber uint64       `json:"blockNumber"`
	ChainID     uint64       `json:"chainId"`
	Fee         money.Amount `json:"fee"`
	Hash        string       `json:"hash"`
	Nonce       uint64       `json:"nonce"`
	OrderID     string       `json:"orderId"`
}

// Reverted says that the block will stay and the transaction failed in it: the
// nonce is used up and nothing was paid.
type Reverted struct {
	Address     string       `json:"address"`
	BatchID     string       `json:"batchId"`
	BlockNumber uint64       `json:"blockNumber"`
	ChainID     uint64       `json:"chainId"`
	Fee         money.Amount `json:"fee"`
	Hash        string       `json:"hash"`
	Nonce       uint64       `json:"nonce"`
	OrderID     string       `json:"orderId"`
}

// Superseded says that the nonce was used up by a transaction that was not
// signed in this log: nothing that was signed here can be mined any more.
type Superseded struct {
	Address string `json:"address"`
	BatchID string `json:"batchId"`
	ChainID uint64 `json:"chainId"`
	Nonce   uint64 `json:"nonce"`
	OrderID string `json:"orderId"`
	Why     string `json:"why"`
}

// Orphaned takes an [Included] back: its block left the chain.
type Orphaned struct {
	Address   string `json:"address"`
	BatchID   string `json:"batchId"`
	BlockHash string `json:"blockHash"`
	ChainID   uint64 `json:"chainId"`
	Hash      string `json:"hash"`
	Nonce     uint64 `json:"nonce"`
	OrderID   string `json:"orderId"`
}

// ProofKept says that the proof of a final transaction lies beside the log,
// under the SHA-256 of its bytes: whoever has it needs no node of the chain.
type ProofKept struct {
	Address     string `json:"address"`
	Blob        string `json:"blob"` // 64 hexadecimal digits
	BlockHash   string `json:"blockHash"`
	BlockNumber uint64 `json:"blockNumber"`
	ChainID     uint64 `json:"chainId"`
	Hash        string `json:"hash"`
	Nonce       uint64 `json:"nonce"`
	Size        int64  `json:"size"` // bytes
}

// Blobs implements es.BlobNamer.
func (k ProofKept) Blobs() []string { return []string{k.Blob} }

func (Planned) txEvent()            {}
func (SigningRequested) txEvent()   {}
func (Signed) txEvent()             {}
func (SigningFailed) txEvent()      {}
func (Replaced) txEvent()           {}
func (BroadcastRequested) txEvent() {}
func (Broadcast) txEvent()          {}
func (Included) txEvent()           {}
func (Finalised) txEvent()          {}
func (Reverted) txEvent()           {}
func (Superseded) txEvent()         {}
func (Orphaned) txEvent()           {}
func (ProofKept) txEvent()          {}

// IsIntent is true: the signer must be asked.
func (SigningRequested) IsIntent() bool { return true }

// IsIntent is true: the transaction must be sent.
func (BroadcastRequested) IsIntent() bool { return true }
