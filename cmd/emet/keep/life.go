package keep

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// begin starts a life and returns what it prints. There is none, and no
// error, when the keeper was stopped.
func (c *Child) begin() (*exec.Cmd, *os.File, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	ports, err := c.choosePorts()
	if err != nil {
		return nil, nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer w.Close() //nolint:errcheck // the child has its own
	cmd := exec.Command(exe, c.p.Args(ports)...)
	cmd.Env = append(append(os.Environ(), c.p.Env...), keptVar+"=1", "NOTIFY_SOCKET=")
	cmd.Stdout, cmd.ExtraFiles = w, c.k.Inherit
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if c.p.Log != "" {
		log, err := os.OpenFile(c.p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			_ = r.Close()
			return nil, nil, err
		}
		defer log.Close() //nolint:errcheck // the child has its own
		cmd.Stderr = log
	} else {
		c.words = &words{to: c.p.Stderr}
		cmd.Stderr, cmd.WaitDelay = c.words, 100*time.Millisecond
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.k.stopping() {
		_ = r.Close()
		return nil, nil, nil
	}
	if err := startLocked(cmd); err != nil {
		_ = r.Close()
		return nil, nil, err
	}
	c.cmd = cmd
	return cmd, r, nil
}

// choosePorts are the ports of the next life: those of the last one, if that
// was ready, else free ones, at first the preferred.
func (c *Child) choosePorts() ([]int, error) {
	if c.wasReady() {
		return c.ports, nil
	}
	ports := c.p.Prefer
	if c.Ports() != nil || len(ports) != c.p.Ports || !claim(ports) {
		var err error
		if ports, err = Ports(c.p.Ports); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ports = ports
	return ports, nil
}

// live waits until a life has ended and says whether it was ready.
func (c *Child) live(cmd *exec.Cmd, lines *os.File) (wasReady bool) {
	ready, read := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		c.listen(lines, ready)
	}()
	late := time.AfterFunc(startTime, func() {
		select {
		case <-ready:
		default:
			_ = cmd.Process.Kill()
		}
	})
	defer late.Stop()
	_ = cmd.Wait()
	_ = lines.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // a child of the child may still hold the other end
	<-read
	_ = lines.Close()
	select {
	case <-ready:
		return true
	default:
		return false
	}
}

// listen reads what a life prints, to its end.
func (c *Child) listen(r io.Reader, ready chan struct{}) {
	said := map[string]string{}
	b := bufio.NewScanner(r)
	for b.Scan() {
		line := strings.TrimPrefix(b.Text(), "export ")
		if line == "READY" {
			c.isReady(said)
			if c.words != nil {
				c.words.pass()
			}
			close(ready)
			break
		}
		if k, v, ok := strings.Cut(line, "="); ok && line != b.Text() {
			said[k] = v
		} else if k, v, ok := strings.Cut(line, " "); ok {
			said[k] = v
		}
	}
	_, _ = io.Copy(io.Discard, r)
}

func (c *Child) isReady(said map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said == nil {
		c.said = said
		close(c.ready)
	}
}

// tail is the end of what a child wrote, as part of an error.
func (c *Child) tail() string {
	where, b := "it", []byte(nil)
	if c.p.Log != "" {
		where = "its log " + c.p.Log
		b, _ = os.ReadFile(c.p.Log)
	} else {
		b = c.words.kept()
	}
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return "; " + where + " says nothing"
	}
	lines := bytes.Split(b, []byte("\n"))
	return "; " + where + " says:\n" + string(bytes.Join(lines[max(0, len(lines)-5):], []byte("\n")))
}

// words are what a life writes: kept until it is ready, then passed on.
type words struct {
	mu      sync.Mutex
	to      io.Writer
	passing bool
	b       bytes.Buffer
}

// Write implements io.Writer.
func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.passing {
		return w.to.Write(p)
	}
	if w.b.Len() > 1<<20 {
		w.b.Reset()
	}
	return w.b.Write(p)
}

// pass passes on what was kept and what will come.
func (w *words) pass() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.to == nil {
		w.to = io.Discard
	}
	w.passing = true
	_, _ = w.to.Write(w.b.Bytes())
	w.b.Reset()
}

func (w *words) kept() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.b.Bytes())
}
