// Package blobs keeps content that is too large for the log, each under the
// SHA-256 of its bytes. A blob that is there is whole: it appears under its
// name only when it is on disk.
package blobs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrUnknown says that there is no blob of that address.
var ErrUnknown = errors.New("there is no such blob")

// Store is a directory of blobs. It is safe for concurrent use.
type Store struct{ dir string }

// Open opens the store in dir, which is made 0700 when absent.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	return &Store{dir: dir}, nil
}

// OpenReadOnly is the store in dir, which need not be there, for reading. It
// makes nothing.
func OpenReadOnly(dir string) *Store { return &Store{dir: dir} }

// path is <dir>/ab/cd/<the whole address>.
func (s *Store) path(sum string) (string, error) {
	if b, err := hex.DecodeString(sum); err != nil || len(b) != sha256.Size {
		return "", fmt.Errorf("blob %.80q: want 64 hexadecimal digits", sum)
	}
	return filepath.Join(s.dir, sum[:2], sum[2:4], sum), nil
}

// Put stores content and returns its address, in hex, and size. It is durable
// when Put returns. The same content is stored once.
func (s *Store) Put(content io.Reader) (sum string, size int64, err error) {
	tmp, err := os.CreateTemp(s.dir, "new-*")
	if err != nil {
		return "", 0, fmt.Errorf("blobs: %w", err)
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // gone when it was renamed
	defer tmp.Close()           //nolint:errcheck // synced before
	h := sha256.New()
	if size, err = io.Copy(io.MultiWriter(tmp, h), content); err != nil {
		return "", 0, fmt.Errorf("blobs: %w", err)
	}
	sum = hex.EncodeToString(h.Sum(nil))
	if err := tmp.Sync(); err != nil {
		return "", 0, fmt.Errorf("blobs: %w", err)
	}
	return sum, size, s.place(tmp.Name(), sum)
}

func (s *Store) place(tmp, sum string) error {
	path, err := s.path(sum)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("blobs: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("blobs: %w", err)
	}
	for _, d := range []string{dir, filepath.Dir(dir), s.dir} {
		if err := syncDir(d); err != nil {
			return fmt.Errorf("blobs: %w", err)
		}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // only synced
	return d.Sync()
}

// Open reads a blob and checks it on the way: a reader that reaches the end of
// damaged content gets an error instead of [io.EOF]. It fails with [ErrUnknown].
func (s *Store) Open(sum string) (io.ReadCloser, error) {
	path, err := s.path(sum)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, sum)
	}
	if err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	return &checked{file: f, want: sum, sum: sha256.New()}, nil
}
