package node

import (
	"context"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/emet-node/emet/api/rest"
	"github.com/emet-node/emet/projections"
)

// Shares of what the system grants that a node means to stay below.
const (
	memoryShare   = 60 // % of the control group's memory
	filesShare    = 75 // % of the files that may be open
	maxGoroutines = 50_000
	loadEvery     = 15 * time.Second
	startedAfter  = 3 * time.Second // what a start needs is garbage then
)

// unitsPerThread is how many activities may live for each thread of the machine.
const unitsPerThread = 4

// load watches how much of the machine the process takes. What is over its
// share is told, and told again after it was below.
type load struct {
	log  *slog.Logger
	read func() []use

	over map[string]bool
	hits map[string]*atomic.Int64
}

// use is how much of something a process takes and should take. most 0 = no bound.
type use struct {
	name       string
	used, most int64
}

func newLoad(log *slog.Logger) *load {
	l := &load{log: log, read: uses, over: make(map[string]bool), hits: make(map[string]*atomic.Int64)}
	for _, u := range l.read() {
		l.hits[u.name] = &atomic.Int64{}
	}
	return l
}

// Run looks until ctx ends. The garbage collector keeps to the share of memory
// from the start, unless GOMEMLIMIT says otherwise.
func (l *load) Run(ctx context.Context) error {
	if most := memoryBound("/proc/self/cgroup", "/sys/fs/cgroup"); most > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(most)
	}
	every := time.NewTicker(loadEvery)
	defer every.Stop()
	started := time.NewTimer(startedAfter)
	defer started.Stop()
	for {
		l.look()
		select {
		case <-ctx.Done():
			return nil
		case <-started.C:
			debug.FreeOSMemory()
		case <-every.C:
		}
	}
}

func (l *load) look() {
	for _, u := range l.read() {
		over := u.most > 0 && u.used > u.most
		if over && !l.over[u.name] {
			l.hits[u.name].Add(1)
			l.log.Warn("the node takes more of the machine than it should", "what", u.name, "used", u.used, "max", u.most)
		}
		l.over[u.name] = over
	}
}

// limits are the same for a scrape. Nothing is refused; what is counted is how
// often a bound was passed.
func (l *load) limits() []rest.Limit {
	var out []rest.Limit
	for _, u := range l.read() {
		out = append(out, rest.Limit{Name: u.name, Used: u.used, Max: u.most, Refused: l.hits[u.name].Load()})
	}
	return out
}

func uses() []use {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, most := openFiles()
	return []use{
		{"process_memory_bytes", int64(m.Sys - m.HeapReleased), memoryLimit()}, //nolint:gosec // far below 2^63
		{"process_files", files, most},
		{"process_goroutines", int64(runtime.NumGoroutine()), maxGoroutines},
	}
}

// memoryLimit is what the garbage collector keeps to, 0 = nothing.
func memoryLimit() int64 {
	if most := debug.SetMemoryLimit(-1); most != math.MaxInt64 {
		return most
	}
	return 0
}

func openFiles() (used, most int64) {
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		used = int64(len(entries))
	}
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) == nil && r.Cur < math.MaxInt32 {
		most = int64(r.Cur) * filesShare / 100
	}
	return used, most
}

// memoryBound is the share of the tightest bound on the memory of this
// process's control group and those around it, 0 = there is none.
func memoryBound(own, root string) int64 {
	b, err := os.ReadFile(own) //nolint:gosec // a file of the system
	if err != nil {
		return 0
	}
	var tightest int64
	for line := range strings.Lines(string(b)) {
		group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		for dir := filepath.Clean("/" + group); ; dir = filepath.Dir(dir) {
			text, _ := os.ReadFile(filepath.Join(root, dir, "memory.max")) //nolint:gosec // a file of the system
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && (tightest == 0 || n < tightest) {
				tightest = n
			}
			if dir == "/" {
				break
			}
		}
	}
	return tightest / 100 * memoryShare
}

// bounded tells how far the node's limits are used.
func (n *Node) bounded(ctx context.Context) []rest.Limit {
	out := n.load.limits()
	used, most, refused := n.units.Limit(ctx)
	out = append(out, rest.Limit{Name: "activities", Used: used, Max: most, Refused: refused})
	used, most, refused = projections.Folds()
	out = append(out, rest.Limit{Name: "looks_at_the_past", Used: used, Max: most, Refused: refused})
	return append(out, rest.Limit{Name: "peers_told_to_wait", Refused: n.handler.busy.Load()})
}
