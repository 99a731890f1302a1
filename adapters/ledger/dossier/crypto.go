package dossier

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha3"
	"errors"

	"github.com/emet-node/emet/adapters/ledger/verify"
)

var errSignature = errors.New("the signature is malformed")

// sha3256 is what payers sign a document by: SHA3-256, not Keccak.
func sha3256(b []byte) [32]byte { return sha3.Sum256(b) }

// What sealed content begins with: 1, the id of a key, a nonce.
const (
	sealedNonce = 1 + 8
	sealedText  = sealedNonce + 12
	eventKey    = 32 // bytes
)

var errSealed = errors.New("the key does not open the content")

// openSealed opens the content of one event with its own key.
func openSealed(key []byte, l verify.Leaf, b []byte) ([]byte, error) {
	if len(key) != eventKey || len(b) < sealedText || b[0] != 1 {
		return nil, errSealed
	}
	both, err := hkdf.Expand(sha256.New, key, "emet/seal/1", 64)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(both[:32])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	out, err := aead.Open(nil, b[sealedNonce:sealedText], b[sealedText:], []byte(string(l.Stream)+"\x00"+l.Type+"\x00"+string(l.ID[:])))
	if err != nil {
		return nil, errSealed
	}
	return out, nil
}
