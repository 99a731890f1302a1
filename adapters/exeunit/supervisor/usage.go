package supervisor

import (
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/emet-node/emet/adapters/exeunit"
	"github.com/emet-node/emet/domain/activity/unit"
)

// Names of the counters that are measured here. Others stay 0.
const (
	counterDuration = "golem.usage.duration_sec"
	counterCPU      = "golem.usage.cpu_sec"
	counterMemory   = "golem.usage.gib"
	counterStorage  = "golem.usage.storage_gib"
	counterFuel     = "golem.!exp.emet.v1.usage.fuel"
)

// storageEvery is how often the volumes are measured when nothing hurries.
const storageEvery = 5 * time.Minute

// meter adds up what an activity uses. Nothing in it ever decreases, except
// the storage.
type meter struct {
	began time.Time
	dir   string // of the volumes

	mu       sync.Mutex
	deadCPU  int64 // microseconds of runtimes that ended
	deadRSS  int64
	fuel     int64 // of runs that ended
	child    *child
	storage  int64
	measured time.Time
	spent    [2]time.Duration // by phase
	since    [2]time.Time
	inside   [2]int
}

type phase int

const (
	downloading phase = iota
	running
)

// enter starts a phase; the returned function ends it.
func (m *meter) enter(p phase) func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.inside[p]++; m.inside[p] == 1 {
		m.since[p] = time.Now()
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.inside[p]--; m.inside[p] == 0 {
			m.spent[p] += time.Since(m.since[p])
		}
	}
}

func (m *meter) phase(p phase) time.Duration {
	d := m.spent[p]
	if m.inside[p] > 0 {
		d += time.Since(m.since[p])
	}
	return d
}

// watch makes a runtime's use count, up to the present one.
func (m *meter) watch(c *child) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.child = c
}

// reaped takes over what a runtime that ended has used.
func (m *meter) reaped(c *child) {
	<-c.waited
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.child != c {
		return
	}
	m.child = nil
	if r, ok := c.cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		m.deadCPU += r.Utime.Nano()/1000 + r.Stime.Nano()/1000
		m.deadRSS = max(m.deadRSS, maxRSS(r))
	}
}

func (m *meter) burnt(fuel int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fuel += fuel
	if m.child != nil {
		m.child.fuel.Store(0)
	}
}

// stored measures the volumes when that is older than after.
func (m *meter) stored(after time.Duration) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.storedLocked(after)
}

func (m *meter) storedLocked(after time.Duration) int64 {
	if m.measured.IsZero() || time.Since(m.measured) >= after {
		m.storage, m.measured = exeunit.DirSize(m.dir), time.Now()
	}
	return m.storage
}

func (m *meter) rusage() unit.Rusage {
	var own syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &own)
	m.mu.Lock()
	defer m.mu.Unlock()
	return unit.Rusage{
		UserUS:      own.Utime.Nano()/1000 + m.deadCPU,
		SystemUS:    own.Stime.Nano() / 1000,
		MaxRSSBytes: maxRSS(&own) + m.deadRSS,
		WallUS:      time.Since(m.began).Microseconds(),
	}
}

// sample is the usage now, in the order of names.
func (m *meter) sample(names []string, final bool) unit.Sampled {
	var own syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &own)
	m.mu.Lock()
	defer m.mu.Unlock()
	cpu := own.Utime.Nano()/1000 + own.Stime.Nano()/1000 + m.deadCPU
	rss, fuel := m.deadRSS, m.fuel
	if m.child != nil {
		cpu += liveCPU(m.child.cmd.Process.Pid)
		rss = max(rss, peakRSS(m.child.cmd.Process.Pid))
		fuel += m.child.fuel.Load()
	}
	every := storageEvery
	if final {
		every = 0
	}
	texts := make([]string, len(names))
	for i, name := range names {
		switch name {
		case counterDuration:
			texts[i] = decimal(time.Since(m.began).Microseconds(), 6)
		case counterCPU:
			texts[i] = decimal(cpu, 6)
		case counterMemory:
			texts[i] = gib(rss + maxRSS(&own))
		case counterStorage:
			texts[i] = gib(m.storedLocked(every))
		case counterFuel:
			texts[i] = decimal(fuel, 0)
		default:
			texts[i] = "0"
		}
	}
	return unit.Sampled{
		Vector:      "[" + strings.Join(texts, ",") + "]",
		DownloadSec: decimal(m.phase(downloading).Microseconds(), 6),
		RunSec:      decimal(m.phase(running).Microseconds(), 6),
	}
}

// gib writes bytes as GiB, to nine places.
func gib(bytes int64) string {
	whole, part := bytes>>30, bytes&(1<<30-1)
	return decimal(whole*1e9+part*1e9>>30, 9)
}

// decimal writes n·10^-places, n ≥ 0, as short as it goes.
func decimal(n int64, places int) string {
	s := strconv.FormatInt(n, 10)
	if places == 0 {
		return s
	}
	if len(s) <= places {
		s = strings.Repeat("0", places-len(s)+1) + s
	}
	s = s[:len(s)-places] + "." + s[len(s)-places:]
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}
