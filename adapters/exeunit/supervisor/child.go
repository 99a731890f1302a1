package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/emet-node/emet/adapters/exeunit"
)

// How long each way to stop a guest is given before the next, harder one.
const (
	drainFor = 200 * time.Millisecond // after its fuel is taken
	termFor  = time.Second            // after SIGTERM
)

// child is the runtime process of an activity.
type child struct {
	cmd     *exec.Cmd
	in      io.Closer
	frames  *exeunit.FrameWriter
	reports chan exeunit.Report // closed when the process says no more
	waited  chan struct{}       // closed when it is reaped
	fuel    atomic.Int64        // of the present run
	active  atomic.Bool         // whether there is one
}

// startChild starts the runtime: no environment, its own process group, and
// killed by the system when this process dies. For that the thread that
// started it must live as long as it does, so it gets one of its own.
func startChild(dir string) (*child, error) {
	in, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	stdout, out, err := os.Pipe()
	if err != nil {
		in.Close()
		stdin.Close()
		return nil, err
	}
	exe, err := selfExe()
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{
		Path: exe, Args: []string{"emet", exeunit.WASMCommand}, Env: []string{}, Dir: dir,
		Stdin: in, Stdout: out, Stderr: os.Stderr, SysProcAttr: childAttr(),
	}
	c := &child{cmd: cmd, in: stdin, frames: exeunit.NewFrameWriter(stdin), reports: make(chan exeunit.Report), waited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		in.Close()
		out.Close()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(c.waited)
		}
	}()
	if err := <-started; err != nil {
		stdin.Close()
		stdout.Close()
		return nil, fmt.Errorf("start the runtime: %w", err)
	}
	go c.listen(stdout)
	return c, nil
}

func (c *child) listen(stdout io.ReadCloser) {
	defer stdout.Close()
	defer close(c.reports)
	for {
		var r exeunit.Report
		if exeunit.ReadFrame(stdout, &r) != nil {
			return
		}
		if r.Fuel != nil {
			if c.active.Load() {
				c.fuel.Store(*r.Fuel)
			}
			continue
		}
		if r.Done != nil {
			c.active.Store(false)
		}
		c.reports <- r
	}
}

// errRuntime says that the runtime process ended when it should not.
var errRuntime = errors.New("the runtime process ended")

func (c *child) load(ctx context.Context, l exeunit.Load) (*exeunit.Loaded, error) {
	if err := c.frames.Write(exeunit.Request{Load: &l}); err != nil {
		return nil, fmt.Errorf("%w: %w", errRuntime, err)
	}
	for {
		select {
		case r, ok := <-c.reports:
			if !ok {
				return nil, fmt.Errorf("%w while it compiled: %s", errRuntime, c.fate())
			}
			if r.Loaded == nil {
				continue
			}
			if r.Loaded.Error != "" {
				return nil, errors.New(r.Loaded.Error)
			}
			return r.Loaded, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// run runs a guest to its end. When ctx ends, or the guest outlives its wall
// clock, it is stopped: by its fuel, then SIGTERM, then SIGKILL.
func (c *child) run(ctx context.Context, r exeunit.Run, output func(exeunit.Output)) (exeunit.Done, error) {
	c.active.Store(true)
	if err := c.frames.Write(exeunit.Request{Run: &r}); err != nil {
		return exeunit.Done{Code: -1}, fmt.Errorf("%w: %w", errRuntime, err)
	}
	stop, late := ctx.Done(), (<-chan time.Time)(nil)
	if r.WallMS > 0 {
		t := time.NewTimer(time.Duration(r.WallMS)*time.Millisecond + drainFor)
		defer t.Stop()
		late = t.C
	}
	reason := ""
	harder := func(why string) {
		if reason == "" {
			reason = why
			go c.kill()
		}
	}
	for {
		select {
		case rep, ok := <-c.reports:
			switch {
			case !ok:
				return exeunit.Done{Code: -1, Stopped: reason, Fuel: c.fuel.Load()}, fmt.Errorf("%w: %s", errRuntime, c.fate())
			case rep.Output != nil:
				output(*rep.Output)
			case rep.Done != nil:
				return *rep.Done, nil
			}
		case <-stop:
			stop = nil
			_ = c.frames.Write(exeunit.Request{Stop: true})
			t := time.NewTimer(drainFor)
			defer t.Stop()
			late = t.C
		case <-late:
			late = nil
			if stop == nil {
				harder(exeunit.StoppedByHost)
			} else {
				harder(exeunit.StoppedByWallClock)
			}
		}
	}
}

// kill ends the process and all it may have started, and waits for that.
func (c *child) kill() {
	_ = c.in.Close()
	for _, s := range []struct {
		signal syscall.Signal
		within time.Duration
	}{{syscall.SIGTERM, termFor}, {syscall.SIGKILL, 0}} {
		select {
		case <-c.waited:
			return // the number may belong to somebody else by now
		default:
		}
		_ = syscall.Kill(-c.cmd.Process.Pid, s.signal)
		select {
		case <-c.waited:
		case <-time.After(s.within):
		}
	}
	<-c.waited
}

// leave lets an idle process go by closing its input, and kills it otherwise.
func (c *child) leave() {
	c.drop()
	_ = c.in.Close()
	select {
	case <-c.waited:
	case <-time.After(drainFor):
	}
	c.kill()
}

// drop reads on, so that a process that is to be killed does not hang.
func (c *child) drop() {
	go func() {
		for range c.reports {
		}
	}()
}

// fate says how the process ended, waiting for that.
func (c *child) fate() string {
	<-c.waited
	return c.cmd.ProcessState.String()
}

// signalName is the signal that ended the process, "" when none did.
func (c *child) signalName() string {
	if ws, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return ws.Signal().String()
	}
	return ""
}
