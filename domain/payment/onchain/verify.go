package onchain

import (
	"errors"
	"fmt"
	"math/big"
)

// Why a receipt does not prove a payment.
var (
	// ErrReverted: the transaction is in a block and moved nothing.
	ErrReverted = errors.New("transaction was reverted")
	// ErrNotPaid: the transaction moved no GLM from this payer to this payee.
	ErrNotPaid = errors.New("transaction does not pay GLM from the payer to the payee")
)

// Claim is what somebody says a transaction has paid.
type Claim struct {
	Amount       *big.Int // wei
	Payer, Payee Address
}

// Share is a part of one transfer that one payment uses up.
type Share struct {
	Amount *big.Int // wei
	Ref    LogRef
}

// ShortError says that a transaction has paid too little for a claim, after
// what other payments used of it.
type ShortError struct {
	Claimed, Sent, Used *big.Int
	Tx                  Hash
}

func (e *ShortError) Error() string {
	if e.Used.Sign() == 0 {
		return fmt.Sprintf("transaction %s paid %v wei, %v were claimed", e.Tx, e.Sent, e.Claimed)
	}
	return fmt.Sprintf("transaction %s for %v wei used for multiple payments amounting to %v wei",
		e.Tx, e.Sent, new(big.Int).Add(e.Used, e.Claimed))
}

// Verify decides whether r proves c, and which transfers it uses up. used
// tells how much of a transfer all other payments have claimed, this one left
// out, so that hearing the same claim twice gives the same answer; nil means
// nothing. The answer holds as long as r's block is canonical.
func Verify(p Profile, r Receipt, c Claim, used func(LogRef) *big.Int) ([]Share, error) {
	if c.Amount == nil || c.Amount.Sign() <= 0 {
		return nil, fmt.Errorf("%w: claim of %v wei", ErrAmount, c.Amount)
	}
	if !r.Succeeded {
		return nil, fmt.Errorf("%w: %s", ErrReverted, r.TxHash)
	}
	transfers := Incoming(p, r, c.Payer, c.Payee)
	if len(transfers) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNotPaid, r.TxHash)
	}
	shares, missing := share(transfers, c.Amount, used)
	if missing.Sign() > 0 {
		return nil, short(r.TxHash, transfers, c.Amount, used)
	}
	return shares, nil
}

// share takes want from the transfers in order, and says what is missing.
func share(transfers []Transfer, want *big.Int, used func(LogRef) *big.Int) (out []Share, missing *big.Int) {
	missing = new(big.Int).Set(want)
	for _, t := range transfers {
		free := new(big.Int).Sub(t.Amount, usedOf(used, t.Ref))
		if free.Cmp(missing) > 0 {
			free.Set(missing)
		}
		if free.Sign() > 0 {
			out = append(out, Share{Amount: free, Ref: t.Ref})
			missing.Sub(missing, free)
		}
	}
	return out, missing
}

func short(tx Hash, transfers []Transfer, claimed *big.Int, used func(LogRef) *big.Int) *ShortError {
	e := &ShortError{Claimed: claimed, Sent: new(big.Int), Used: new(big.Int), Tx: tx}
	for _, t := range transfers {
		e.Sent.Add(e.Sent, t.Amount)
		e.Used.Add(e.Used, usedOf(used, t.Ref))
	}
	return e
}

func usedOf(used func(LogRef) *big.Int, ref LogRef) *big.Int {
	if used != nil {
		if n := used(ref); n != nil {
			return n
		}
	}
	return new(big.Int)
}
