package secrets

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/delegation"
	"github.com/emet-node/emet/domain/peer"
)

// StatementPrefix begins the text form of signatures over statements; 130
// hexadecimal digits (r‖s‖v) follow.
const StatementPrefix = "emet1:"

// NoSignature stands where other nodes sign nothing.
const NoSignature = "NoSignature"

// TagAgreement begins statements over agreements. A signature under one tag is
// worth nothing under another.
const TagAgreement = "emet/agreement/1"

// Errors of checking.
var (
	ErrSignature  = errors.New("bad signature")
	ErrNotSigned  = errors.New("not signed")
	errStatements = errors.New("tag of a statement: want emet/<what>/<version>")
)

// SignAgreement signs the canonical JSON of an agreement's terms or of a step
// on them: "emet1:" and r‖s‖v over [StatementDigest] with [TagAgreement].
func (k *Keys) SignAgreement(ctx context.Context, id identity.NodeID, canonical []byte) (string, error) {
	return k.SignStatement(ctx, id, TagAgreement, canonical)
}

// SignStatement signs canonical JSON under a tag of this program.
func (k *Keys) SignStatement(_ context.Context, id identity.NodeID, tag string, canonical []byte) (string, error) {
	d, err := StatementDigest(tag, canonical)
	if err != nil {
		return "", err
	}
	sig, err := k.sign(id, d)
	if err != nil {
		return "", err
	}
	return StatementPrefix + hex.EncodeToString(sig), nil
}

// SignPayment signs the canonical JSON of a payment as Golem nodes do:
// v‖r‖s over its SHA3-256, v ∈ {0,1}.
func (k *Keys) SignPayment(_ context.Context, id identity.NodeID, canonical []byte) ([]byte, error) {
	return k.signVRS(id, PaymentDigest(canonical))
}

// PaymentDigest is what a payer signs: SHA3-256 (not Keccak) of the payment's
// canonical JSON.
func PaymentDigest(canonical []byte) [32]byte { return sha3.Sum256(canonical) }

// SignTransaction signs the signing hash of a chain transaction: r‖s‖v.
func (k *Keys) SignTransaction(_ context.Context, id identity.NodeID, hash [32]byte) ([]byte, error) {
	return k.sign(id, hash)
}

// SignDelegation lets another key speak for an identity. The document's
// identity is the one that signs.
func (k *Keys) SignDelegation(_ context.Context, d delegation.Document) (peer.Delegation, error) {
	text, err := d.Canonical()
	if err != nil {
		return peer.Delegation{}, err
	}
	sig, err := k.sign(d.Identity, d.Digest(crypto.Keccak256))
	if err != nil {
		return peer.Delegation{}, err
	}
	return peer.Delegation{Document: string(text), Signature: sig}, nil
}

// SignFile signs the SHA-256 of a file's content for the operator: v‖r‖s.
func (k *Keys) SignFile(_ context.Context, id identity.NodeID, content []byte) ([]byte, error) {
	return k.signVRS(id, sha256.Sum256(content))
}

func (k *Keys) sign(id identity.NodeID, digest [32]byte) ([]byte, error) {
	secret, err := k.secret(id)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return sign(secret, digest)
}

// sign yields r‖s‖v with s in the lower half: RFC 6979, the same each time.
func sign(secret *ecdsa.PrivateKey, digest [32]byte) ([]byte, error) {
	return crypto.Sign(digest[:], secret)
}

func (k *Keys) signVRS(id identity.NodeID, digest [32]byte) ([]byte, error) {
	rsv, err := k.sign(id, digest)
	if err != nil {
		return nil, err
	}
	return append([]byte{rsv[64]}, rsv[:64]...), nil
}

// StatementDigest is SHA-256(tag ‖ 0 ‖ canonical).
func StatementDigest(tag string, canonical []byte) ([32]byte, error) {
	if !strings.HasPrefix(tag, "emet/") || strings.ContainsRune(tag, 0) {
		return [32]byte{}, fmt.Errorf("%w, not %q", errStatements, tag)
	}
	return sha256.Sum256(append([]byte(tag+"\x00"), canonical...)), nil
}

// Recover returns who signed a digest with r‖s‖v. It takes 65 bytes, v 0 or 1,
// and s in the lower half only, so that nobody can change a signature.
func Recover(digest [32]byte, rsv []byte) (identity.NodeID, error) {
	if len(rsv) != 65 {
		return "", fmt.Errorf("%w: %d bytes, want 65", ErrSignature, len(rsv))
	}
	r, s := new(big.Int).SetBytes(rsv[:32]), new(big.Int).SetBytes(rsv[32:64])
	if !crypto.ValidateSignatureValues(rsv[64], r, s, true) {
		return "", fmt.Errorf("%w: r, s or v is out of range", ErrSignature)
	}
	p, err := crypto.SigToPub(digest[:], rsv)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return nodeID(p), nil
}

// RecoverVRS is Recover for v‖r‖s.
func RecoverVRS(digest [32]byte, vrs []byte) (identity.NodeID, error) {
	if len(vrs) != 65 {
		return "", fmt.Errorf("%w: %d bytes, want 65", ErrSignature, len(vrs))
	}
	return Recover(digest, append(append(make([]byte, 0, 65), vrs[1:]...), vrs[0]))
}

func is(want identity.NodeID, got identity.NodeID, err error) error {
	if err == nil && got != want {
		err = fmt.Errorf("%w: it is of %s, not of %s", ErrSignature, got, want)
	}
	return err
}

// VerifyStatement checks the text form of a signature. Nothing and
// [NoSignature] are [ErrNotSigned].
func VerifyStatement(signer identity.NodeID, tag string, canonical []byte, signature string) error {
	if signature == "" || signature == NoSignature {
		return ErrNotSigned
	}
	d, err := StatementDigest(tag, canonical)
	if err != nil {
		return err
	}
	digits, ok := strings.CutPrefix(signature, StatementPrefix)
	sig, err := hex.DecodeString(digits)
	if !ok || err != nil || hex.EncodeToString(sig) != digits {
		return fmt.Errorf("%w: want %s and lower-case hexadecimal", ErrSignature, StatementPrefix)
	}
	got, err := Recover(d, sig)
	return is(signer, got, err)
}

// VerifyAgreement is VerifyStatement with [TagAgreement].
func VerifyAgreement(signer identity.NodeID, canonical []byte, signature string) error {
	return VerifyStatement(signer, TagAgreement, canonical, signature)
}
