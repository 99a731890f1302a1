package onchain

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
)

// Selectors of the calls that the node makes: the first four bytes of the
// Keccak-256 of the signature.
var (
	selTransfer  = [4]byte{0xa9, 0x05, 0x9c, 0xbb} // transfer(address,uint256)
	selApprove   = [4]byte{0x09, 0x5e, 0xa7, 0xb3} // approve(address,uint256)
	selBalanceOf = [4]byte{0x70, 0xa0, 0x82, 0x31} // balanceOf(address)
	selAllowance = [4]byte{0xdd, 0x62, 0xed, 0x3e} // allowance(address,address)
	selPacked    = [4]byte{0x7c, 0x26, 0x64, 0x0c} // golemTransferDirectPacked(bytes32[])
	selCreate    = [4]byte{0xef, 0xc8, 0x1a, 0x8c} // create()
)

// ErrAmount says that an amount cannot be paid: not above zero, or more than
// the contract's field holds, where it would wrap around to another amount.
var ErrAmount = errors.New("amount cannot be paid")

var (
	packedLimit = new(big.Int).Lsh(big.NewInt(1), 96)
	wordLimit   = new(big.Int).Lsh(big.NewInt(1), 256)
)

// Pay is the call by which payer pays all payments in one transaction: a
// plain transfer for one payee, the multi-transfer contract for 2 to
// [MaxPayees]. The contract moves the payer's tokens by allowance, so the
// payer must have approved at least [Sum] to it.
func Pay(p Profile, payer Address, payments []Payment) (Call, error) {
	switch n := len(payments); {
	case n == 0:
		return Call{}, errors.New("a transaction without payees")
	case n == 1:
		data, err := TransferData(payments[0])
		return Call{From: payer, To: p.Token, Data: data}, err
	case n > MaxPayees:
		return Call{}, fmt.Errorf("%d payees in one transaction, at most %d fit: split them", n, MaxPayees)
	case p.MultiTransfer.IsZero():
		return Call{}, fmt.Errorf("%s has no multi-transfer contract: pay the %d payees one by one", p.Network, n)
	}
	data, err := PackedData(payments)
	return Call{From: payer, To: p.MultiTransfer, Data: data}, err
}

// TransferData encodes transfer(to, amount) of the token.
func TransferData(p Payment) ([]byte, error) {
	if err := payable(p, wordLimit); err != nil {
		return nil, err
	}
	return encode(selTransfer, addressWord(p.To), amountWord(p.Amount)), nil
}

// PackedData encodes golemTransferDirectPacked: each word holds 20 bytes of
// address and 12 bytes of amount, so an amount stays below 2^96.
func PackedData(payments []Payment) ([]byte, error) {
	words := []Hash{uintWord(32), uintWord(uint64(len(payments)))}
	for _, p := range payments {
		if err := payable(p, packedLimit); err != nil {
			return nil, err
		}
		words = append(words, pack(p))
	}
	return encode(selPacked, words...), nil
}

func pack(p Payment) (w Hash) {
	copy(w[:20], p.To[:])
	p.Amount.FillBytes(w[20:])
	return w
}

func payable(p Payment, limit *big.Int) error {
	if p.Amount == nil || p.Amount.Sign() <= 0 || p.Amount.Cmp(limit) >= 0 {
		return fmt.Errorf("%w: %v wei to %s, want more than 0 and less than %v", ErrAmount, p.Amount, p.To, limit)
	}
	return nil
}

// ApproveData encodes approve(spender, amount): spender may move up to amount
// of the signer's tokens.
func ApproveData(spender Address, amount *big.Int) ([]byte, error) {
	if amount == nil || amount.Sign() < 0 || amount.Cmp(wordLimit) >= 0 {
		return nil, fmt.Errorf("%w: allowance of %v wei", ErrAmount, amount)
	}
	return encode(selApprove, addressWord(spender), amountWord(amount)), nil
}

// BalanceData encodes balanceOf(owner).
func BalanceData(owner Address) []byte { return encode(selBalanceOf, addressWord(owner)) }

// AllowanceData encodes allowance(owner, spender).
func AllowanceData(owner, spender Address) []byte {
	return encode(selAllowance, addressWord(owner), addressWord(spender))
}

// MintData encodes create() of the faucet: test tokens for the signer.
func MintData() []byte { return selCreate[:] }

// Payments decodes what [Pay] encoded: whom a transaction to this contract
// pays, in order. Data that is not exactly such a call is refused.
func Payments(p Profile, to Address, data []byte) ([]Payment, error) {
	switch {
	case to == p.Token && bytes.HasPrefix(data, selTransfer[:]) && len(data) == 68:
		var dest, amount Hash
		copy(dest[:], data[4:])
		copy(amount[:], data[36:])
		if a, ok := dest.Address(); ok {
			return []Payment{{To: a, Amount: new(big.Int).SetBytes(amount[:])}}, nil
		}
	case to == p.MultiTransfer && !to.IsZero() && bytes.HasPrefix(data, selPacked[:]):
		if out, ok := unpack(data[4:]); ok {
			return out, nil
		}
	}
	return nil, fmt.Errorf("call to %s with %d bytes is no payment on %s", to, len(data), p.Network)
}

func unpack(b []byte) (out []Payment, ok bool) {
	if len(b) < 64 || len(b)%32 != 0 {
		return nil, false
	}
	n := uint64(len(b)/32 - 2)
	if Hash(b[:32]) != uintWord(32) || Hash(b[32:64]) != uintWord(n) {
		return nil, false
	}
	for w := b[64:]; len(w) > 0; w = w[32:] {
		out = append(out, Payment{To: Address(w[:20]), Amount: new(big.Int).SetBytes(w[20:32])})
	}
	return out, true
}

func encode(sel [4]byte, words ...Hash) []byte {
	out := append([]byte(nil), sel[:]...)
	for _, w := range words {
		out = append(out, w[:]...)
	}
	return out
}

func addressWord(a Address) (w Hash) {
	copy(w[12:], a[:])
	return w
}

func amountWord(n *big.Int) (w Hash) {
	n.FillBytes(w[:])
	return w
}

func uintWord(n uint64) Hash { return amountWord(new(big.Int).SetUint64(n)) }
