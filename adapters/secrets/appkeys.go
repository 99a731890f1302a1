package secrets

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// AppKeys keeps the secrets of app-keys by name, since listing them must show
// them. They are encrypted in the file. AppKeys is safe for concurrent use.
type AppKeys struct{ kv *journal }

const appKeys = "appkey/"

// NewAppKey makes a secret: 32 lower-case hexadecimal digits.
func NewAppKey() string {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // never fails
	return hex.EncodeToString(b[:])
}

// HashAppKey is the SHA-256 of a secret's text, by which the node knows it.
func HashAppKey(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// AppKeyPrefix is what may be shown of a secret: its first 6 characters, less
// of one that is shorter than 12.
func AppKeyPrefix(secret string) string {
	r := []rune(secret)
	return string(r[:min(6, len(r)/2)])
}

// Put stores a secret under a name, in place of the one that was there.
func (a *AppKeys) Put(name, secret string) error {
	if err := a.kv.put(appKeys+name, []byte(secret)); err != nil {
		return fmt.Errorf("app-key %q: %w", name, err)
	}
	return nil
}

// Get returns the secret of a name.
func (a *AppKeys) Get(name string) (secret string, ok bool) {
	b, ok := a.kv.get(appKeys + name)
	return string(b), ok
}

// List names all keys that have a secret here, in order.
func (a *AppKeys) List() []string { return a.kv.names(appKeys) }

// Delete erases the secret of a name; one that is not there is no error.
func (a *AppKeys) Delete(name string) error {
	if err := a.kv.remove(appKeys + name); err != nil {
		return fmt.Errorf("app-key %q: %w", name, err)
	}
	return nil
}
