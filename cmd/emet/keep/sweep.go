package keep

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Sweep kills the exe-units that work below a directory, and their runtimes:
// those whose node was killed would wait for it for a while. It returns when
// they are gone, and says how many there were.
func Sweep(dir string) int {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return 0
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	found := map[int]bool{}
	for range 100 {
		pids := unitsIn(dir)
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			found[pid] = true
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return len(found)
}

// unitsIn lists the processes of exe-units below dir, told by the word by
// which this program runs itself and by their working directory.
func unitsIn(dir string) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		words := strings.SplitN(string(line), "\x00", 3)
		if len(words) < 2 || words[1] != "exe-unit" && !strings.HasPrefix(words[1], "runtime-") {
			continue
		}
		cwd, err := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		if err == nil && strings.HasPrefix(cwd, dir+string(filepath.Separator)) {
			pids = append(pids, pid)
		}
	}
	return pids
}
