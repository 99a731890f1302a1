package vfs

import (
	"os"

	"golang.org/x/sys/windows"
)

var errHeld = windows.ERROR_LOCK_VIOLATION

func flock(f *os.File) error {
	// The locked byte lies far beyond the content, so that others can read it.
	at := &windows.Overlapped{Offset: 1 << 20}
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
}

func funlock(f *os.File) error {
	return windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, &windows.Overlapped{Offset: 1 << 20})
}
