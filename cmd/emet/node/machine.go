package node

import (
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/emet-node/emet/domain/provider/agent"
)

// DetectHardware looks at the machine: all threads, 70 % of the memory and
// 80 % of the free space of dir. What is given ("" or 0 = not) wins.
func DetectHardware(dir string, threads int, memGiB, storageGiB string) agent.Hardware {
	h := agent.Hardware{Architecture: architecture(), Cores: runtime.NumCPU(), Threads: threads, MemGiB: memGiB, StorageGiB: storageGiB}
	if h.Threads == 0 {
		h.Threads = runtime.NumCPU()
	}
	if h.MemGiB == "" {
		var info unix.Sysinfo_t
		if unix.Sysinfo(&info) == nil {
			h.MemGiB = gib(float64(info.Totalram) * float64(info.Unit) * 0.7)
		}
	}
	if h.StorageGiB == "" {
		var fs syscall.Statfs_t
		err := syscall.Statfs(dir, &fs)
		for err != nil && dir != filepath.Dir(dir) { // it will be made
			dir = filepath.Dir(dir)
			err = syscall.Statfs(dir, &fs)
		}
		if err == nil {
			h.StorageGiB = gib(float64(fs.Bavail) * float64(fs.Bsize) * 0.8)
		}
	}
	return h
}

// gib rounds down to a tenth, so that a byte more or less makes no new offer.
func gib(bytes float64) string {
	tenths := int64(bytes / (1 << 30) * 10)
	return strconv.FormatFloat(float64(tenths)/10, 'f', 1, 64)
}

func architecture() string {
	switch runtime.GOARCH {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	}
	return runtime.GOARCH
}
