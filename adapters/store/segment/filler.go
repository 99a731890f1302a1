package segment

import (
	"errors"
	"path"

	"github.com/emet-node/emet/adapters/store/vfs"
)

// filler prepares the next segment in the background. It is used by the writer
// goroutine alone.
type filler struct {
	files  vfs.FS
	dir    string
	result chan filled // nil = nothing is being prepared
}

type filled struct {
	file vfs.File
	size int64
	err  error
}

// begin starts preparing a file of that size, unless one is on its way.
func (f *filler) begin(size int64) {
	if f.result != nil {
		return
	}
	result := make(chan filled, 1)
	f.result = result
	go func() {
		file, err := fill(f.files, path.Join(f.dir, segDir, nextName), size)
		result <- filled{file, size, err}
	}()
}

// take waits for a prepared file of at least that size. After an error the next
// call tries again.
func (f *filler) take(size int64) (vfs.File, int64, error) {
	for {
		f.begin(size)
		r := <-f.result
		f.result = nil
		if r.err != nil || r.size >= size {
			return r.file, r.size, r.err
		}
		if err := r.file.Close(); err != nil { // too small for this append
			return nil, 0, err
		}
	}
}

// stop waits for what is under way and removes it.
func (f *filler) stop() error {
	if f.result == nil {
		return nil
	}
	r := <-f.result
	f.result = nil
	if r.err != nil {
		return nil //nolint:nilerr // the space is not needed any more
	}
	return errors.Join(r.file.Close(), f.files.Remove(path.Join(f.dir, segDir, nextName)))
}
