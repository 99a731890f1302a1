// Package chaintest is what every onchain.Chain has to pass.
package chaintest

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/emet-node/emet/adapters/chain/evm"
	"github.com/emet-node/emet/domain/payment/onchain"
)

// Lab is a chain that the suite can do as it likes with. Its profile has a
// multi-transfer contract and a faucet, and it makes a block for each
// transaction.
type Lab struct {
	Chain onchain.Chain
	// Fund gives an account gas coin, at least 1, and 1000 GLM or more.
	Fund func(onchain.Address)
	// Reorganise takes blocks back. Their transactions are mined again, or,
	// with drop, forgotten.
	Reorganise func(depth uint64, drop bool)
}

// Account is somebody who can sign.
type Account struct {
	Address onchain.Address
	key     *ecdsa.PrivateKey
}

// NewAccount makes an account that nobody has seen.
func NewAccount(t testing.TB) Account {
	t.Helper()
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return Account{Address: onchain.Address(crypto.PubkeyToAddress(key.PublicKey)), key: key}
}

// Sign signs a digest as r‖s‖v.
func (a Account) Sign(t testing.TB, digest [32]byte) []byte {
	t.Helper()
	sig, err := crypto.Sign(digest[:], a.key)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// Sign makes the bytes of a transaction with the fees of an estimate.
func Sign(t testing.TB, c onchain.Chain, by Account, call onchain.Call, nonce uint64, e onchain.Estimate) (raw []byte, hash onchain.Hash) {
	t.Helper()
	u, err := evm.Build(c.Profile(), call, nonce, e.Gas, e.Fees)
	if err != nil {
		t.Fatal(err)
	}
	raw, hash, err = u.Assemble(by.Sign(t, u.Digest))
	if err != nil {
		t.Fatal(err)
	}
	return raw, hash
}

// Do estimates, signs and sends a call, and returns its receipt.
func Do(t testing.TB, c onchain.Chain, by Account, call onchain.Call) *onchain.Receipt {
	t.Helper()
	ctx := context.Background()
	e, err := c.Estimate(ctx, call)
	if err != nil {
		t.Fatalf("estimate: %v", err)
	}
	nonce, err := c.Nonce(ctx, by.Address, true)
	if err != nil {
		t.Fatalf("nonce: %v", err)
	}
	raw, hash := Sign(t, c, by, call, nonce, e)
	if got, err := c.Send(ctx, raw); err != nil || got != hash {
		t.Fatalf("send: %v, %v; want %v", got, err, hash)
	}
	return Await(t, c, hash)
}

// patience is how long something is waited for that a busy machine does late.
const patience = 2 * time.Minute

// Await waits for a receipt.
func Await(t testing.TB, c onchain.Chain, tx onchain.Hash) *onchain.Receipt {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		r, err := c.Receipt(context.Background(), tx)
		if err != nil && !errors.Is(err, onchain.ErrUnavailable) {
			t.Fatalf("receipt: %v", err)
		}
		if r != nil {
			return r
		}
	}
	t.Fatalf("transaction %s is in no block after %v", tx, patience)
	return nil
}

// GLM is an amount in wei.
func GLM(n int64) *big.Int {
	return new(big.Int).Mul(big.NewInt(n), big.NewInt(1_000_000_000_000_000_000))
}

// Run runs the suite; open makes a new lab for each part.
func Run(t *testing.T, open func(t *testing.T) Lab) {
	for name, part := range map[string]func(*testing.T, Lab){
		"a transfer moves tokens and is proved by its receipt":   transfers,
		"a packed transaction pays everybody":                    packed,
		"more than the payer has is refused before signing":      poor,
		"an account without gas coin cannot pay":                 gasless,
		"the same bytes twice are harmless":                      twice,
		"a replacement has to pay more":                          replacement,
		"a used nonce is refused":                                usedNonce,
		"another chain's transaction is refused":                 otherChain,
		"a call that reverts in its block moves nothing":         reverts,
		"the faucet gives once":                                  faucet,
		"a reorganisation puts a transaction into another block": reorganised,
		"a dropped transaction has no receipt":                   dropped,
		"logs find a payment":                                    logs,
		"blocks hang together":                                   blocks,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			part(t, open(t))
		})
	}
}
