package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
)

// Disk is where tiles and the checkpoint are kept. Names are slash-separated.
type Disk interface {
	// ReadFile returns the content of a file, fs.ErrNotExist when there is none.
	ReadFile(name string) ([]byte, error)
	// Put writes a file without sync, and the directories above it. It is there
	// whole or not at all unless the power is lost.
	Put(name string, content []byte) error
	// Replace is Put, and survives the loss of power.
	Replace(name string, content []byte) error
	// Sweep removes a directory with its files as far as it can.
	Sweep(dir string)
}

// files are the derived files of a log and its checkpoint.
type files struct {
	dir      string // "" = nothing is kept
	readOnly bool
	disk     Disk
}

func (f files) tile(name string) string { return path.Join(f.dir, "tile", name) }

// readTile returns what the file of a tile holds, nil when it is not there or
// has the wrong size.
func (f files) readTile(name string, size int) []byte {
	if f.dir == "" {
		return nil
	}
	b, err := f.disk.ReadFile(f.tile(name))
	if err != nil || len(b) != size {
		return nil
	}
	return b
}

// writeTile puts a tile in its place, without sync: what is lost or torn is
// noticed and made anew.
func (f files) writeTile(name string, b []byte) error {
	if f.dir == "" || f.readOnly {
		return nil
	}
	return f.disk.Put(f.tile(name), b)
}

// removePartial removes the parts of a tile that is full now.
func (f files) removePartial(name string) {
	if f.dir != "" && !f.readOnly {
		f.disk.Sweep(f.tile(name) + ".p") // what stays is right, if useless
	}
}

const checkpointName = "checkpoint"

// readCheckpoint returns the newest signed checkpoint, nil when there is none.
func (f files) readCheckpoint() ([]byte, error) {
	b, err := f.disk.ReadFile(path.Join(f.dir, checkpointName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// writeCheckpoint replaces the checkpoint. It is durable when there is no error.
func (f files) writeCheckpoint(b []byte) error {
	if err := f.disk.Replace(path.Join(f.dir, checkpointName), b); err != nil {
		return fmt.Errorf("keep the checkpoint: %w", err)
	}
	return nil
}
