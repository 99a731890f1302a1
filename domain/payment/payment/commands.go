package payment

import (
	"time"

	"github.com/emet-node/emet/domain/identity"
	pay "github.com/emet-node/emet/domain/payment"
)

// A Command is a wish about one payment.
//
//sumtype:decl
type Command interface{ paymentCommand() }

// RequestSigning asks for the proof for one payee of a transfer.
type RequestSigning struct {
	PayeeAddr string
	PayeeID   identity.NodeID
	PayerAddr string
	PayerID   identity.NodeID
	PaymentID string
	Platform  pay.Platform
	Shares    []pay.Share
	Timestamp time.Time
	TxHash    string
}

// SignAgain asks anew for all proofs whose signing failed.
type SignAgain struct{}

// AnswerSigning reports what the signer did with [Canonical] of the request.
// Failure is empty when it signed.
type AnswerSigning struct {
	Failure   string
	PayeeID   identity.NodeID
	Signature []byte
}

// RequestDelivery asks for a signed proof to be sent, again if it was refused.
type RequestDelivery struct{ PayeeID identity.NodeID }

// AnswerDelivery reports what the payee said of the proof about a transaction.
// Refusal is empty when it believes the proof. [ErrReplaced] says that this is
// not the proof any more: the one that is must be sent.
type AnswerDelivery struct {
	PayeeID identity.NodeID
	Refusal string
	TxHash  string
}

// Claim takes in a proof. Signer is who the signature says it is; it must be
// the payer and the caller, and the address that paid must be its own. The same
// proof again changes nothing unless it was disproved. The same id with other
// content is [ErrOtherContent], unless the payer's claim before was disproved or
// taken back; [ErrUndecided] while that is not known.
type Claim struct {
	By        identity.Caller
	Canonical []byte
	PayeeID   identity.NodeID // the local identity that was addressed
	Signature []byte
	Signer    identity.NodeID
}

// AnswerClaim reports what the chain says. Why is empty when the claim holds.
type AnswerClaim struct {
	BlockHash   string
	BlockNumber uint64
	Depth       uint64
	Logs        []LogShare
	Why         string
}

// Finalise says that the block of a verified payment will stay.
type Finalise struct{ BlockNumber uint64 }

// Reverse says that the block of a verified payment left the chain. The claim
// is looked at again.
type Reverse struct{ Why string }

// KeepProof says where the proof of the transfer of a final payment lies. It is
// silence when the payment is not final, and when one is kept already; a proof
// for another block is [ErrOtherBlock].
//
// At the payer, whose transactions have streams with proofs of their own, it is
// for a transfer that this log has not sent: BlockNumber and TxHash say which
// one, and that it is final is the word of who asked the chain. It is silence
// when the payment is not about that transfer.
type KeepProof struct {
	Blob        string
	BlockHash   string
	BlockNumber uint64
	Size        int64
	TxHash      string
}

func (RequestSigning) paymentCommand()  {}
func (SignAgain) paymentCommand()       {}
func (AnswerSigning) paymentCommand()   {}
func (RequestDelivery) paymentCommand() {}
func (AnswerDelivery) paymentCommand()  {}
func (Claim) paymentCommand()           {}
func (AnswerClaim) paymentCommand()     {}
func (Finalise) paymentCommand()        {}
func (Reverse) paymentCommand()         {}
func (KeepProof) paymentCommand()       {}
