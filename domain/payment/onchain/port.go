package onchain

import (
	"context"
	"errors"
	"fmt"
	"math/big"
)

// Chain is one network as the node sees it. It can be asked and it can be
// handed signed bytes; it holds no keys and decides nothing.
//
// Every method may fail with an error that is [ErrUnavailable]: no endpoint
// gave a usable answer in time. That decides nothing. In particular "not
// found" is never said because of it: absence is only the documented nil.
//
// Methods are safe for concurrent use and keep no promise about order: a
// later answer may come from a node that is a block behind an earlier one.
type Chain interface {
	// Profile says which network this is, contracts as really used.
	Profile() Profile
	// Head is the newest block.
	Head(ctx context.Context) (Head, error)
	// Finalised is the newest block that the network will not take back: what
	// it calls finalized, or, where it has no such notion, the block
	// Profile.FinalDepth below the head.
	Finalised(ctx context.Context) (Head, error)
	// Block is the canonical block of that height, nil if there is none yet.
	// Comparing its hash with a receipt's tells whether the receipt still holds.
	Block(ctx context.Context, number uint64) (*Head, error)

	// Funds are GLM and gas coin of owner at one block.
	Funds(ctx context.Context, owner Address) (Funds, error)
	// TokenBalance is the GLM of owner, in wei.
	TokenBalance(ctx context.Context, owner Address) (*big.Int, error)
	// NativeBalance is the gas coin of owner, in wei.
	NativeBalance(ctx context.Context, owner Address) (*big.Int, error)
	// Allowance is how much GLM of owner the spender may move, in wei.
	Allowance(ctx context.Context, owner, spender Address) (*big.Int, error)

	// Nonce is the number of transactions of owner in the newest block, or,
	// with pending, also those that wait in the pool of the node that answers.
	Nonce(ctx context.Context, owner Address, pending bool) (uint64, error)
	// Estimate tries c on the newest state. A call that would revert is a
	// [*RevertError]; one that cannot be paid for is [ErrInsufficientFunds].
	Estimate(ctx context.Context, c Call) (Estimate, error)
	// Call runs c on the newest state and returns what it returned.
	Call(ctx context.Context, c Call) ([]byte, error)

	// Send hands over a signed transaction and returns its hash. Bytes that
	// the network has already are success: [ErrAlreadyKnown] is returned with
	// the right hash for callers that want to know. Sending the same bytes
	// again is always harmless. Other refusals are [ErrNonceTooLow],
	// [ErrUnderpriced], [ErrInsufficientFunds], [*RejectedError].
	Send(ctx context.Context, raw []byte) (Hash, error)
	// Receipt is the receipt of tx in the canonical chain, nil when no block
	// holds it now.
	Receipt(ctx context.Context, tx Hash) (*Receipt, error)
	// Logs are events that match q, oldest first.
	Logs(ctx context.Context, q LogQuery) ([]FoundLog, error)
}

// LogQuery selects events of one contract in a range of blocks, both ends
// included. Topics must match position by position; a zero hash matches all.
type LogQuery struct {
	Address  Address
	From, To uint64
	Topics   []Hash
}

// FoundLog is an event and where it was found.
type FoundLog struct {
	Block Hash
	Log   Log
	Tx    Hash
}

// What a chain refuses or cannot say.
var (
	// ErrUnavailable: nothing is known, ask again later.
	ErrUnavailable = errors.New("the chain cannot be asked now")
	// ErrAlreadyKnown: these very bytes are in the pool already.
	ErrAlreadyKnown = errors.New("transaction is known already")
	// ErrNonceTooLow: the nonce is used up. Whether by these bytes, only a
	// receipt can tell.
	ErrNonceTooLow = errors.New("nonce is used up already")
	// ErrUnderpriced: another transaction with this nonce pays as much or
	// more, or the fee is below what the node accepts.
	ErrUnderpriced = errors.New("fee is too low")
	// ErrInsufficientFunds: the gas coin does not cover value and gas.
	ErrInsufficientFunds = errors.New("not enough gas coin")
	// ErrInsufficientToken: the payer holds less GLM than the call moves.
	ErrInsufficientToken = errors.New("not enough GLM")
)

// WrongChainError says that an endpoint serves another network. Nothing from
// such an endpoint is used.
type WrongChainError struct {
	Endpoint  string // its host
	Want, Got uint64
}

func (e *WrongChainError) Error() string {
	return fmt.Sprintf("endpoint %s serves chain %d, but chain %d is wanted: its answers are ignored; correct the endpoint or the network",
		e.Endpoint, e.Got, e.Want)
}

// Is makes the error one of [ErrUnavailable]: it decides nothing about the
// network that was meant.
func (e *WrongChainError) Is(target error) bool { return target == ErrUnavailable }

// RevertError says that a contract refused a call.
type RevertError struct{ Reason string }

func (e *RevertError) Error() string { return "the contract refuses the call: " + e.Reason }

// RejectedError is a refusal that has no name of its own; Text is the node's.
type RejectedError struct{ Text string }

func (e *RejectedError) Error() string { return "the chain's node refuses: " + e.Text }
