// Package vfs is the file system as the segment engine uses it: few calls, and
// a clear line between what was written and what will survive. Besides the
// real one there are two for tests: [Crash] loses what was not synced, [Faulty]
// fails where it is told to.
package vfs

import (
	"errors"
	"io"
)

// FS is a file system. Files are made readable by their owner only, and so are
// directories.
type FS interface {
	// Open opens a file for reading.
	Open(name string) (File, error)
	// OpenWrite opens an existing file for reading and writing.
	OpenWrite(name string) (File, error)
	// Create makes an empty file, or empties the one that is there.
	Create(name string) (File, error)
	// Rename replaces newname. It survives after SyncDir.
	Rename(oldname, newname string) error
	Remove(name string) error
	// ReadDir returns the names in a directory, sorted.
	ReadDir(dir string) ([]string, error)
	MkdirAll(dir string) error
	// SyncDir makes creations, renames and removals in dir survive.
	SyncDir(dir string) error
	// Lock takes an exclusive lock that ends with the process at the latest.
	// When another holds it, the error is a [*Held].
	Lock(name string) (io.Closer, error)
}

// File is an open file. Writes survive after SyncData; a change of size too.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	SyncData() error
	Sync() error
	Truncate(size int64) error
	Size() (int64, error)
}

// Zeroer is a [File] that can be filled with zeros past the page cache.
type Zeroer interface {
	// Zero makes the file size bytes of zeros. After an error its content is
	// unknown.
	Zero(size int64) error
}

// Director is an [FS] that can open files past the page cache.
type Director interface {
	// OpenDirect opens an existing file for writing. What is written, where it goes
	// and where it lies in memory must be multiples of 4096 bytes. A file system that
	// cannot do it says so here or at the first write, with EINVAL.
	OpenDirect(name string) (File, error)
}

// openDirect opens a file past the page cache of a file system that may not be
// able to.
func openDirect(fs FS, name string) (File, error) {
	if d, ok := fs.(Director); ok {
		return d.OpenDirect(name)
	}
	return nil, errors.ErrUnsupported
}

// Reserver is a [File] that can take space without writing to it.
type Reserver interface {
	// Reserve makes the file size bytes long and its space its own.
	Reserve(size int64) error
}

// Held says that a lock is taken. Holder is what its owner wrote into it.
type Held struct{ Name, Holder string }

func (h *Held) Error() string { return "lock " + h.Name + " is held by " + h.Holder }

// ReadFile returns the whole content of a file.
func ReadFile(fs FS, name string) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}

// WriteFile writes a small file so that it is there whole or not at all.
func WriteFile(fs FS, dir, name string, content []byte) error {
	tmp := dir + "/" + name + ".tmp"
	f, err := fs.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fs.Rename(tmp, dir+"/"+name)
	}
	if err == nil {
		err = fs.SyncDir(dir)
	}
	return err
}
