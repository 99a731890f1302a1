package vfs

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
	"syscall"
	"unsafe"
)

// ErrPowerLost is what every call on a [Crash] returns after its end.
var ErrPowerLost = errors.New("power is lost")

// Crash is a file system in memory of which a power loss keeps what was
// synced, and of the rest what chance keeps: any blocks of a file, and a prefix
// of the changes of a directory.
type Crash struct {
	mu    sync.Mutex
	block int64
	dead  bool
	names map[string]*inode // as programs see it
	kept  map[string]*inode // as the disk has it
	log   []change          // what separates the two, oldest first
	locks map[string]bool
}

type change struct {
	dir   string
	apply func(map[string]*inode)
}

type inode struct {
	now   []byte
	disk  []byte
	dirty map[int64]struct{} // blocks in which they may differ
}

var _ FS = (*Crash)(nil)

// NewCrash returns an empty file system that loses blocks of the given size.
func NewCrash(block int) *Crash {
	return &Crash{block: int64(block), names: map[string]*inode{}, kept: map[string]*inode{}, locks: map[string]bool{}}
}

// PowerLoss ends c and returns what is on the disk when the power is back.
func (c *Crash) PowerLoss(r *rand.Rand) *Crash {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
	next := NewCrash(int(c.block))
	for _, change := range c.log[:r.IntN(len(c.log)+1)] {
		change.apply(c.kept)
	}
	for _, name := range slices.Sorted(maps.Keys(c.kept)) {
		b := c.kept[name].survivors(c.block, r)
		n := &inode{now: b, disk: slices.Clone(b), dirty: map[int64]struct{}{}}
		next.names[name], next.kept[name] = n, n
	}
	return next
}

func (n *inode) survivors(block int64, r *rand.Rand) []byte {
	out := slices.Clone(n.disk)
	if len(n.now) != len(n.disk) && r.IntN(2) == 0 {
		out = resize(out, int64(len(n.now)))
	}
	for _, b := range slices.Sorted(maps.Keys(n.dirty)) {
		if r.IntN(2) == 0 {
			continue
		}
		lo := min(b*block, int64(len(out)), int64(len(n.now)))
		hi := min((b+1)*block, int64(len(out)), int64(len(n.now)))
		copy(out[lo:hi], n.now[lo:hi])
	}
	return out
}

func resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

func (c *Crash) alive() error {
	if c.dead {
		return ErrPowerLost
	}
	return nil
}

func (c *Crash) changed(dir string, apply func(map[string]*inode)) {
	apply(c.names)
	c.log = append(c.log, change{dir, apply})
}

// Open implements [FS].
func (c *Crash) Open(name string) (File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.alive(); err != nil {
		return nil, err
	}
	n, ok := c.names[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &crashFile{fs: c, node: n}, nil
}

// OpenWrite implements [FS].
func (c *Crash) OpenWrite(name string) (File, error) { return c.Open(name) }

// OpenDirect implements [Director].
func (c *Crash) OpenDirect(name string) (File, error) {
	f, err := c.Open(name)
	return directFile{f}, err
}

// directFile refuses what a disk would.
type directFile struct{ File }

func (f directFile) WriteAt(b []byte, off int64) (int, error) {
	if at := uintptr(unsafe.Pointer(unsafe.SliceData(b))); (int64(at)|int64(len(b))|off)%4096 != 0 { //nolint:gosec // only to look at the address
		return 0, syscall.EINVAL
	}
	return f.File.WriteAt(b, off)
}

// Create implements [FS].
func (c *Crash) Create(name string) (File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.alive(); err != nil {
		return nil, err
	}
	n := &inode{dirty: map[int64]struct{}{}}
	c.changed(path.Dir(name), func(m map[string]*inode) { m[name] = n })
	return &crashFile{fs: c, node: n}, nil
}

// Rename implements [FS].
func (c *Crash) Rename(oldname, newname string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, ok := c.names[oldname]
	if err := c.alive(); err != nil || !ok {
		return errors.Join(err, &fs.PathError{Op: "rename", Path: oldname, Err: fs.ErrNotExist})
	}
	c.changed(path.Dir(newname), func(m map[string]*inode) { delete(m, oldname); m[newname] = n })
	return nil
}

// Remove implements [FS].
func (c *Crash) Remove(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.alive(); err != nil {
		return err
	}
	if _, ok := c.names[name]; !ok {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	c.changed(path.Dir(name), func(m map[string]*inode) { delete(m, name) })
	return nil
}

// ReadDir implements [FS].
func (c *Crash) ReadDir(dir string) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for name := range c.names {
		if path.Dir(name) == path.Clean(dir) {
			out = append(out, path.Base(name))
		}
	}
	slices.Sort(out)
	return out, c.alive()
}

// MkdirAll implements [FS]; directories need no making.
func (c *Crash) MkdirAll(string) error { return nil }

// SyncDir implements [FS].
func (c *Crash) SyncDir(dir string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.alive(); err != nil {
		return err
	}
	c.log = slices.DeleteFunc(c.log, func(ch change) bool {
		if ch.dir != path.Clean(dir) {
			return false
		}
		ch.apply(c.kept)
		return true
	})
	return nil
}

// Lock implements [FS].
func (c *Crash) Lock(name string) (io.Closer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.locks[name] {
		return nil, &Held{Name: name, Holder: "another user of this file system"}
	}
	c.locks[name] = true
	return unlock(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.locks, name)
	}), c.alive()
}

type unlock func()

func (u unlock) Close() error { u(); return nil }

type crashFile struct {
	fs   *Crash
	node *inode
}

func (f *crashFile) ReadAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.alive(); err != nil {
		return 0, err
	}
	if off >= int64(len(f.node.now)) {
		return 0, io.EOF
	}
	n := copy(b, f.node.now[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *crashFile) WriteAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.alive(); err != nil {
		return 0, err
	}
	end := off + int64(len(b))
	if end > int64(len(f.node.now)) {
		f.node.now = resize(f.node.now, end)
	}
	copy(f.node.now[off:], b)
	for i := off / f.fs.block; i*f.fs.block < end; i++ {
		f.node.dirty[i] = struct{}{}
	}
	return len(b), nil
}

func (f *crashFile) SyncData() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.alive(); err != nil {
		return err
	}
	n, block := f.node, f.fs.block
	n.disk = resize(n.disk, int64(len(n.now)))
	for b := range n.dirty {
		lo, hi := min(b*block, int64(len(n.now))), min((b+1)*block, int64(len(n.now)))
		copy(n.disk[lo:hi], n.now[lo:hi])
	}
	clear(n.dirty)
	return nil
}

func (f *crashFile) Sync() error { return f.SyncData() }

func (f *crashFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	before := len(f.node.now)
	f.node.now = resize(f.node.now, size)
	clear(f.node.now[len(f.node.now):min(before, cap(f.node.now))])
	for i := size / f.fs.block; i*f.fs.block < int64(before); i++ {
		f.node.dirty[i] = struct{}{}
	}
	return f.fs.alive()
}

func (f *crashFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.node.now)), f.fs.alive()
}

func (f *crashFile) Close() error { return nil }
