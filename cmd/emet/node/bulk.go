package node

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// bulkGarbage is how much garbage, in percent of what is in use, may gather while
// a whole log is gone through.
const bulkGarbage = 400

// InBulk trades memory for time until done is called: up to half of what the
// machine has free, or of what the process's control group allows. It is for
// commands that go through a whole log and then end. GOGC and GOMEMLIMIT, where they are
// set, are heeded instead.
func InBulk() (done func()) {
	free := freeMemory("/proc/meminfo")
	if bound := memoryBound("/proc/self/cgroup", "/sys/fs/cgroup"); bound > 0 {
		free = min(free, bound)
	}
	if free <= 0 || os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	limit := debug.SetMemoryLimit(-1)
	debug.SetMemoryLimit(min(limit, free/2))
	percent := debug.SetGCPercent(bulkGarbage)
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}

// freeMemory is how many bytes the system can give without swapping, 0 = it does
// not tell.
func freeMemory(name string) int64 {
	text, err := os.ReadFile(name) //nolint:gosec // a file of the system
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}
