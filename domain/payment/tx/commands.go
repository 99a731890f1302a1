package tx

import (
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
)

// A Command is a wish about one nonce.
//
//sumtype:decl
type Command interface{ txCommand() }

// Plan fixes the payload of the nonce. Another payload is [ErrOtherPayload].
// Give it through ops.ReserveNonce.
type Plan struct {
	Address     string
	BatchID     string
	Calldata    string
	ChainID     uint64
	Nonce       uint64
	OrderID     string
	OwnerID     identity.NodeID
	PayloadHash string
	Platform    payment.Platform
	To          string
	Value       money.Amount
}

// RequestSigning asks for a signature. When there is a signed transaction
// already, it asks for one with higher fees only if Replaces names it.
type RequestSigning struct{ Replaces string }

// AnswerSigning reports what the signer did. Code is empty when it signed.
type AnswerSigning struct {
	Code        SigningReason
	GasLimit    uint64
	Hash        string
	MaxFee      money.Amount
	PriorityFee money.Amount
	Raw         []byte
	Why         string
}

// RequestBroadcast asks for the newest signed transaction to be sent, again if
// it was sent before.
type RequestBroadcast struct{}

// AnswerBroadcast reports what an endpoint said. Result is "accepted" or its
// error.
type AnswerBroadcast struct {
	Hash   string
	Result string
	RPC    string
}

// Include reports the receipt of a transaction of this nonce. A hash that was
// not signed here is [ErrForeign].
type Include struct {
	BlockHash   string
	BlockNumber uint64
	Fee         money.Amount
	GasUsed     uint64
	Hash        string
	Logs        []Log
	Status      uint64
}

// Finalise says that the block of the inclusion will stay.
type Finalise struct{ BlockHash string }

// Supersede says that another transaction used up the nonce for good. It is
// silence for one that is in a block.
type Supersede struct{ Why string }

// Orphan says that the block of the inclusion left the chain.
type Orphan struct{ BlockHash string }

// KeepProof says where the proof of the final transaction lies. It is silence
// for a nonce that paid nothing, and when one is kept already; a proof for
// another block is [ErrOtherBlock].
type KeepProof struct {
	Blob      string
	BlockHash string
	Size      int64
}

func (Plan) txCommand()             {}
func (RequestSigning) txCommand()   {}
func (AnswerSigning) txCommand()    {}
func (RequestBroadcast) txCommand() {}
func (AnswerBroadcast) txCommand()  {}
func (Include) txCommand()          {}
func (Finalise) txCommand()         {}
func (Supersede) txCommand()        {}
func (Orphan) txCommand()           {}
func (KeepProof) txCommand()        {}
