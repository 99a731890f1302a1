package secrets

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/emet-node/emet/domain/identity"
)

// OpenReadOnly reads what dir holds now, beside a process that has it open,
// and changes nothing. What is sealed can be read and the secrets of app-keys
// are there; the keys of identities are not. Storing anything fails with
// [os.ErrClosed]. A directory that is not there holds nothing.
func OpenReadOnly(dir string) (*Store, error) {
	kv, err := snapshot(dir)
	if err != nil {
		return nil, err
	}
	none := &Keys{dir: filepath.Join(dir, "keystore"), byID: make(map[identity.NodeID]*key)}
	return &Store{Keys: none, Vault: newVault(kv), AppKeys: &AppKeys{kv: kv}, Webhooks: &Webhooks{kv: kv}, dir: dir, kv: kv}, nil
}

func snapshot(dir string) (*journal, error) {
	path := filepath.Join(dir, "vault.db")
	empty := &journal{path: path, vals: make(map[string][]byte)}
	key, err := readSeed(filepath.Join(dir, "vault.key"))
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return nil, err
	}
	j, err := newJournal(path, key)
	if err != nil {
		return nil, err
	}
	for range 8 {
		b, replaced, err := readWhole(path)
		if errors.Is(err, fs.ErrNotExist) {
			return empty, nil
		}
		if err != nil {
			return nil, err
		}
		if replaced {
			continue // a deletion overwrote it meanwhile
		}
		_, err = j.take(b)
		return j, err
	}
	return nil, fmt.Errorf("%s changes while it is read; try again", path)
}

// readWhole reads a secret file and says whether another took its place
// meanwhile.
func readWhole(path string) (b []byte, replaced bool, err error) {
	if err := checkMode(path, "600"); err != nil {
		return nil, false, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close() //nolint:errcheck // nothing is written
	if b, err = io.ReadAll(f); err != nil {
		return nil, false, err
	}
	mine, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	now, err := os.Stat(path)
	return b, err == nil && !os.SameFile(mine, now), err
}
