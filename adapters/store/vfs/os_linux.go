package vfs

import "golang.org/x/sys/unix"

// SyncData makes the content survive, and the size if it changed.
func (f osFile) SyncData() error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}
