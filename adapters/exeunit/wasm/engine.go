// Package wasm runs the guests of the WASM runtime. It is the inside of the
// child process that a supervisor starts for an activity ([Main]).
//
// A module is rewritten so that it counts its instructions ([Meter]), compiled
// once, and run as a new instance each time. A run that must end is stopped by
// taking its fuel away, which works within milliseconds and costs a running
// guest nothing.
package wasm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"github.com/emet-node/emet/adapters/exeunit"
)

// compileWithin bounds the compilation of one module.
const compileWithin = 60 * time.Second

// Engine compiles modules and runs them. Create it with [NewEngine].
type Engine struct {
	runtime wazero.Runtime
	cache   wazero.CompilationCache
	modules map[string]*program
}

type program struct {
	code    wazero.CompiledModule
	metered bool
}

// NewEngine starts an engine whose compiled code is kept in cacheDir ("" = in
// memory only) and whose guests get at most memoryPages of 64 KiB.
func NewEngine(ctx context.Context, cacheDir string, memoryPages uint32) (*Engine, error) {
	cache := wazero.NewCompilationCache()
	if cacheDir != "" {
		var err error
		if cache, err = wazero.NewCompilationCacheWithDir(cacheDir); err != nil {
			return nil, fmt.Errorf("compilation cache: %w", err)
		}
	}
	cfg := wazero.NewRuntimeConfig().WithCompilationCache(cache).WithDebugInfoEnabled(false)
	if memoryPages > 0 {
		cfg = cfg.WithMemoryLimitPages(memoryPages)
	}
	rt := wazero.NewRuntimeWithConfig(ctx, cfg)
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, rt); err != nil {
		return nil, errors.Join(err, rt.Close(ctx), cache.Close(ctx))
	}
	return &Engine{runtime: rt, cache: cache, modules: map[string]*program{}}, nil
}

// Close frees all compiled code.
func (e *Engine) Close(ctx context.Context) error {
	return errors.Join(e.runtime.Close(ctx), e.cache.Close(ctx))
}

// Add compiles a module under a name. It says whether the module is metered;
// one that is not can only be stopped by killing the process.
func (e *Engine) Add(ctx context.Context, id string, module []byte) (metered bool, err error) {
	if err := exeunit.CheckModule(module[:min(8, len(module))]); err != nil {
		return false, err
	}
	rewritten, err := Meter(module)
	metered = err == nil
	if !metered {
		rewritten = module
	}
	code, err := e.runtime.CompileModule(ctx, rewritten)
	if err != nil {
		return false, fmt.Errorf("compile %s: %w", id, err)
	}
	if err := onlyWASI(code); err != nil {
		return false, errors.Join(code.Close(ctx), fmt.Errorf("%s: %w", id, err))
	}
	e.modules[id] = &program{code: code, metered: metered}
	return metered, nil
}

// Guest is one run of a module.
type Guest struct {
	run     exeunit.Run
	program *program
	stopped chan struct{}
	ended   chan struct{}
	once    sync.Once
	reason  string
	budget  int64 // what it began with

	mu      sync.Mutex
	fuel    api.MutableGlobal // nil = not metered
	drained bool
	used    int64 // when it was drained
	garbage atomic.Int64
}

// NewGuest prepares a run. Nothing happens before [Guest.Run].
func (e *Engine) NewGuest(r exeunit.Run) (*Guest, error) {
	p, ok := e.modules[r.Module]
	if !ok {
		return nil, fmt.Errorf("no module %q is loaded", r.Module)
	}
	g := &Guest{run: r, program: p, stopped: make(chan struct{}), ended: make(chan struct{}), budget: plenty}
	if r.Fuel > 0 {
		g.budget = min(r.Fuel, plenty)
	}
	return g, nil
}

// Run runs the guest to its end. Output goes to write, which is called from
// the guest's own thread only.
func (e *Engine) Run(ctx context.Context, g *Guest, write func(stderr bool, p []byte)) exeunit.Done {
	defer close(g.ended)
	before := rusage()
	defer quiet()()
	if g.run.WallMS > 0 {
		timer := time.AfterFunc(time.Duration(g.run.WallMS)*time.Millisecond, func() { g.Stop(exeunit.StoppedByWallClock) })
		defer timer.Stop()
	}
	done := e.run(experimental.WithMemoryAllocator(ctx, experimental.MemoryAllocatorFunc(reserve)), g, write)
	after := rusage()
	done.UserUS, done.SysUS = after[0]-before[0], after[1]-before[1]
	done.Fuel = g.Fuel()
	return done
}

// quiet turns the collector off, see breathe, and returns what turns it on
// again. A collection that had begun is brought to its end: its last step stops
// all threads too.
func quiet() (loud func()) {
	before := debug.SetGCPercent(-1)
	if before < 0 {
		return func() {}
	}
	runtime.GC()
	return func() { debug.SetGCPercent(before) }
}

func (e *Engine) run(ctx context.Context, g *Guest, write func(bool, []byte)) exeunit.Done {
	mod, err := e.runtime.InstantiateModule(ctx, g.program.code, g.config(write))
	if err != nil {
		return g.verdict(err)
	}
	defer mod.Close(ctx) //nolint:errcheck // it holds no files, only memory
	if g.program.metered {
		g.arm(mod.ExportedGlobal(fuelExport).(api.MutableGlobal))
	}
	for _, name := range []string{startExport, mainExport} {
		f := mod.ExportedFunction(name)
		if f == nil && name == startExport {
			continue
		}
		if f == nil {
			return exeunit.Done{Code: -1, Error: fmt.Sprintf("module %s %s", g.run.Module, noMain)}
		}
		if _, err := f.Call(ctx); err != nil {
			return g.verdict(err)
		}
	}
	return exeunit.Done{}
}

// verdict says what the end of a guest means.
func (g *Guest) verdict(err error) exeunit.Done {
	var exit *sys.ExitError
	if errors.As(err, &exit) {
		return exeunit.Done{Code: int(exit.ExitCode())}
	}
	d := exeunit.Done{Code: -1, Error: firstLine(err)}
	if g.dry() {
		g.Stop(exeunit.StoppedByFuel) // unless the host was first
		d.Stopped = g.reason
		d.Error = map[string]string{
			exeunit.StoppedByFuel:      fmt.Sprintf("stopped: it used up its %d units of fuel", g.budget),
			exeunit.StoppedByWallClock: fmt.Sprintf("stopped: it ran longer than %d ms", g.run.WallMS),
			exeunit.StoppedByHost:      "stopped by the exe-unit",
		}[d.Stopped]
	}
	return d
}

func firstLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

// arm gives the guest its fuel.
func (g *Guest) arm(fuel api.MutableGlobal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fuel = fuel
	fuel.Set(uint64(g.budget))
}

// Fuel is what the guest has used so far, 0 when it is not metered.
func (g *Guest) Fuel() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fuel == nil {
		return 0
	}
	left := int64(g.fuel.Get())
	if g.drained && left < 0 {
		return g.used - left - 1
	}
	return g.budget - left
}

func (g *Guest) dry() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fuel != nil && int64(g.fuel.Get()) < 0
}

// Stop ends the guest: its next loop head or call traps, and a sleep ends. It
// returns at once; the first reason counts. A guest that is not metered goes
// on until it sleeps no more and ends by itself.
func (g *Guest) Stop(reason string) {
	g.once.Do(func() {
		g.reason = reason
		close(g.stopped)
		go g.drain()
	})
}

// drain takes the fuel away again and again: a guest that was just counting
// writes its own number back over ours. One that does little else than count
// does so nearly always, hence the many tries in a row.
func (g *Guest) drain() {
	for {
		g.mu.Lock()
		for range drainTries {
			if g.fuel == nil {
				break
			}
			if left := int64(g.fuel.Get()); left >= 0 {
				g.drained, g.used = true, g.budget-left
				g.fuel.Set(^uint64(0))
			}
		}
		g.mu.Unlock()
		select {
		case <-g.ended:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// drainTries take some tens of microseconds.
const drainTries = 2000

func (g *Guest) config(write func(bool, []byte)) wazero.ModuleConfig {
	c := wazero.NewModuleConfig().WithName("").WithStartFunctions().
		WithArgs(g.run.Args...).
		WithStdout(g.stream(false, write)).WithStderr(g.stream(true, write)).
		WithSysWalltime().WithSysNanotime().
		WithNanosleep(g.sleep).WithOsyield(runtime.Gosched).
		WithRandSource(rand.Reader).
		WithFSConfig(g.mounts())
	for _, kv := range g.run.Env {
		k, v, _ := strings.Cut(kv, "=")
		c = c.WithEnv(k, v)
	}
	return c
}

func (g *Guest) sleep(ns int64) {
	g.breathe(256)
	t := time.NewTimer(time.Duration(ns))
	defer t.Stop()
	select {
	case <-t.C:
	case <-g.stopped:
	}
}

// breathe collects garbage from inside a host call, now and then. While guest
// code runs the collector is off: it would have to stop all threads, compiled
// guest code cannot be interrupted, and so a spinning guest would also stop
// the thread that is to stop it.
func (g *Guest) breathe(bytes int) {
	if g.garbage.Add(int64(bytes)) > 32<<20 {
		g.garbage.Store(0)
		runtime.GC()
	}
}

type guestStream struct {
	g      *Guest
	stderr bool
	write  func(bool, []byte)
}

func (g *Guest) stream(stderr bool, write func(bool, []byte)) guestStream {
	return guestStream{g, stderr, write}
}

func (s guestStream) Write(p []byte) (int, error) {
	s.g.breathe(8*len(p) + 512)
	s.write(s.stderr, p)
	return len(p), nil
}

func rusage() [2]int64 {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return [2]int64{}
	}
	return [2]int64{r.Utime.Nano() / 1000, r.Stime.Nano() / 1000}
}

// linear is a guest's memory: address space reserved once, so that growing
// neither copies nor leaves garbage behind.
type linear []byte

func reserve(_, max uint64) experimental.LinearMemory {
	b, err := syscall.Mmap(-1, 0, int(max), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return linear(nil)
	}
	return linear(b)
}

// Reallocate gives the first size bytes, nil when there are not so many.
func (l linear) Reallocate(size uint64) []byte {
	if size > uint64(len(l)) {
		return nil
	}
	return l[:size]
}

// Free gives the memory back.
func (l linear) Free() {
	if len(l) > 0 {
		_ = syscall.Munmap(l[:cap(l)])
	}
}

func loadFile(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	return b, nil
}
