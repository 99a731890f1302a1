package blobs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
)

// Path is where a blob lies, or would. It fails when sum is no address.
func (s *Store) Path(sum string) (string, error) { return s.path(sum) }

// Check reads a whole blob. It fails with [ErrUnknown] when it is not there and
// with [ErrDamaged] when it is not what its address says.
func (s *Store) Check(sum string) error {
	r, err := s.Open(sum)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // only read
	_, err = io.Copy(io.Discard, r)
	return err
}

// All are the addresses of the blobs that are there, sorted. What was never
// finished has none.
func (s *Store) All() ([]string, error) {
	var out []string
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // none was ever kept, or it was moved into its place
		}
		if err != nil || d.IsDir() {
			return err
		}
		if at, err := s.path(d.Name()); err == nil && at == path {
			out = append(out, d.Name())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	return out, nil
}
