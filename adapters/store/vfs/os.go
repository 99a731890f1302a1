package vfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// OS is the file system of the machine.
type OS struct{}

var _ FS = OS{}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Open implements [FS].
func (OS) Open(name string) (File, error) { return open(name, os.O_RDONLY) }

// OpenWrite implements [FS].
func (OS) OpenWrite(name string) (File, error) { return open(name, os.O_RDWR) }

// Create implements [FS].
func (OS) Create(name string) (File, error) { return open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC) }

// Rename implements [FS].
func (OS) Rename(oldname, newname string) error { return os.Rename(oldname, newname) }

// Remove implements [FS].
func (OS) Remove(name string) error { return os.Remove(name) }

// ReadDir implements [FS].
func (OS) ReadDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	slices.Sort(names)
	return names, err
}

// MkdirAll implements [FS].
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

// SyncDir implements [FS].
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Lock implements [FS]. It writes the process and the boot into the file.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(f); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(f, 256))
		_ = f.Close()
		if !errors.Is(err, errHeld) {
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		who, _, _ := strings.Cut(string(holder), "\n")
		return nil, &Held{Name: name, Holder: "process " + who}
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(fmt.Appendf(nil, "%d\nboot %s", os.Getpid(), boot), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", name, err), f.Close())
	}
	return held{f}, nil
}

// held is a lock file that is held. It is unlocked before it is closed: a child
// that is being started at this moment has a copy of the file until its program
// runs, and a copy that is open keeps a lock.
type held struct{ f *os.File }

// Close implements [io.Closer].
func (h held) Close() error { return errors.Join(funlock(h.f), h.f.Close()) }
