package evm

import (
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/emet-node/emet/domain/payment/onchain"
)

// Unsigned is a transaction that waits for its signature.
type Unsigned struct {
	// Digest is what the key has to sign: the Keccak-256 that EIP-1559 and
	// EIP-155 prescribe, so it binds the chain, the nonce and every field.
	Digest [32]byte

	from onchain.Address
	id   *big.Int
	tx   *types.Transaction
}

// Build makes a type-2 transaction of a call on p's chain. The same arguments
// always give the same bytes.
func Build(p onchain.Profile, c onchain.Call, nonce, gas uint64, fees onchain.Fees) (Unsigned, error) {
	if c.From.IsZero() || c.To.IsZero() {
		return Unsigned{}, fmt.Errorf("transaction from %s to %s on %s: both must be known", c.From, c.To, p.Network)
	}
	if fees.Tip > fees.MaxFee {
		return Unsigned{}, fmt.Errorf("transaction on %s: tip of %d wei is above the whole fee of %d wei", p.Network, fees.Tip, fees.MaxFee)
	}
	to := common.Address(c.To)
	id := new(big.Int).SetUint64(p.ChainID)
	tx := types.NewTx(&types.DynamicFeeTx{
		ChainID: id, Nonce: nonce, Gas: gas, To: &to, Data: c.Data, Value: value(c),
		GasTipCap: new(big.Int).SetUint64(fees.Tip), GasFeeCap: new(big.Int).SetUint64(fees.MaxFee),
	})
	return Unsigned{Digest: types.LatestSignerForChainID(id).Hash(tx), from: c.From, id: id, tx: tx}, nil
}

// Assemble joins transaction and signature r‖s‖v, v being 0, 1, 27 or 28. It
// returns the bytes to send and their hash. A signature that is not by the
// sender, or is the higher of its two forms, is refused.
func (u Unsigned) Assemble(signature []byte) (raw []byte, hash onchain.Hash, err error) {
	sig, err := canonical(signature)
	if err != nil {
		return nil, onchain.Hash{}, err
	}
	signer := types.LatestSignerForChainID(u.id)
	tx, err := u.tx.WithSignature(signer, sig)
	if err != nil {
		return nil, onchain.Hash{}, fmt.Errorf("signature of a transaction: %w", err)
	}
	if by, err := types.Sender(signer, tx); err != nil || onchain.Address(by) != u.from {
		return nil, onchain.Hash{}, fmt.Errorf("signature of a transaction: made by %s, wanted from %s", by, u.from)
	}
	raw, err = tx.MarshalBinary()
	return raw, onchain.Hash(tx.Hash()), err
}

// canonical checks the form of a signature, and brings v down to 0 or 1.
func canonical(signature []byte) ([]byte, error) {
	if len(signature) != 65 {
		return nil, fmt.Errorf("signature of a transaction: %d bytes, want 65: r, s and v", len(signature))
	}
	sig := append([]byte(nil), signature...)
	if sig[64] >= 27 {
		sig[64] -= 27
	}
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:64])
	if !crypto.ValidateSignatureValues(sig[64], r, s, true) {
		return nil, errors.New("signature of a transaction: r, s or v out of range")
	}
	return sig, nil
}

// Signed is what the bytes of a transaction say.
type Signed struct {
	ChainID uint64
	Call    onchain.Call
	Fees    onchain.Fees
	Gas     uint64
	Hash    onchain.Hash
	Nonce   uint64
}

// Decode reads the bytes of a signed type-2 transaction, and who signed it.
func Decode(raw []byte) (Signed, error) {
	var tx types.Transaction
	if err := tx.UnmarshalBinary(raw); err != nil {
		return Signed{}, fmt.Errorf("signed transaction of %d bytes: %w", len(raw), err)
	}
	if tx.Type() != types.DynamicFeeTxType || tx.To() == nil || !tx.ChainId().IsUint64() {
		return Signed{}, errors.New("signed transaction: want type 2, with a receiver")
	}
	from, err := types.Sender(types.LatestSignerForChainID(tx.ChainId()), &tx)
	if err != nil {
		return Signed{}, fmt.Errorf("signed transaction: %w", err)
	}
	if !tx.GasFeeCap().IsUint64() || !tx.GasTipCap().IsUint64() {
		return Signed{}, errors.New("signed transaction: fee beyond reason")
	}
	return Signed{
		ChainID: tx.ChainId().Uint64(), Gas: tx.Gas(), Hash: onchain.Hash(tx.Hash()), Nonce: tx.Nonce(),
		Call: onchain.Call{From: onchain.Address(from), To: onchain.Address(*tx.To()), Data: tx.Data(), Value: tx.Value()},
		Fees: onchain.Fees{MaxFee: tx.GasFeeCap().Uint64(), Tip: tx.GasTipCap().Uint64()},
	}, nil
}

func value(c onchain.Call) *big.Int {
	if c.Value == nil {
		return new(big.Int)
	}
	return c.Value
}
