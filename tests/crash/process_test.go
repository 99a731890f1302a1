package crash

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emet-node/emet/tests/built"
)

// process is one program that is started again whenever it dies.
type process struct {
	name, dir string
	args, env []string

	mu     sync.Mutex
	cmd    *exec.Cmd
	said   map[string]string     // in this life, nil = not ready
	words  map[string]string     // in the last one that was ready
	fault  func(life int) string // "" = none
	lives  int
	downs  []time.Duration // how long each restart took until READY
	early  int             // lives that ended before READY
	ended  bool
	kept   chan struct{} // closed when nobody starts it any more
	change chan struct{} // closed and remade at each start and end
}

// start starts the process, waits until it says READY, and keeps it alive.
func start(t *testing.T, p *process) {
	t.Helper()
	p.kept, p.change = make(chan struct{}), make(chan struct{})
	go p.keep()
	t.Cleanup(p.stop)
	if err := p.ready(t.Context(), 0); err != nil {
		t.Fatalf("%s: %v\n%s", p.name, err, p.tail(20))
	}
}

// keep runs life after life until the process is to end.
func (p *process) keep() {
	defer close(p.kept)
	for {
		begun := time.Now()
		cmd, lines, err := p.spawn()
		if cmd == nil {
			if err != nil {
				p.note("cannot start: " + err.Error())
			}
			return
		}
		said := map[string]string{}
		was := false
		for s := bufio.NewScanner(lines); s.Scan(); {
			line := strings.TrimPrefix(s.Text(), "export ")
			if line == "READY" {
				was = true
				p.mu.Lock()
				p.said, p.words = said, said
				p.downs = append(p.downs, time.Since(begun))
				p.tell()
				p.mu.Unlock()
			} else if k, v, ok := strings.Cut(line, "="); ok && line != s.Text() {
				said[k] = v
			} else if k, v, ok := strings.Cut(line, " "); ok {
				said[k] = v
			}
		}
		_ = cmd.Wait()
		p.mu.Lock()
		p.said = nil
		if !was {
			p.early++
		}
		p.tell()
		over := p.ended
		p.mu.Unlock()
		if over {
			return
		}
		if state := cmd.ProcessState.Sys().(syscall.WaitStatus); !state.Signaled() {
			p.note(fmt.Sprintf("ended by itself: %v", cmd.ProcessState))
			time.Sleep(100 * time.Millisecond) // a program that cannot start is not to fill the disk
		}
	}
}

// tell wakes whoever waits for a change. The caller holds the lock.
func (p *process) tell() {
	close(p.change)
	p.change = make(chan struct{})
}

func (p *process) spawn() (*exec.Cmd, *os.File, error) {
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer log.Close() //nolint:errcheck // the child has its own
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer w.Close() //nolint:errcheck // the child has its own
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return nil, nil, nil
	}
	p.lives++
	cmd := exec.Command(built.Faulty.Path(), p.args...)
	cmd.Env = built.Env(p.env...)
	if p.fault != nil {
		if f := p.fault(p.lives); f != "" {
			cmd.Env = append(cmd.Env, "EMET_FAULT="+f)
		}
	}
	cmd.Stdout, cmd.Stderr = w, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	p.cmd = cmd
	return cmd, r, nil
}

// ready waits until a life after the n-th is ready.
func (p *process) ready(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, patience) // there may be many short lives before
	defer cancel()
	for {
		p.mu.Lock()
		ok, change := p.said != nil && p.lives > n, p.change
		p.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-change:
		case <-p.kept:
			return errors.New("it is not started any more")
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", ctx.Err())
		}
	}
}

// word is what the process said under a name when it was ready.
func (p *process) word(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.words[name]
}

// faults sets what later lives die of, and ends the present one.
func (p *process) faults(f func(life int) string) {
	p.mu.Lock()
	p.fault = f
	p.mu.Unlock()
	p.kill()
}

// kill ends the present life as a power cut would.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil && p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
	}
}

// restart kills the process and waits until it is ready again.
func (p *process) restart(ctx context.Context) error {
	p.mu.Lock()
	n := p.lives
	p.mu.Unlock()
	p.kill()
	return p.ready(ctx, n)
}

// stop ends the process for good.
func (p *process) stop() {
	p.mu.Lock()
	p.ended = true
	cmd := p.cmd
	p.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
	}
	<-p.kept
}

func (p *process) logFile() string { return filepath.Join(filepath.Dir(p.dir), p.name+".log") }

func (p *process) note(s string) {
	f, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err == nil {
		fmt.Fprintln(f, "harness:", s)
		_ = f.Close()
	}
}

// tail is the end of what the process wrote to its log, without what every
// start after a kill says.
func (p *process) tail(n int) string {
	b, _ := os.ReadFile(p.logFile())
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	lines = slices.DeleteFunc(lines, func(s string) bool { return strings.Contains(s, "a segment of the log is read again") })
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// died checks that the process died as often as the test is about.
func (p *process) died(t *testing.T, least int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lives <= least {
		t.Errorf("%s lived %d times only, the test wants more than %d deaths", p.name, p.lives, least)
	}
}

// summary says how often the process lived and how fast it came back.
func (p *process) summary() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var sum, most time.Duration
	for _, d := range p.downs {
		sum, most = sum+d, max(most, d)
	}
	return fmt.Sprintf("%s: %d lives, %d ended before READY, READY after %v on average, %v at most",
		p.name, p.lives, p.early, (sum / time.Duration(max(1, len(p.downs)))).Round(time.Millisecond), most.Round(time.Millisecond))
}
