package vfs

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SyncData makes the content survive, and the size if it changed.
func (f osFile) SyncData() error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}

// OpenDirect implements [Director].
func (OS) OpenDirect(name string) (File, error) { return open(name, os.O_WRONLY|unix.O_DIRECT) }

// Reserve implements [Reserver].
func (f osFile) Reserve(size int64) error { return unix.Fallocate(int(f.Fd()), 0, 0, size) }

const directStep = 1 << 20

// Zero implements [Zeroer]. The space is taken first, in one piece if there is
// one.
func (f osFile) Zero(size int64) error {
	direct, err := os.OpenFile(f.Name(), os.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer direct.Close() //nolint:errcheck // the file is synced through f
	if err := unix.Fallocate(int(direct.Fd()), 0, 0, size); err != nil {
		return err
	}
	const align = 4096
	b := make([]byte, directStep+align)
	b = b[(align-int(uintptr(unsafe.Pointer(&b[0]))%align))%align:][:directStep] //nolint:gosec // only to look at the address
	for off := int64(0); off < size; off += directStep {
		if _, err := direct.WriteAt(b[:min(directStep, size-off)], off); err != nil {
			return err
		}
	}
	return nil
}
