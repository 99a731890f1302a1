package wasm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"syscall"
	"time"

	"github.com/emet-node/emet/adapters/exeunit"
)

// Main is the runtime process, "emet runtime-wasm": it serves requests on its
// standard input, reports on its standard output, and ends with its input.
// Asked to test itself (see [Test]), it does that instead. It returns the exit
// code.
func Main(args []string) int {
	restrict()
	if len(args) > 0 && args[0] == selfTest {
		if err := testHere(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	err := Serve(context.Background(), os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "runtime-wasm:", err)
		return 1
	}
	return 0
}

// restrict lowers what this process may take, for ever.
func restrict() {
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 4096, Max: 4096})
	syscall.Umask(0o077)
}

// Serve is Main over any pair of streams.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	s := &server{out: exeunit.NewFrameWriter(out)}
	defer s.close(ctx)
	for {
		var q exeunit.Request
		if err := exeunit.ReadFrame(in, &q); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		switch {
		case q.Load != nil:
			if err := s.out.Write(exeunit.Report{Loaded: s.load(ctx, *q.Load)}); err != nil {
				return err
			}
		case q.Run != nil:
			s.start(ctx, *q.Run)
		case q.Stop:
			s.stop()
		}
	}
}

type server struct {
	out    *exeunit.FrameWriter
	engine *Engine
	mu     sync.Mutex
	guest  *Guest
	clean  uint64 // what was on the heap after the last collection
	runs   sync.WaitGroup
}

func (s *server) close(ctx context.Context) {
	s.stop()
	s.runs.Wait()
	if s.engine != nil {
		_ = s.engine.Close(ctx)
	}
}

// room is memory that nobody writes to. While it is held, the collector waits until
// there is as much garbage: loading a module that is compiled leaves less.
const room = 48 << 20

func (s *server) load(ctx context.Context, l exeunit.Load) *exeunit.Loaded {
	if s.engine != nil {
		return &exeunit.Loaded{Error: "modules are loaded already"}
	}
	runtime.GOMAXPROCS(max(1, l.Threads) + 1) // one to listen while guests compute
	watch := time.AfterFunc(compileWithin, func() {
		fmt.Fprintf(os.Stderr, "a module was not compiled within %s\n", compileWithin)
		os.Exit(1)
	})
	defer watch.Stop()
	defer runtime.KeepAlive(make([]byte, room))
	var err error
	if s.engine, err = NewEngine(ctx, l.CacheDir, l.MemoryPages); err != nil {
		return &exeunit.Loaded{Error: err.Error()}
	}
	var answer exeunit.Loaded
	for _, m := range l.Modules {
		code, err := loadFile(m.Path)
		if err != nil {
			return &exeunit.Loaded{Error: err.Error()}
		}
		metered, err := s.engine.Add(ctx, m.ID, code)
		if err != nil {
			return &exeunit.Loaded{Error: err.Error()}
		}
		if !metered {
			answer.Unmetered = append(answer.Unmetered, m.ID)
		}
	}
	s.collect()
	// From now on garbage is collected between runs and in host calls only.
	debug.SetGCPercent(-1)
	return &answer
}

func (s *server) start(ctx context.Context, r exeunit.Run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	switch {
	case s.engine == nil:
		err = errors.New("no modules are loaded")
	case s.guest != nil:
		err = errors.New("a run is going on")
	default:
		s.guest, err = s.engine.NewGuest(r)
	}
	if err != nil {
		_ = s.out.Write(exeunit.Report{Done: &exeunit.Done{Code: -1, Error: err.Error()}})
		return
	}
	s.runs.Add(1)
	go s.run(ctx, s.guest)
}

func (s *server) run(ctx context.Context, g *Guest) {
	defer s.runs.Done()
	ended := make(chan struct{})
	go s.watch(g, ended)
	out := newCoalescer(s.out)
	done := s.engine.Run(ctx, g, out.write)
	close(ended)
	out.close()
	s.mu.Lock() // no guest starts before the garbage of this one is gone
	defer s.mu.Unlock()
	s.guest = nil
	_ = s.out.Write(exeunit.Report{Done: &done})
	if used() > s.clean+litter {
		s.collect()
	}
}

// litter is how much garbage runs may leave between them: to collect takes as long as a
// small run.
const litter = 16 << 20

func (s *server) collect() {
	runtime.GC()
	s.clean = used()
}

// used is what lies on the heap, garbage included, in bytes.
func used() uint64 {
	m := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(m)
	return m[0].Value.Uint64()
}

// watch reports the fuel of a running guest.
func (s *server) watch(g *Guest, ended <-chan struct{}) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
			fuel := g.Fuel()
			if s.out.Write(exeunit.Report{Fuel: &fuel}) != nil {
				return
			}
		}
	}
}

func (s *server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.guest != nil {
		s.guest.Stop(exeunit.StoppedByHost)
	}
}

// coalescer joins small writes of a guest into frames, at most 20 ms late.
type coalescer struct {
	out    *exeunit.FrameWriter
	mu     sync.Mutex
	stderr bool
	buf    []byte
	timer  *time.Timer
}

const frameBytes = 32 << 10

func newCoalescer(out *exeunit.FrameWriter) *coalescer { return &coalescer{out: out} }

func (c *coalescer) write(stderr bool, p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if stderr != c.stderr {
		c.flush()
		c.stderr = stderr
	}
	for len(p) > 0 {
		n := min(len(p), frameBytes-len(c.buf))
		c.buf = append(c.buf, p[:n]...)
		p = p[n:]
		if len(c.buf) == frameBytes {
			c.flush()
		}
	}
	if len(c.buf) > 0 && c.timer == nil {
		c.timer = time.AfterFunc(20*time.Millisecond, c.close)
	}
}

// flush sends what is there; the caller holds the lock.
func (c *coalescer) flush() {
	if len(c.buf) > 0 {
		_ = c.out.Write(exeunit.Report{Output: &exeunit.Output{Stderr: c.stderr, Bytes: c.buf}})
		c.buf = c.buf[:0]
	}
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

func (c *coalescer) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flush()
}
