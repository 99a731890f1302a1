package secrets

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// ErrTooOpen says that others could read a secret. The error names the
// command that closes the gap.
var ErrTooOpen = errors.New("secrets are readable by others")

// makeDir makes a directory for its owner alone, or checks one that is there.
func makeDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	return checkMode(path, "700")
}

// checkMode refuses files and directories that group or others may touch.
func checkMode(path, want string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%w: %s has mode %04o; run: chmod %s %s", ErrTooOpen, path, info.Mode().Perm(), want, path)
	}
	return nil
}

// readFile reads a secret file after checking its mode.
func readFile(path string) ([]byte, error) {
	if err := checkMode(path, "600"); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// writeFile replaces a file in one step; it is durable when it returns.
func writeFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // gone after the rename
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if runtime.GOOS == "windows" {
		err = nil // directories cannot be synced there
	}
	return errors.Join(err, d.Close())
}

// seed reads 32 secret bytes from a file in hexadecimal, or makes the file
// with random ones.
func seed(path string) ([]byte, error) {
	s, err := readSeed(path)
	if errors.Is(err, fs.ErrNotExist) {
		s = make([]byte, 32)
		rand.Read(s) //nolint:errcheck // never fails
		return s, writeFile(path, []byte(hex.EncodeToString(s)+"\n"))
	}
	return s, err
}

func readSeed(path string) ([]byte, error) {
	b, err := readFile(path)
	if err != nil {
		return nil, err
	}
	s, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(s) != 32 {
		return nil, fmt.Errorf("secrets: %s does not hold 64 hexadecimal digits", path)
	}
	return s, nil
}

// Store is an open directory of secrets. One process has it open at a time;
// the lock of the data directory sees to that.
type Store struct {
	Keys     *Keys
	Vault    *Vault
	AppKeys  *AppKeys
	Webhooks *Webhooks
	dir      string
	kv       *journal
}

// Open opens the secrets in dir and makes what is missing. It derives no keys,
// so it is quick.
func Open(dir string) (*Store, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	key, err := seed(filepath.Join(dir, "vault.key"))
	if err != nil {
		return nil, err
	}
	keys, err := OpenKeys(filepath.Join(dir, "keystore"))
	if err != nil {
		return nil, err
	}
	kv, err := openJournal(filepath.Join(dir, "vault.db"), key)
	if err != nil {
		return nil, err
	}
	return &Store{Keys: keys, Vault: newVault(kv), AppKeys: &AppKeys{kv: kv}, Webhooks: &Webhooks{kv: kv}, dir: dir, kv: kv}, nil
}

// HostKey is the key of the node on the network, made at first use.
func (s *Store) HostKey() (ed25519.PrivateKey, error) { return s.edKey("host.key") }

// LogKey is the key that signs checkpoints of the log, made at first use.
func (s *Store) LogKey() (ed25519.PrivateKey, error) { return s.edKey("log.key") }

func (s *Store) edKey(name string) (ed25519.PrivateKey, error) {
	b, err := seed(filepath.Join(s.dir, name))
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(b), nil
}

// Close closes the files and forgets unlocked keys.
func (s *Store) Close() error {
	s.Keys.forget()
	return s.kv.close()
}
