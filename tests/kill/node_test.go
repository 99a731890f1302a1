package kill

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emet-node/emet/tests/built"
)

// games plays a test once, or as long as KILL_FOR says, each time with a seed
// of its own.
func games(t *testing.T, play func(t *testing.T, seed uint64)) {
	t.Helper()
	long, _ := time.ParseDuration(os.Getenv("KILL_FOR"))
	for begun, n := time.Now(), 0; n == 0 || time.Since(begun) < long; n++ {
		seed := uint64(time.Now().UnixNano())
		if s, err := strconv.ParseUint(os.Getenv("KILL_SEED"), 10, 64); err == nil {
			seed = s
		}
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { play(t, seed) }) {
			t.Fatalf("KILL_SEED=%d", seed)
		}
	}
}

func chance(seed uint64, who int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, uint64(who))) //nolint:gosec // to be repeated
}

// between is a moment of a range.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)+1))
}

// process is a data directory with the lives of the program on it.
type process struct {
	t    *testing.T
	home string
	dir  string
	env  []string
	flag []string // of each life

	cmd    *exec.Cmd
	up     chan bool     // whether it got ready
	ending chan struct{} // closed before the present life is ended
	gone   chan struct{} // closed when it is over
	mu     sync.Mutex
	said   map[string]string // by the present life
	boot   []time.Duration   // from start to READY
}

func newNode(t *testing.T) *process {
	t.Helper()
	home := t.TempDir()
	if keep := os.Getenv("KILL_KEEP"); keep != "" {
		home = filepath.Join(keep, strings.ReplaceAll(t.Name(), "/", "_"))
		if err := os.MkdirAll(home, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	n := &process{t: t, home: home, dir: filepath.Join(home, "n")}
	n.env = built.Env("HOME="+home, "XDG_DATA_HOME="+home, "XDG_RUNTIME_DIR="+filepath.Join(home, "run"), "EMET_STORE_SEGMENT_MIB=1", "EMET_LOG_LEVEL=warn")
	t.Cleanup(func() {
		n.kill()
		n.nobodyLeft()
		if t.Failed() {
			b, _ := os.ReadFile(n.logFile())
			t.Logf("the node said at last:\n%s", b[max(0, len(b)-4000):])
		}
	})
	return n
}

func (n *process) logFile() string { return filepath.Join(n.home, "node.log") }

// spawn begins a life and does not wait for it.
func (n *process) spawn() {
	n.t.Helper()
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		n.t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // the child has its own
	r, w, err := os.Pipe()
	if err != nil {
		n.t.Fatal(err)
	}
	defer w.Close() //nolint:errcheck // the child has its own
	n.cmd = exec.Command(built.Emet.Path(), append([]string{
		"up", "-d", n.dir, "--no-provider", "--export", "--listen", "127.0.0.1:0",
		"--net-listen", "/ip4/127.0.0.1/tcp/0", "--grpc", "127.0.0.1:0", "--grpc-tls",
	}, n.flag...)...)
	n.cmd.Env, n.cmd.Stdout, n.cmd.Stderr = n.env, w, log
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.up, n.said = make(chan bool, 2), map[string]string{}
	n.ending, n.gone = make(chan struct{}), make(chan struct{})
	go n.listen(r, n.up, n.gone)
}

// listen hears what a life says until it is over.
func (n *process) listen(out io.ReadCloser, ready chan<- bool, gone chan<- struct{}) {
	defer close(gone)
	defer out.Close() //nolint:errcheck // only read
	for s := bufio.NewScanner(out); s.Scan(); {
		if s.Text() == "READY" {
			ready <- true
		} else if k, v, ok := strings.Cut(strings.TrimPrefix(s.Text(), "export "), "="); ok {
			n.mu.Lock()
			n.said[k] = strings.Trim(v, "'")
			n.mu.Unlock()
		}
	}
	ready <- false
}

// ready waits until the life says so; ok is false when it ended before.
func (n *process) ready() (ok bool) {
	n.t.Helper()
	begun := time.Now()
	select {
	case ok = <-n.up:
		n.boot = append(n.boot, time.Since(begun))
	case <-time.After(3 * time.Minute):
		n.t.Error("the node was not ready after 3 min")
	}
	return ok
}

// start begins a life that must get ready.
func (n *process) start() {
	n.t.Helper()
	n.spawn()
	if !n.ready() {
		n.t.Fatalf("the node ended before it was ready: %v", n.cmd.Wait())
	}
}

func (n *process) word(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.said[name]
}

// kill ends the present life as nothing else does.
func (n *process) kill() {
	if n.cmd == nil {
		return
	}
	n.end()
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
	n.cmd = nil
}

// end tells clients that the life ends now.
func (n *process) end() {
	select {
	case <-n.ending:
	default:
		close(n.ending)
	}
}

// stop ends the present life in order.
func (n *process) stop() {
	n.t.Helper()
	n.end()
	_ = n.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(2*time.Minute, func() { _ = n.cmd.Process.Kill() })
	defer late.Stop()
	if err := n.cmd.Wait(); err != nil {
		n.t.Errorf("the node ended with %v after SIGTERM", err)
	}
	n.cmd = nil
}

// result is how a command ended.
type result struct {
	code           int // -1 = it was killed
	stdout, stderr string
	took           time.Duration
}

// emet runs a command on a directory.
func (n *process) emet(args ...string) result { return n.cut(0, args...) }

// cut runs a command and kills it after a while; 0 = never.
func (n *process) cut(after time.Duration, args ...string) (r result) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(n.t.Context()), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, built.Emet.Path(), args...)
	var stdout, stderr bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = n.env, &stdout, &stderr
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	if after > 0 {
		timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
	}
	_ = cmd.Wait() // the code says it
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String(), time.Since(begun)}
}

// must runs a command that has to succeed, and gives what it printed.
func (n *process) must(args ...string) string {
	n.t.Helper()
	r := n.emet(args...)
	if r.code != 0 {
		n.t.Fatalf("emet %s: exit %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return strings.TrimSpace(r.stdout)
}

// nobodyLeft checks that no process works for the directory.
func (n *process) nobodyLeft() {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil || e.Name() == strconv.Itoa(os.Getpid()) {
			continue
		}
		f, err := os.Open(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue
		}
		b, _ := io.ReadAll(io.LimitReader(f, 1<<16))
		_ = f.Close()
		if bytes.Contains(b, []byte(n.home)) {
			n.t.Errorf("process %s is left: %s", e.Name(), bytes.ReplaceAll(b, []byte{0}, []byte{' '}))
		}
	}
}
