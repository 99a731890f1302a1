// Package payment is the proof that a debt was paid: the document that a payer
// signs over a transfer on the chain, and what the payee finds out about it.
package payment

import (
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
)

// Category of the streams of this package.
const Category = "payment"

// SentID is the id of the stream of a payment that was made here. One transfer
// may pay several nodes that share an address; all of them are in one stream.
func SentID(paymentID string) string { return string(identity.Requestor) + "-" + paymentID }

// ReceivedID is the id of the stream of a payment that was received here.
func ReceivedID(payee identity.NodeID, paymentID string) string {
	return string(identity.Provider) + "-" + string(payee) + "-" + paymentID
}

// An Event is a fact about one payment.
//
//sumtype:decl
type Event interface{ paymentEvent() }

// SigningRequested says that a transfer is on the chain and its payee shall get
// a signed proof. [Signed] or [SigningFailed] answers it.
type SigningRequested struct {
	PayeeAddr string          `json:"payeeAddr"`
	PayeeID   identity.NodeID `json:"payeeId"`
	PayerAddr string          `json:"payerAddr"`
	PayerID   identity.NodeID `json:"payerId"`
	PaymentID string          `json:"paymentId"`
	Platform  pay.Platform    `json:"platform"`
	Shares    []pay.Share     `json:"shares"`
	Side      identity.Side   `json:"side"`
	Timestamp time.Time       `json:"timestamp"`
	TxHash    string          `json:"txHash"`
}

// Signed is the proof for one payee. Canonical are the exact bytes that were
// signed; Signature is v‖r‖s with v 0 or 1 over their SHA3-256.
type Signed struct {
	Canonical []byte          `json:"canonical"`
	PayeeID   identity.NodeID `json:"payeeId"`
	PaymentID string          `json:"paymentId"`
	Shares    []pay.Share     `json:"shares"`
	Side      identity.Side   `json:"side"`
	Signature []byte          `json:"signature"`
}

// SigningFailed says why there is no proof. It is asked for again when the
// identity is unlocked.
type SigningFailed struct {
	PayeeID   identity.NodeID `json:"payeeId"`
	PaymentID string          `json:"paymentId"`
	Side      identity.Side   `json:"side"`
	Why       string          `json:"why"`
}

// DeliveryRequested asks for the proof to be sent to the payee. [Delivered] or
// [Refused] answers it.
type DeliveryRequested struct {
	PayeeID   identity.NodeID `json:"payeeId"`
	PayerID   identity.NodeID `json:"payerId"`
	PaymentID string          `json:"paymentId"`
	Side      identity.Side   `json:"side"`
}

// Delivered says that the payee has the proof and believes it.
type Delivered struct {
	PayeeID   identity.NodeID `json:"payeeId"`
	PaymentID string          `json:"paymentId"`
	Side      identity.Side   `json:"side"`
}

// Refused says that the payee has the proof and does not believe it.
type Refused struct {
	PayeeID   identity.NodeID `json:"payeeId"`
	PaymentID string          `json:"paymentId"`
	Side      identity.Side   `json:"side"`
	Why       string          `json:"why"`
}

// Claimed says that a payer presented a proof whose signature holds. It is an
// intent to look at the chain; [Verified] or [Disproved] answers it.
type Claimed struct {
	Amount    money.Amount    `json:"amount"`
	Attempt   int             `json:"attempt"` // from 1; a disproved claim may be made again
	Canonical []byte          `json:"canonical"`
	PayeeAddr string          `json:"payeeAddr"`
	PayeeID   identity.NodeID `json:"payeeId"`
	PayerAddr string          `json:"payerAddr"`
	PayerID   identity.NodeID `json:"payerId"`
	PaymentID string          `json:"paymentId"`
	Platform  pay.Platform    `json:"platform"`
	Shares    []pay.Share     `json:"shares"`
	Side      identity.Side   `json:"side"`
	Signature []byte          `json:"signature"`
	Timestamp time.Time       `json:"timestamp"` // the payer's clock
	TxHash    string          `json:"txHash"`
}

// Verified says that the chain bears the claim out. Logs are the transfers it
// rests on, and how much of each this payment takes.
type Verified struct {
	BlockHash   string          `json:"blockHash"`
	BlockNumber uint64          `json:"blockNumber"`
	Depth       uint64          `json:"depth"` // confirmations when looked at
	Logs        []LogShare      `json:"logs"`
	PayeeID     identity.NodeID `json:"payeeId"`
	PaymentID   string          `json:"paymentId"`
	Side        identity.Side   `json:"side"`
	TxHash      string          `json:"txHash"`
}

// LogShare is the part of one Transfer log that a payment takes. All payments
// together take at most the log's amount.
type LogShare struct {
	Amount money.Amount `json:"amount"`
	Index  uint64       `json:"index"` // among the logs of the receipt, from 0
}

// Disproved says that the chain does not bear the claim out.
type Disproved struct {
	PayeeID   identity.NodeID `json:"payeeId"`
	PaymentID string          `json:"paymentId"`
	Side      identity.Side   `json:"side"`
	Why       string          `json:"why"`
}

// Finalised says that the block of a verified payment will stay.
type Finalised struct {
	BlockNumber uint64          `json:"blockNumber"`
	PayeeID     identity.NodeID `json:"payeeId"`
	PaymentID   string          `json:"paymentId"`
	Side        identity.Side   `json:"side"`
}

// Reversed says that the block of a verified payment left the chain.
type Reversed struct {
	PayeeID   identity.NodeID `json:"payeeId"`
	PaymentID string          `json:"paymentId"`
	Side      identity.Side   `json:"side"`
	Why       string          `json:"why"`
}

// ProofKept says that the proof of the transfer of a final payment lies beside
// the log, under the SHA-256 of its bytes: whoever has it needs no node of the
// chain.
type ProofKept struct {
	Blob        string          `json:"blob"` // 64 hexadecimal digits
	BlockHash   string          `json:"blockHash"`
	BlockNumber uint64          `json:"blockNumber"`
	PayeeID     identity.NodeID `json:"payeeId"`
	PaymentID   string          `json:"paymentId"`
	Side        identity.Side   `json:"side"`
	Size        int64           `json:"size"` // bytes
	TxHash      string          `json:"txHash"`
}

// Blobs implements es.BlobNamer.
func (k ProofKept) Blobs() []string { return []string{k.Blob} }

func (SigningRequested) paymentEvent()  {}
func (Signed) paymentEvent()            {}
func (SigningFailed) paymentEvent()     {}
func (DeliveryRequested) paymentEvent() {}
func (Delivered) paymentEvent()         {}
func (Refused) paymentEvent()           {}
func (Claimed) paymentEvent()           {}
func (Verified) paymentEvent()          {}
func (Disproved) paymentEvent()         {}
func (Finalised) paymentEvent()         {}
func (Reversed) paymentEvent()          {}
func (ProofKept) paymentEvent()         {}

// IsIntent is true: the signer must be asked.
func (SigningRequested) IsIntent() bool { return true }

// IsIntent is true: the payee must get the proof.
func (DeliveryRequested) IsIntent() bool { return true }

// IsIntent is true: the chain must be looked at.
func (Claimed) IsIntent() bool { return true }
