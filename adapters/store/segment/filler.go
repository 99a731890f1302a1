package segment

import (
	"errors"
	"io/fs"
	"path"
	"time"

	"github.com/emet-node/emet/adapters/store/vfs"
)

// filler prepares the next segment in the background. It is used by the writer
// goroutine alone.
type filler struct {
	files  vfs.FS
	dir    string
	after  <-chan struct{} // closed when the ballast had its turn: it comes first
	result chan filled     // nil = nothing is being prepared
	ready  *filled         // prepared and not yet taken
	failed error           // why the last could not be prepared
	again  time.Time       // when it is tried again
}

type filled struct {
	file vfs.File
	size int64
	err  error
}

// retryFill is how long a full disk is left alone.
const retryFill = time.Second

// begin starts preparing a file of that size, unless one is there or on its way,
// or could not be made a moment ago.
func (f *filler) begin(size int64) {
	f.poll()
	if f.ready != nil || f.result != nil || f.failed != nil && time.Now().Before(f.again) {
		return
	}
	f.start(size)
}

func (f *filler) start(size int64) {
	result := make(chan filled, 1)
	f.result = result
	go func() {
		<-f.after
		file, err := fill(f.files, path.Join(f.dir, segDir, nextName), size)
		result <- filled{file, size, err}
	}()
}

func (f *filler) poll() {
	if f.result == nil {
		return
	}
	select {
	case r := <-f.result:
		f.done(r)
	default:
	}
}

func (f *filler) done(r filled) {
	f.result = nil
	if f.failed = r.err; r.err != nil {
		f.again = time.Now().Add(retryFill)
		return
	}
	f.ready = &r
}

// take waits for a prepared file of at least that size.
func (f *filler) take(size int64) (vfs.File, int64, error) {
	for {
		f.poll()
		if f.ready == nil {
			if f.result == nil {
				f.start(size)
			}
			f.done(<-f.result)
			if f.failed != nil {
				return nil, 0, f.failed
			}
		}
		r := *f.ready
		f.ready = nil
		if r.size >= size {
			return r.file, r.size, nil
		}
		if err := r.file.Close(); err != nil { // too small for this append
			return nil, 0, err
		}
	}
}

// stop waits for what is under way and removes it.
func (f *filler) stop() error {
	if f.result != nil {
		f.done(<-f.result)
	}
	if f.ready == nil {
		return nil
	}
	r := f.ready
	f.ready = nil
	return errors.Join(r.file.Close(), f.files.Remove(path.Join(f.dir, segDir, nextName)))
}

// ballast is space that is kept for the day when the disk is full: as much as a
// segment, in a file that is removed then.
type ballast struct {
	files vfs.FS
	dir   string
	size  int64
}

// take makes the file, unless it is there or there is no room for it.
func (b ballast) take() error {
	name := path.Join(b.dir, ballastName)
	if f, err := b.files.Open(name); err == nil {
		size, err := f.Size()
		if cerr := f.Close(); err == nil && cerr == nil && size == b.size {
			return nil
		}
	}
	f, err := b.files.Create(name + ".tmp")
	if err != nil {
		return err
	}
	if r, ok := f.(vfs.Reserver); ok {
		err = r.Reserve(b.size)
	} else {
		err = writeZeros(f, b.size)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = b.files.Rename(name+".tmp", name)
	}
	if err != nil {
		return errors.Join(err, b.files.Remove(name+".tmp"))
	}
	return b.files.SyncDir(b.dir)
}

// release gives the space back. It says whether there was any.
func (b ballast) release() (bool, error) {
	err := b.files.Remove(path.Join(b.dir, ballastName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = b.files.SyncDir(b.dir)
	}
	return err == nil, err
}
