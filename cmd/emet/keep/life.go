package keep

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
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
	cmd.Env = append(append(os.Environ(), c.p.Env...), keptVar+"=1")
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = w, os.Stderr, c.k.Inherit
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if c.p.Log != "" {
		log, err := os.OpenFile(c.p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			_ = r.Close()
			return nil, nil, err
		}
		defer log.Close() //nolint:errcheck // the child has its own
		cmd.Stderr = log
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
// was ready, else free ones.
func (c *Child) choosePorts() ([]int, error) {
	select {
	case <-c.ready:
		return c.ports, nil
	default:
	}
	var err error
	c.ports, err = Ports(c.p.Ports)
	return c.ports, err
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

// tail is the end of a child's log as part of an error.
func (c *Child) tail() string {
	if c.p.Log == "" {
		return ""
	}
	b, err := os.ReadFile(c.p.Log)
	if err != nil || len(bytes.TrimSpace(b)) == 0 {
		return "; its log " + c.p.Log + " is empty"
	}
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return "; its log " + c.p.Log + " ends so:\n" + string(bytes.Join(lines[max(0, len(lines)-5):], []byte("\n")))
}
