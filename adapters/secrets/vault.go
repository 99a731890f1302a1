package secrets

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/emet-node/emet/domain/es"
)

// Vault seals the content of facts with keys of their subjects. Deleting a
// subject's key erases everything that was sealed with it.
//
// Sealed data is
//
//	1 ‖ key id (8) ‖ nonce (12) ‖ AES-256-GCM
//
// under a key of that event alone (HKDF-SHA-256 of the subject's key, with the
// event id as salt), bound to stream, type and event id. The nonce is a MAC of
// the content: the same fact seals to the same bytes, so that an append can be
// repeated, and two contents under one id never share a nonce.
type Vault struct{ kv *journal }

var _ es.Sealer = (*Vault)(nil)

const (
	subjects  = "subject/"
	sealedV1  = 1
	keyIDSize = 8
	nonceSize = 12
	prefix    = 1 + keyIDSize + nonceSize
)

// ErrForged says that sealed content was changed, or moved to another event.
var ErrForged = errors.New("sealed content is not what was written")

func newVault(kv *journal) *Vault { return &Vault{kv: kv} }

// Seal implements [es.Sealer]. The subject's key is durable when it returns.
func (v *Vault) Seal(_ context.Context, s es.Stream, e *es.NewEvent) error {
	subject, _, err := v.kv.ensure(subjects+e.Subject, func() []byte {
		b := make([]byte, keyIDSize+32)
		rand.Read(b) //nolint:errcheck // never fails
		return b
	})
	if err != nil {
		return fmt.Errorf("key of %s: %w", e.Subject, err)
	}
	key, err := eventKey(subject[keyIDSize:], e.ID)
	if err != nil {
		return err
	}
	aead, nonces, err := ciphers(key, nonceKeySize)
	if err != nil {
		return err
	}
	bound := aad(s, e.Type, e.ID)
	mac := hmac.New(sha256.New, nonces)
	mac.Write(sha256sum(bound))
	mac.Write(e.Data)
	nonce := mac.Sum(nil)[:nonceSize]
	out := append(append([]byte{sealedV1}, subject[:keyIDSize]...), nonce...)
	e.Data = aead.Seal(out, nonce, e.Data, bound)
	return nil
}

// Open implements [es.Sealer].
func (v *Vault) Open(_ context.Context, e *es.Event) error {
	key, err := v.EventKey(e)
	if err != nil {
		return err
	}
	data, err := OpenWith(key, e)
	if err != nil {
		return err
	}
	e.Data = data
	return nil
}

// EventKey is the key of one sealed event: whoever gets it can read that event
// with [OpenWith] and no other.
func (v *Vault) EventKey(e *es.Event) ([]byte, error) {
	if len(e.Data) < prefix || e.Data[0] != sealedV1 {
		return nil, fmt.Errorf("event %d: %w", e.Position, ErrForged)
	}
	subject, ok := v.kv.get(subjects + e.Subject)
	if !ok || string(subject[:keyIDSize]) != string(e.Data[1:1+keyIDSize]) {
		return nil, es.ErrErased
	}
	return eventKey(subject[keyIDSize:], e.ID)
}

// OpenWith returns the content of a sealed event by its own key.
func OpenWith(key []byte, e *es.Event) ([]byte, error) {
	if len(e.Data) < prefix || e.Data[0] != sealedV1 {
		return nil, fmt.Errorf("event %d: %w", e.Position, ErrForged)
	}
	aead, _, err := ciphers(key, 0)
	if err != nil {
		return nil, err
	}
	data, err := aead.Open(nil, e.Data[1+keyIDSize:prefix], e.Data[prefix:], aad(e.Stream, e.Type, e.ID))
	if err != nil {
		return nil, fmt.Errorf("event %d: %w", e.Position, ErrForged)
	}
	return data, nil
}

// Erase deletes the key of a subject for good.
func (v *Vault) Erase(_ context.Context, subject string) error {
	if err := v.kv.remove(subjects + subject); err != nil {
		return fmt.Errorf("erase %s: %w", subject, err)
	}
	return nil
}

func eventKey(subject []byte, id es.ID) ([]byte, error) {
	return hkdf.Key(sha256.New, subject, id[:], "emet/event/1", 32)
}

const nonceKeySize = 32

// ciphers splits an event's key into one that encrypts and one that makes
// nonces, of which who only opens needs no bytes.
func ciphers(key []byte, nonceKey int) (cipher.AEAD, []byte, error) {
	both, err := hkdf.Expand(sha256.New, key, "emet/seal/1", 32+nonceKey)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(both[:32])
	if err != nil {
		return nil, nil, err
	}
	aead, err := cipher.NewGCM(block)
	return aead, both[32:], err
}

func aad(s es.Stream, typ string, id es.ID) []byte {
	return append([]byte(string(s)+"\x00"+typ+"\x00"), id[:]...)
}

func sha256sum(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}
