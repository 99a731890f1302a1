package vfs

import (
	"errors"
	"sync"
	"syscall"
)

// Quota is a file system with little space: what makes files larger than Left
// allows fails as on a full disk. Removing and cutting files gives space back.
type Quota struct {
	FS
	mu    sync.Mutex
	left  int64
	sizes map[string]*int64 // of files by name
}

// NewQuota returns fs with that many bytes to fill.
func NewQuota(fs FS, left int64) *Quota {
	return &Quota{FS: fs, left: left, sizes: make(map[string]*int64)}
}

// Free adds space.
func (q *Quota) Free(n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.left += n
}

// resize notes a new size of a file, if there is room for it.
func (f *quotaFile) resize(size int64) error {
	f.q.mu.Lock()
	defer f.q.mu.Unlock()
	more := size - *f.size
	if more > 0 && more > f.q.left {
		return &errNoSpace{f.name}
	}
	f.q.left -= more
	*f.size = size
	return nil
}

// drop gives the space of a name back.
func (q *Quota) drop(name string) {
	if size := q.sizes[name]; size != nil {
		q.left += *size
		delete(q.sizes, name)
	}
}

type errNoSpace struct{ name string }

func (e *errNoSpace) Error() string { return e.name + ": no space left on device" }

func (e *errNoSpace) Unwrap() error { return syscall.ENOSPC }

type quotaFile struct {
	File
	q    *Quota
	name string
	size *int64
}

func (q *Quota) wrap(f File, name string, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.sizes[name] == nil {
		q.sizes[name] = &size
	}
	return &quotaFile{f, q, name, q.sizes[name]}, nil
}

// OpenWrite implements [FS].
func (q *Quota) OpenWrite(name string) (File, error) {
	f, err := q.FS.OpenWrite(name)
	return q.wrap(f, name, err)
}

// OpenDirect implements [Director].
func (q *Quota) OpenDirect(name string) (File, error) {
	f, err := openDirect(q.FS, name)
	return q.wrap(f, name, err)
}

// Create implements [FS].
func (q *Quota) Create(name string) (File, error) {
	f, err := q.FS.Create(name)
	q.mu.Lock()
	q.drop(name)
	q.mu.Unlock()
	return q.wrap(f, name, err)
}

// Rename implements [FS].
func (q *Quota) Rename(oldname, newname string) error {
	if err := q.FS.Rename(oldname, newname); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drop(newname)
	q.sizes[newname] = q.sizes[oldname]
	delete(q.sizes, oldname)
	return nil
}

// Remove implements [FS].
func (q *Quota) Remove(name string) error {
	if err := q.FS.Remove(name); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drop(name)
	return nil
}

func (f *quotaFile) WriteAt(b []byte, off int64) (int, error) {
	size, err := f.Size()
	if err == nil {
		err = f.resize(max(size, off+int64(len(b))))
	}
	if err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, off)
}

func (f *quotaFile) Truncate(size int64) error {
	if err := f.resize(size); err != nil {
		return err
	}
	return f.File.Truncate(size)
}
