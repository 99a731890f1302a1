//go:build !linux

package supervisor

import (
	"os"
	"syscall"
)

// The system does not kill the runtime with its supervisor; it ends when its
// input closes.
const dyingWithParent = false

func selfExe() (string, error) { return os.Executable() }

func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// A running child's use is not known here; it is counted when it ends.
func liveCPU(int) int64 { return 0 }
func peakRSS(int) int64 { return 0 }

func maxRSS(r *syscall.Rusage) int64 { return r.Maxrss }

// Without a fingerprint a file is read whenever its hash is wanted.
func fingerprint(os.FileInfo) string { return "" }

func syncData(f *os.File) error { return f.Sync() }
