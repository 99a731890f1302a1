package wasm

import (
	"io"
	"io/fs"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"
	esys "github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/experimental/sysfs"
	"github.com/tetratelabs/wazero/sys"

	"github.com/emet-node/emet/adapters/exeunit"
)

func (g *Guest) mounts() wazero.FSConfig {
	q := &quota{limit: g.run.StorageBytes}
	cfg := wazero.NewFSConfig()
	for _, m := range g.run.Mounts {
		if !m.ReadOnly {
			q.dirs = append(q.dirs, m.Dir)
		}
		guard := &guarded{FS: sysfs.DirFS(m.Dir), readOnly: m.ReadOnly, quota: q, g: g}
		cfg = cfg.(sysfs.FSConfig).WithSysFSMount(guard, m.Path)
	}
	return cfg
}

// quota bounds what the writable mounts hold together. It is charged in
// advance and measured again when it seems to be used up, so that overwriting
// and deleting are not held against the guest. A file that was deleted takes
// its room until nobody has it open.
type quota struct {
	limit int64
	dirs  []string
	mu    sync.Mutex
	left  int64
	open  map[*counted]bool
}

func (q *quota) opened(c *counted) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open == nil {
		q.open = make(map[*counted]bool)
	}
	q.open[c] = true
}

func (q *quota) closed(c *counted) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.open, c)
}

// deleted is what open files hold that are in no directory any more.
func (q *quota) deleted() (bytes int64) {
	type file struct{ dev, inode uint64 }
	seen := make(map[file]bool)
	for c := range q.open {
		st, e := c.File.Stat()
		if at := (file{st.Dev, st.Ino}); e == 0 && st.Nlink == 0 && !seen[at] {
			seen[at] = true
			bytes += st.Size + exeunit.EntryBytes
		}
	}
	return bytes
}

func (q *quota) charge(n int64) esys.Errno {
	if q.limit <= 0 {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.left < n {
		q.left = q.limit
		for _, d := range q.dirs {
			q.left -= exeunit.DirSize(d)
		}
		q.left -= q.deleted()
	}
	if q.left < n {
		return esys.EIO // there is no ENOSPC to return
	}
	q.left -= n
	return 0
}

// guarded is a host directory as a guest may see it: nothing outside, no
// symbolic links (they would be followed on the host), and a quota.
type guarded struct {
	esys.FS
	readOnly bool
	quota    *quota
	g        *Guest
}

// inside refuses a path that leaves the mount.
func inside(path string) esys.Errno {
	if strings.HasPrefix(path, "/") {
		return esys.EPERM
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == ".." {
			return esys.EPERM
		}
	}
	return 0
}

// may checks paths that are to be changed.
func (f *guarded) may(paths ...string) esys.Errno {
	f.g.breathe(2048)
	for _, p := range paths {
		if e := inside(p); e != 0 {
			return e
		}
	}
	if f.readOnly {
		return esys.EROFS
	}
	return 0
}

func (f *guarded) OpenFile(path string, flag esys.Oflag, perm fs.FileMode) (esys.File, esys.Errno) {
	f.g.breathe(2048)
	if e := inside(path); e != 0 {
		return nil, e
	}
	writes := flag&(esys.O_WRONLY|esys.O_RDWR|esys.O_CREAT|esys.O_TRUNC|esys.O_APPEND) != 0
	if writes && f.readOnly {
		return nil, esys.EROFS
	}
	if flag&esys.O_CREAT != 0 {
		if e := f.quota.charge(exeunit.EntryBytes); e != 0 {
			return nil, e
		}
	}
	file, e := f.FS.OpenFile(path, flag, perm)
	if e != 0 {
		return nil, e
	}
	c := &counted{File: file, f: f}
	f.quota.opened(c)
	return c, 0
}

func (f *guarded) Lstat(path string) (sys.Stat_t, esys.Errno) {
	f.g.breathe(1024)
	if e := inside(path); e != 0 {
		return sys.Stat_t{}, e
	}
	return f.FS.Lstat(path)
}

func (f *guarded) Stat(path string) (sys.Stat_t, esys.Errno) {
	f.g.breathe(1024)
	if e := inside(path); e != 0 {
		return sys.Stat_t{}, e
	}
	return f.FS.Stat(path)
}

func (f *guarded) Readlink(path string) (string, esys.Errno) {
	if e := inside(path); e != 0 {
		return "", e
	}
	return f.FS.Readlink(path)
}

func (f *guarded) Mkdir(path string, perm fs.FileMode) esys.Errno {
	if e := f.may(path); e != 0 {
		return e
	}
	if e := f.quota.charge(exeunit.EntryBytes); e != 0 {
		return e
	}
	return f.FS.Mkdir(path, perm)
}

func (f *guarded) Chmod(path string, perm fs.FileMode) esys.Errno {
	if e := f.may(path); e != 0 {
		return e
	}
	return f.FS.Chmod(path, perm.Perm())
}

func (f *guarded) Rename(from, to string) esys.Errno {
	if e := f.may(from, to); e != 0 {
		return e
	}
	return f.FS.Rename(from, to)
}

func (f *guarded) Rmdir(path string) esys.Errno {
	if e := f.may(path); e != 0 {
		return e
	}
	return f.FS.Rmdir(path)
}

func (f *guarded) Unlink(path string) esys.Errno {
	if e := f.may(path); e != 0 {
		return e
	}
	return f.FS.Unlink(path)
}

func (f *guarded) Link(from, to string) esys.Errno {
	if e := f.may(from, to); e != 0 {
		return e
	}
	if e := f.quota.charge(exeunit.EntryBytes); e != 0 {
		return e
	}
	return f.FS.Link(from, to)
}

func (f *guarded) Symlink(string, string) esys.Errno { return esys.EPERM }

func (f *guarded) Utimens(path string, atim, mtim int64) esys.Errno {
	if e := f.may(path); e != 0 {
		return e
	}
	return f.FS.Utimens(path, atim, mtim)
}

// counted charges what is written to the quota.
type counted struct {
	esys.File
	f *guarded
}

// Close makes the room of a deleted file free.
func (c *counted) Close() esys.Errno {
	c.f.quota.closed(c)
	return c.File.Close()
}

func (c *counted) Write(buf []byte) (int, esys.Errno) {
	c.f.g.breathe(256)
	whence := io.SeekCurrent
	if c.File.IsAppend() {
		whence = io.SeekEnd
	}
	off, e := c.File.Seek(0, whence)
	if e != 0 {
		return 0, e
	}
	if e := c.grow(off + int64(len(buf))); e != 0 {
		return 0, e
	}
	return c.File.Write(buf)
}

func (c *counted) Pwrite(buf []byte, off int64) (int, esys.Errno) {
	c.f.g.breathe(256)
	if e := c.grow(off + int64(len(buf))); e != 0 {
		return 0, e
	}
	return c.File.Pwrite(buf, off)
}

// grow charges for a file that is to be size bytes long.
func (c *counted) grow(size int64) esys.Errno {
	if c.f.quota.limit <= 0 {
		return 0
	}
	st, e := c.File.Stat()
	if e != 0 || size <= st.Size {
		return e
	}
	return c.f.quota.charge(size - st.Size)
}

func (c *counted) Read(buf []byte) (int, esys.Errno) {
	c.f.g.breathe(256)
	return c.File.Read(buf)
}

func (c *counted) Readdir(n int) ([]esys.Dirent, esys.Errno) {
	c.f.g.breathe(4096)
	return c.File.Readdir(n)
}

func (c *counted) Truncate(size int64) esys.Errno {
	if e := c.grow(size); e != 0 {
		return e
	}
	return c.File.Truncate(size)
}
