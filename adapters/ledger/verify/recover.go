package verify

import (
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/delegation"
	"github.com/emet-node/emet/domain/peer"
)

// Recover returns who signed a digest with r‖s‖v: 65 bytes, v 0 or 1, and s in
// the lower half only.
func Recover(digest [32]byte, rsv []byte) (identity.NodeID, error) {
	if len(rsv) != 65 || !crypto.ValidateSignatureValues(rsv[64], new(big.Int).SetBytes(rsv[:32]), new(big.Int).SetBytes(rsv[32:64]), true) {
		return "", fmt.Errorf("%w: a signature of r, s and v", ErrMalformed)
	}
	p, err := crypto.SigToPub(digest[:], rsv)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return identity.NodeIDFrom(crypto.PubkeyToAddress(*p)), nil
}

// Vouched checks that an identity vouches for the key of its log, and returns
// both. It fails with [ErrAttested].
func Vouched(a peer.Delegation) (delegation.Document, Key, error) {
	d, err := delegation.Parse([]byte(a.Document))
	if err != nil {
		return d, Key{}, fmt.Errorf("%w: %w", ErrAttested, err)
	}
	who, err := Recover(d.Digest(keccak), a.Signature)
	if err != nil || who != d.Identity {
		return d, Key{}, fmt.Errorf("%w: %s did not sign it", ErrAttested, d.Identity)
	}
	key, err := logKey(d)
	return d, key, err
}
