package verify

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/delegation"
	"github.com/emet-node/emet/domain/ledger"
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

// Keccak is Keccak-256 over the parts in order, for digests of delegations.
func Keccak(parts ...[]byte) []byte { return crypto.Keccak256(parts...) }

// Delegation reads a delegation and checks that its identity signed it. Its
// role and its time are for the caller to see. It fails with [ErrAttested].
func Delegation(d peer.Delegation) (delegation.Document, error) {
	doc, err := delegation.Parse([]byte(d.Document))
	if err != nil {
		return doc, fmt.Errorf("%w: %w", ErrAttested, err)
	}
	who, err := Recover(doc.Digest(Keccak), d.Signature)
	if err != nil || who != doc.Identity {
		return doc, fmt.Errorf("%w: %s did not sign it", ErrAttested, doc.Identity)
	}
	return doc, nil
}

// Vouched checks that an identity vouches for the key of its log, and returns
// both. It fails with [ErrAttested].
func Vouched(d peer.Delegation) (delegation.Document, Key, error) {
	doc, err := Delegation(d)
	if err != nil {
		return doc, Key{}, err
	}
	key, err := LogKey(doc)
	return doc, key, err
}

// LogKey is the key that a delegation of role log is for, under the name of its
// log, which must be in the name of the identity. It fails with [ErrAttested].
func LogKey(d delegation.Document) (Key, error) {
	public, err := hex.DecodeString(strings.TrimPrefix(d.PublicKey, "08011220"))
	if err != nil || d.Role != delegation.Log || len(public) != ed25519.PublicKeySize || ledger.KeyOf(public) != d.PublicKey {
		return Key{}, fmt.Errorf("%w: the attestation is for no key of a log", ErrAttested)
	}
	if !strings.HasPrefix(d.Subject, "emet/"+string(d.Identity)+"/") || !validName(d.Subject) {
		return Key{}, fmt.Errorf("%w: %s vouches for the log of somebody else, %q", ErrAttested, d.Identity, d.Subject)
	}
	return Key{Name: d.Subject, Public: public}, nil
}
