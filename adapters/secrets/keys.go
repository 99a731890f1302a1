package secrets

import (
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/emet-node/emet/domain/identity"
)

// Errors of the keystore.
var (
	ErrNoKey  = errors.New("there is no key of this identity")
	ErrLocked = errors.New("the identity is locked")
	ErrSecret = errors.New("a secret key has 64 hexadecimal digits, without 0x")
)

// Keys are the identities of this node: one key file each. A key whose
// passphrase is empty unlocks itself when it is first needed, since deriving
// it takes about a sixth of a second. Keys is safe for concurrent use.
type Keys struct {
	dir  string
	mu   sync.Mutex
	byID map[identity.NodeID]*key
}

// key is one identity. Its lock is held while the passphrase is derived.
type key struct {
	mu     sync.Mutex
	file   []byte
	secret *ecdsa.PrivateKey // nil = locked
	tried  bool              // the empty passphrase was tried, or Lock was called
}

// KeyInfo is what may be known of an identity's key.
type KeyInfo struct {
	ID        identity.NodeID
	Locked    bool
	PublicKey string // X‖Y, 128 hexadecimal digits; "" while locked
}

// OpenKeys reads the key files in dir.
func OpenKeys(dir string) (*Keys, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	k := &Keys{dir: dir, byID: make(map[identity.NodeID]*key)}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		id, err := identity.ParseNodeID(name)
		if err != nil {
			return nil, fmt.Errorf("%s: a key file is named <node id>.json: %w", filepath.Join(dir, e.Name()), err)
		}
		b, err := readFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		k.byID[id] = &key{file: b}
	}
	return k, nil
}

func (k *Keys) path(id identity.NodeID) string { return filepath.Join(k.dir, string(id)+".json") }

// Create makes a random identity. It is unlocked, and its file is durable.
func (k *Keys) Create(passphrase string) (KeyInfo, error) {
	secret, err := crypto.GenerateKey()
	if err != nil {
		return KeyInfo{}, err
	}
	return k.add(secret, passphrase)
}

// Import adds the identity of a secret key (64 hexadecimal digits). One that
// is there already is unlocked and keeps its file.
func (k *Keys) Import(secretHex, passphrase string) (KeyInfo, error) {
	b, err := hex.DecodeString(secretHex)
	if err != nil || len(b) != 32 {
		return KeyInfo{}, ErrSecret
	}
	secret, err := crypto.ToECDSA(b)
	if err != nil {
		return KeyInfo{}, ErrSecret // the cause could show the key
	}
	return k.add(secret, passphrase)
}

// ImportFile adds the identity of a key file. When the passphrase opens it, it
// is unlocked and the address must be that of the secret.
func (k *Keys) ImportFile(file []byte, passphrase string) (KeyInfo, error) {
	f, err := parseKeyFile(file)
	if err != nil {
		return KeyInfo{}, err
	}
	b, err := openKey(file, passphrase)
	if err != nil {
		return KeyInfo{}, err
	}
	secret, err := crypto.ToECDSA(b)
	if err != nil {
		return KeyInfo{}, fmt.Errorf("%w: its content is no key", ErrKeyFile)
	}
	id := nodeID(&secret.PublicKey)
	if claimed := "0x" + strings.ToLower(strings.TrimPrefix(f.Address, "0x")); f.Address != "" && claimed != string(id) {
		return KeyInfo{}, fmt.Errorf("%w: it says %s but holds the key of %s", ErrKeyFile, claimed, id)
	}
	return k.add(secret, passphrase)
}

func (k *Keys) add(secret *ecdsa.PrivateKey, passphrase string) (KeyInfo, error) {
	id := nodeID(&secret.PublicKey)
	k.mu.Lock()
	old := k.byID[id]
	k.mu.Unlock()
	if old == nil {
		file, err := sealKey(crypto.FromECDSA(secret), id, passphrase)
		if err != nil {
			return KeyInfo{}, err
		}
		if err := writeFile(k.path(id), file); err != nil {
			return KeyInfo{}, fmt.Errorf("store the key of %s: %w", id, err)
		}
		old = &key{file: file}
		k.mu.Lock()
		k.byID[id] = old
		k.mu.Unlock()
	}
	old.mu.Lock()
	defer old.mu.Unlock()
	old.secret, old.tried = secret, true
	return old.info(id), nil
}

// List names the identities in order. It does not wait for a key that was not
// needed yet and tells what an empty passphrase would do only when asked with
// [Keys.Info].
func (k *Keys) List() []identity.NodeID {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Sorted(maps.Keys(k.byID))
}

func (k *Keys) find(id identity.NodeID) (*key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s, ok := k.byID[id]; ok {
		return s, nil
	}
	return nil, fmt.Errorf("%s: %w", id, ErrNoKey)
}

// Info tells about one identity; it may take as long as deriving its key.
func (k *Keys) Info(id identity.NodeID) (KeyInfo, error) {
	s, err := k.find(id)
	if err != nil {
		return KeyInfo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.try(id)
	return s.info(id), nil
}

func (s *key) info(id identity.NodeID) KeyInfo {
	if s.secret == nil {
		return KeyInfo{ID: id, Locked: true}
	}
	return KeyInfo{ID: id, PublicKey: hex.EncodeToString(crypto.FromECDSAPub(&s.secret.PublicKey)[1:])}
}

// try unlocks with the empty passphrase, once.
func (s *key) try(id identity.NodeID) {
	if s.secret == nil && !s.tried {
		s.unlock(id, "") //nolint:errcheck // then it stays locked
	}
	s.tried = true
}

func (s *key) unlock(id identity.NodeID, passphrase string) error {
	b, err := openKey(s.file, passphrase)
	if err != nil {
		return err
	}
	secret, err := crypto.ToECDSA(b)
	if err != nil || nodeID(&secret.PublicKey) != id {
		return fmt.Errorf("%w: the file of %s holds another key", ErrKeyFile, id)
	}
	s.secret, s.tried = secret, true
	return nil
}

// Unlock makes an identity able to sign; [ErrPassphrase] says that it is not
// the right one.
func (k *Keys) Unlock(id identity.NodeID, passphrase string) error {
	s, err := k.find(id)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.unlock(id, passphrase); err != nil {
		return fmt.Errorf("unlock %s: %w", id, err)
	}
	return nil
}

// Lock forgets the secret until Unlock or the next start.
func (k *Keys) Lock(id identity.NodeID) error {
	s, err := k.find(id)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secret, s.tried = nil, true
	return nil
}

// ChangePassphrase writes the key file anew. The identity must be unlocked.
func (k *Keys) ChangePassphrase(id identity.NodeID, passphrase string) error {
	s, err := k.find(id)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.try(id); s.secret == nil {
		return fmt.Errorf("%s: %w", id, ErrLocked)
	}
	file, err := sealKey(crypto.FromECDSA(s.secret), id, passphrase)
	if err == nil {
		err = writeFile(k.path(id), file)
	}
	if err != nil {
		return fmt.Errorf("store the key of %s: %w", id, err)
	}
	s.file = file
	return nil
}

// Export returns the key file.
func (k *Keys) Export(id identity.NodeID) ([]byte, error) {
	s, err := k.find(id)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.file), nil
}

// ExportPlain returns the secret in hexadecimal. The identity must be unlocked.
func (k *Keys) ExportPlain(id identity.NodeID) (string, error) {
	secret, err := k.secret(id)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(crypto.FromECDSA(secret)), nil
}

// Delete erases an identity's key file for good.
func (k *Keys) Delete(id identity.NodeID) error {
	if _, err := k.find(id); err != nil {
		return err
	}
	if err := os.Remove(k.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	k.mu.Lock()
	delete(k.byID, id)
	k.mu.Unlock()
	return syncDir(k.dir)
}

// secret returns the key of an unlocked identity.
func (k *Keys) secret(id identity.NodeID) (*ecdsa.PrivateKey, error) {
	s, err := k.find(id)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.try(id); s.secret == nil {
		return nil, fmt.Errorf("%s: %w", id, ErrLocked)
	}
	return s.secret, nil
}

func (k *Keys) forget() {
	for _, id := range k.List() {
		k.Lock(id) //nolint:errcheck // dropped meanwhile
	}
}

func nodeID(p *ecdsa.PublicKey) identity.NodeID {
	return identity.NodeIDFrom(crypto.PubkeyToAddress(*p))
}
