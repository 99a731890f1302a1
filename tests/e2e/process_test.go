package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emet-node/emet/api/client"
	"github.com/emet-node/emet/tests/built"
)

// process is a program that runs until it is told or made to end.
type process struct {
	t    *testing.T
	args []string
	env  []string
	cmd  *exec.Cmd
	said map[string]string // words printed before READY
	out  *text             // everything printed on both outputs
	over chan struct{}     // closed when it has ended
}

// text is output that may be read while it grows.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (x *text) Write(b []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.Write(b)
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.String()
}

// begin starts a program in a process group of its own. It is killed with the test.
func begin(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, args: args, env: env}
	p.again()
	t.Cleanup(p.kill)
	return p
}

// again starts the program, also once more after it has ended.
func (p *process) again() {
	p.t.Helper()
	p.said, p.out, p.over = map[string]string{}, &text{}, make(chan struct{})
	p.cmd = exec.Command(built.Emet.Path(), p.args...)
	p.cmd.Env = built.Env(p.env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stderr = p.out
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ready := make(chan struct{})
	go func() {
		p.read(stdout, ready)
		_ = p.cmd.Wait()
		close(p.over)
	}()
	if !p.serves() {
		return
	}
	select {
	case <-ready:
	case <-p.over:
		p.t.Fatalf("emet %s ended before it was ready:\n%s", strings.Join(p.args, " "), p.out)
	case <-time.After(2 * least):
		p.t.Fatalf("emet %s is not ready:\n%s", strings.Join(p.args, " "), p.out)
	}
}

// serves says whether the program tells when it is ready.
func (p *process) serves() bool {
	return p.args[0] == "up" || p.args[0] == "dev" || p.args[0] == "devchain"
}

func (p *process) read(r io.Reader, ready chan struct{}) {
	for s := bufio.NewScanner(io.TeeReader(r, p.out)); s.Scan(); {
		line := strings.TrimPrefix(s.Text(), "export ")
		if line == "READY" {
			close(ready)
			break
		}
		if k, v, ok := strings.Cut(line, "="); ok && line != s.Text() {
			p.said[k] = v
		} else if k, v, ok := strings.Cut(line, " "); ok {
			p.said[k] = v
		}
	}
	_, _ = io.Copy(p.out, r)
}

func (p *process) client() *client.Client {
	return &client.Client{URL: p.said["YAGNA_API_URL"], Key: p.said["YAGNA_APPKEY"]}
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// die kills the program at once, without its children.
func (p *process) die() {
	p.signal(syscall.SIGKILL)
	<-p.over
}

func (p *process) kill() {
	select {
	case <-p.over:
	default:
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGCONT)
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-p.over:
		case <-time.After(20 * time.Second):
			_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
			<-p.over
		}
	}
	if p.t.Failed() {
		p.t.Logf("emet %s said:\n%s", strings.Join(p.args, " "), last(p.out.String(), 30))
	}
}

func last(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (p *process) hasEnded() bool {
	select {
	case <-p.over:
		return true
	default:
		return false
	}
}

// ended waits for the end and returns the exit code.
func (p *process) ended(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.over:
	case <-time.After(max(within, least)):
		p.t.Fatalf("emet %s did not end within %s:\n%s", strings.Join(p.args, " "), max(within, least), p.out)
	}
	return p.cmd.ProcessState.ExitCode()
}

// result is what a program came to.
type result struct {
	code           int
	stdout, stderr string
	took           time.Duration
}

// emet runs a program to its end.
func emet(t *testing.T, env []string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), built.Emet.Path(), args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = built.Env(env...), &out, &errs
	began := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String(), time.Since(began)}
}

// says checks the exit code and that every piece of text was printed as an error.
func (r result) says(t *testing.T, code int, pieces ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d\n%s\n%s", r.code, code, r.stdout, r.stderr)
	}
	for _, p := range pieces {
		if !strings.Contains(r.stderr, p) {
			t.Errorf("it does not say %q:\n%s", p, r.stderr)
		}
	}
}

// running lists the processes that have a text in their command line or
// environment, other than this one.
func running(text string) []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(d))
		line, _ := os.ReadFile(filepath.Join(d, "cmdline"))
		env, _ := os.ReadFile(filepath.Join(d, "environ"))
		if pid != os.Getpid() && (bytes.Contains(line, []byte(text)) || bytes.Contains(env, []byte(text))) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// least is how long anything is waited for: a machine that has other things to
// do needs that for what it else does at once.
const least = 3 * time.Minute

// eventually waits until a condition holds.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	within = max(within, least)
	for deadline := time.Now().Add(within); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}
