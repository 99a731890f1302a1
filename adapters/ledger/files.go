package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// files are the derived files of a log and its checkpoint.
type files struct {
	dir      string // "" = nothing is kept
	readOnly bool
}

func (f files) tile(path string) string {
	return filepath.Join(f.dir, "tile", filepath.FromSlash(path))
}

// readTile returns what the file of a tile holds, nil when it is not there or
// has the wrong size.
func (f files) readTile(path string, size int) []byte {
	if f.dir == "" {
		return nil
	}
	b, err := os.ReadFile(f.tile(path))
	if err != nil || len(b) != size {
		return nil
	}
	return b
}

// writeTile puts a tile in its place, without sync: what is lost or torn is
// noticed and made anew.
func (f files) writeTile(path string, b []byte) error {
	if f.dir == "" || f.readOnly {
		return nil
	}
	name := f.tile(path)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	tmp := name + ".tmp"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}

// removePartial removes the parts of a tile that is full now.
func (f files) removePartial(path string) {
	if f.dir != "" && !f.readOnly {
		_ = os.RemoveAll(f.tile(path) + ".p") // what stays is right, if useless
	}
}

const checkpointName = "checkpoint"

// readCheckpoint returns the newest signed checkpoint, nil when there is none.
func (f files) readCheckpoint() ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(f.dir, checkpointName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// writeCheckpoint replaces the checkpoint. It is durable when there is no error.
func (f files) writeCheckpoint(b []byte) (err error) {
	name := filepath.Join(f.dir, checkpointName)
	defer func() {
		if err != nil {
			err = fmt.Errorf("keep the checkpoint: %w", err)
		}
	}()
	file, err := os.OpenFile(name+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(b)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return err
	}
	return syncDir(f.dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
