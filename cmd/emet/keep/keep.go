// Package keep runs processes of this program and starts those again that end
// without being told to: with the same arguments, on the same directory, at
// the same addresses. None of them outlives who started it.
package keep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// mostEarly is how many lives in a row may end before they were ready: of a
	// process that never was, and of one that was and is being killed again.
	mostEarly, mostEarlyAgain = 5, 20
	// startTime is how long a life may take until it is ready.
	startTime = 30 * time.Second
	// endTime is how long a process may take to end in good order.
	endTime = 8 * time.Second
)

// Process is what to run.
type Process struct {
	Name string
	// Args makes the command line of a life. It gets Ports free ports of this
	// machine's loopback, each for TCP and UDP. From the first time that the
	// process was ready on they are always the same.
	Args  func(ports []int) []string
	Ports int
	// Prefer are as many ports that the process had under an earlier keeper. It
	// gets them again if they are free.
	Prefer []int
	Env    []string // beyond our own
	Log    string   // file for its standard error
	// Stderr gets the standard error of a process without a Log, from the
	// moment on that it is ready. What a life said before goes into the error
	// when the process cannot live.
	Stderr io.Writer
	Once   bool // it is not started again once it has been ready
}

// Keeper keeps processes alive. Its fields are set before the first Start.
type Keeper struct {
	// News is told what happens to a process that nobody ended. May be nil.
	News func(name, what string)
	// Failed is told of a process that cannot live. May be nil.
	Failed func(error)
	// Inherit are files that all processes, and theirs, hold open.
	Inherit []*os.File

	mu    sync.Mutex
	ended bool
	all   []*Child
}

// Child is a process in all its lives.
type Child struct {
	p     Process
	k     *Keeper
	ready chan struct{} // closed when it has been ready once
	over  chan struct{} // closed when it will not be started any more
	err   error         // why it cannot live; valid after over

	mu    sync.Mutex
	ports []int
	cmd   *exec.Cmd
	words *words // on standard error, of a process without a log
	said  map[string]string
}

// Start runs a process until it is told to end, and returns when it is ready
// for the first time. A process that ends before is started again as well, at
// other ports in case that its own were taken. One that refuses to start
// though it has no ports of our choice is not asked again.
func (k *Keeper) Start(ctx context.Context, p Process) (*Child, error) {
	c := &Child{p: p, k: k, ready: make(chan struct{}), over: make(chan struct{})}
	k.mu.Lock()
	k.all = append(k.all, c)
	k.mu.Unlock()
	go c.keep()
	select {
	case <-c.ready:
		return c, nil
	case <-c.over:
		if c.err == nil {
			return nil, fmt.Errorf("%s is not started: %w", p.Name, errStopped)
		}
		return nil, c.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%s did not start: %w", p.Name, context.Cause(ctx))
	}
}

var errStopped = errors.New("everything is being ended")

// Said is what the process printed before READY when it was ready for the
// first time: "export K=V" and "name value" lines.
func (c *Child) Said() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.said
}

// Ports are those of the present life, or of the last one.
func (c *Child) Ports() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.ports)
}

// PID is the process id of the present life, or of the last one.
func (c *Child) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		return 0
	}
	return c.cmd.Process.Pid
}

// Stop ends all processes in good order, the first one when all others are
// gone, and returns when none is left. Nothing is started after it.
func (k *Keeper) Stop() {
	k.mu.Lock()
	k.ended = true
	all := slices.Clone(k.all)
	k.mu.Unlock()
	var wg sync.WaitGroup
	for _, c := range slices.Backward(all) {
		if c == all[0] {
			wg.Wait()
		}
		wg.Go(c.end)
	}
	wg.Wait()
}

// stopping says whether processes are ended on purpose.
func (k *Keeper) stopping() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ended
}

// end tells the present life to end. The keeper has been told before, so that
// there is no other one after it.
func (c *Child) end() {
	c.mu.Lock()
	cmd := c.cmd
	c.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(endTime, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
	}
	<-c.over
}

// keep runs life after life.
func (c *Child) keep() {
	defer close(c.over)
	early, short := 0, 0
	for {
		began := time.Now()
		cmd, lines, err := c.begin()
		if err != nil {
			c.fail(fmt.Errorf("start %s: %w", c.p.Name, err))
			return
		}
		if cmd == nil {
			return
		}
		wasReady := c.live(cmd, lines)
		how := howEnded(cmd.ProcessState)
		if c.k.stopping() {
			return
		}
		if early++; wasReady {
			early = 0
		}
		if short++; wasReady && time.Since(began) > 2*time.Second {
			short = 0
		}
		switch {
		case wasReady && c.p.Once:
			c.k.news(c.p.Name, how+"; not started again")
			return
		case early >= c.mostEarly(), !c.wasReady() && c.p.Ports == 0 && cmd.ProcessState.Exited():
			c.fail(fmt.Errorf("%s does not start: it %s before it was ready%s%s", c.p.Name, how, times(early), c.tail()))
			return
		case c.wasReady():
			c.k.news(c.p.Name, how+"; started again")
		}
		c.k.pause(backoff(short))
	}
}

func times(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf(", %d times in a row", n)
}

func (c *Child) mostEarly() int {
	if c.wasReady() {
		return mostEarlyAgain
	}
	return mostEarly
}

// wasReady says whether the process was ready in any of its lives.
func (c *Child) wasReady() bool {
	select {
	case <-c.ready:
		return true
	default:
		return false
	}
}

// backoff is the pause before the next life after some short ones.
func backoff(short int) time.Duration {
	if short == 0 {
		return 0
	}
	return min(50*time.Millisecond<<min(short, 10), 2*time.Second)
}

// pause waits; a keeper that is stopped meanwhile does not start anything.
func (k *Keeper) pause(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end) && !k.stopping(); {
		time.Sleep(min(time.Until(end), 50*time.Millisecond))
	}
}

func (k *Keeper) news(name, what string) {
	if k.News != nil {
		k.News(name, what)
	}
}

func (c *Child) fail(err error) {
	c.err = err
	if c.k.Failed != nil {
		c.k.Failed(err)
	}
}

func howEnded(s *os.ProcessState) string {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		if w.Signal() == syscall.SIGKILL {
			return "was killed"
		}
		return "was ended by " + w.Signal().String()
	}
	return fmt.Sprintf("ended with exit code %d", s.ExitCode())
}

// keptVar tells a process that it is kept.
const keptVar = "EMET_KEPT"

// Limit lets a kept process that was told to end do so within twenty seconds:
// when its keeper was killed, nobody else is there to end it, or to read what
// it says.
func Limit(told context.Context) {
	if os.Getenv(keptVar) == "" {
		return
	}
	signal.Ignore(syscall.SIGPIPE) // our words may have no reader any more
	context.AfterFunc(told, func() {
		time.Sleep(20 * time.Second)
		slog.Error("the process does not end in good order")
		os.Exit(1)
	})
}
