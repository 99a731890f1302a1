package evm

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/emet-node/emet/domain/payment/onchain"
)

// classify turns what an endpoint said into what it means. Anything that is
// not a plain answer of the chain's own rules is onchain.ErrUnavailable.
func classify(err error) error {
	var answer rpc.Error
	switch {
	case err == nil, isPlain(err):
		return err
	case !errors.As(err, &answer):
		return unavailable(err)
	}
	if known := named(answer.Error()); known != nil { // whatever code a node gives it
		return fmt.Errorf("%w (%s)", known, answer.Error())
	}
	if unsure(answer) {
		return unavailable(err)
	}
	if reason, ok := revert(answer); ok {
		return refusal(reason)
	}
	return &onchain.RejectedError{Text: answer.Error()}
}

// named are refusals that callers branch on, by the words that nodes use.
func named(text string) error {
	text = strings.ToLower(text)
	for _, n := range []struct {
		words string
		is    error
	}{
		{"already known", onchain.ErrAlreadyKnown},
		{"alreadyknown", onchain.ErrAlreadyKnown},
		{"already imported", onchain.ErrAlreadyKnown},
		{"known transaction", onchain.ErrAlreadyKnown},
		{"nonce too low", onchain.ErrNonceTooLow},
		{"nonce is too low", onchain.ErrNonceTooLow},
		{"oldnonce", onchain.ErrNonceTooLow},
		{"underpriced", onchain.ErrUnderpriced},
		{"gas price below minimum", onchain.ErrUnderpriced},
		{"max fee per gas less than block base fee", onchain.ErrUnderpriced},
		{"insufficient funds", onchain.ErrInsufficientFunds},
	} {
		if strings.Contains(text, n.words) {
			return n.is
		}
	}
	return nil
}

// unsure reports whether an answer says only that the endpoint has trouble.
func unsure(answer rpc.Error) bool {
	switch answer.ErrorCode() {
	case -32700, -32600, -32603, -32002, -32005, -32097, -32098, -32099, 429:
		return true
	}
	text := strings.ToLower(answer.Error())
	for _, words := range []string{
		"rate limit", "too many requests", "limit exceeded", "timeout", "timed out", "unavailable", "indexing is in progress",
		"header not found", "missing trie node", "not available", "internal error", "historical state",
	} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// revert finds the reason a contract gave.
func revert(answer rpc.Error) (string, bool) {
	var data rpc.DataError
	if errors.As(answer, &data) {
		if text, ok := data.ErrorData().(string); ok {
			if b, err := hexutil.Decode(text); err == nil {
				return revertReason(b), true
			}
		}
	}
	_, reason, ok := strings.Cut(answer.Error(), "execution reverted")
	return strings.TrimPrefix(reason, ": "), ok
}

func revertReason(data []byte) string {
	if reason, err := abi.UnpackRevert(data); err == nil {
		return reason
	}
	return hexutil.Encode(data)
}

// insufficientBalance is the selector of OpenZeppelin's
// ERC20InsufficientBalance(address,uint256,uint256).
const insufficientBalance = "0xe450d38c"

func refusal(reason string) error {
	e := &onchain.RevertError{Reason: reason}
	if strings.Contains(reason, "transfer amount exceeds balance") || strings.HasPrefix(reason, insufficientBalance) {
		return fmt.Errorf("%w: %w", onchain.ErrInsufficientToken, e)
	}
	return e
}

// isPlain reports whether err has its meaning already.
func isPlain(err error) bool {
	var token *ContractError
	return errors.Is(err, onchain.ErrUnavailable) || errors.As(err, &token)
}

// unavailable keeps the cause, but not the URL: it may hold an access key.
func unavailable(err error) error {
	var asked *url.Error
	if errors.As(err, &asked) {
		err = asked.Err
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: %w", onchain.ErrUnavailable, context.Canceled)
	}
	return fmt.Errorf("%w: %w", onchain.ErrUnavailable, err)
}

// ContractError says that a contract is not what the profile says. Nothing is
// sent on a network as long as that is so.
type ContractError struct {
	Address onchain.Address
	Network string
	What    string // role: "token"
	Why     string
}

func (e *ContractError) Error() string {
	return fmt.Sprintf("%s contract %s on %s: %s; check the address and the endpoint in the configuration",
		e.What, e.Address, e.Network, e.Why)
}
