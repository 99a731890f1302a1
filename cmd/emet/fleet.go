package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/emet-node/emet/api/client"
	"github.com/emet-node/emet/api/client/rent"
)

// fleet is a network of processes of this program.
type fleet struct {
	dir   string
	env   []string // of every node, beyond what start sets
	mu    sync.Mutex
	procs []*exec.Cmd
	nodes map[string]*client.Client // providers, by name
}

func newFleet(dir string, env ...string) *fleet {
	return &fleet{dir: dir, env: env, nodes: map[string]*client.Client{}}
}

// start brings up chain, requestor and providers and returns a client of the
// requestor, whose account is funded.
func (f *fleet) start(ctx context.Context, providers int) (*client.Client, error) {
	chain, err := f.spawn(ctx, "chain", nil, "devchain", "--listen", "127.0.0.1:0", "--network", "hoodi", "-d", filepath.Join(f.dir, "chain"))
	if err != nil {
		return nil, err
	}
	env := []string{
		"HOODI_GETH_ADDR=" + chain["hoodi"], "EMET_PAYMENT_CYCLE=5s", "EMET_PROVIDER_ALLOW_LOOPBACK=true",
		"EMET_ACTIVITY_PROVIDER_LOST=" + envOr("EMET_ACTIVITY_PROVIDER_LOST", "10s"), "EMET_ACTIVITY_ORPHAN_AFTER=15s", "EMET_STORE_SEGMENT_MIB=16",
	}
	requestor, err := f.node(ctx, "requestor", env, "--no-provider")
	if err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	errs := make([]error, providers)
	for i := range providers {
		wg.Go(func() {
			name := fmt.Sprintf("provider-%d", i+1)
			said, err := f.node(ctx, name, env, "--name", name, "--bootstrap", requestor["EMET_BOOTSTRAP"])
			errs[i] = err
			f.mu.Lock()
			defer f.mu.Unlock()
			f.nodes[name] = &client.Client{URL: said["YAGNA_API_URL"], Key: said["YAGNA_APPKEY"]}
		})
	}
	c := &client.Client{URL: requestor["YAGNA_API_URL"], Key: requestor["YAGNA_APPKEY"]}
	err = fund(ctx, chain["hoodi"], c)
	wg.Wait()
	return c, errors.Join(append(errs, err)...)
}

func (f *fleet) node(ctx context.Context, name string, env []string, args ...string) (map[string]string, error) {
	return f.spawn(ctx, name, env, append([]string{
		"up", "--export", "--end-units", "-d", filepath.Join(f.dir, name), "--listen", "http://127.0.0.1:0",
		"--net-listen", "/ip4/127.0.0.1/udp/0/quic-v1,/ip4/127.0.0.1/tcp/0",
	}, args...)...)
}

// fund lets the chain give the requestor coins and tokens.
func fund(ctx context.Context, url string, c *client.Client) error {
	me, err := c.Me(ctx)
	if err != nil {
		return err
	}
	rpc := &client.Client{URL: url}
	var answer struct {
		Error *struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	err = rpc.Do(ctx, "POST", "", map[string]any{"jsonrpc": "2.0", "id": 1, "method": "emet_fund", "params": []string{me.Identity}}, &answer)
	if err == nil && answer.Error != nil {
		err = errors.New(answer.Error.Message)
	}
	return err
}

// spawn starts a process and returns what it said until READY: "export K=V"
// and "name value" lines. Its log goes to a file beside its data.
func (f *fleet) spawn(ctx context.Context, name string, env []string, args ...string) (map[string]string, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	logPath := filepath.Join(f.dir, name+".log")
	logFile, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer logFile.Close() //nolint:errcheck // the child has its own
	cmd := exec.Command(exe, args...)
	cmd.Env = append(append(os.Environ(), env...), f.env...)
	cmd.Stderr = logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := startLocked(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	f.mu.Lock()
	f.procs = append(f.procs, cmd)
	f.mu.Unlock()
	said, err := readUntilReady(ctx, out)
	if err != nil {
		tail, _ := os.ReadFile(logPath)
		return nil, fmt.Errorf("%s did not start: %w\n%s", name, err, lastLines(tail, 5))
	}
	go io.Copy(io.Discard, out) //nolint:errcheck // until it ends
	return said, nil
}

func readUntilReady(ctx context.Context, r io.Reader) (map[string]string, error) {
	said := map[string]string{}
	done := make(chan error, 1)
	go func() {
		s := bufio.NewScanner(r)
		for s.Scan() {
			line := strings.TrimPrefix(s.Text(), "export ")
			if line == "READY" {
				done <- nil
				return
			}
			if k, v, ok := strings.Cut(line, "="); ok && line != s.Text() {
				said[k] = v
			} else if k, v, ok := strings.Cut(line, " "); ok {
				said[k] = v
			}
		}
		done <- errors.New("it ended")
	}()
	select {
	case err := <-done:
		return said, err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(30 * time.Second):
		return nil, errors.New("not ready after 30 s")
	}
}

func lastLines(b []byte, n int) string {
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], []byte("\n")))
}

// verified waits until each provider's own invoice is settled in its own
// books: it has looked at the chain itself.
func (f *fleet) verified(ctx context.Context, deals []rent.Deal) error {
	for _, d := range deals {
		c, ok := f.nodes[d.Name]
		if !ok || d.Invoice == "" {
			continue
		}
		for {
			doc, err := c.Invoice(ctx, d.Invoice)
			if err == nil && doc.Status == "SETTLED" {
				break
			}
			select {
			case <-ctx.Done():
				return errors.Join(fmt.Errorf("%s: invoice %s is %s", d.Name, d.Invoice, doc.Status), err, ctx.Err())
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

// stop ends all processes, the chain last, and waits for them.
func (f *fleet) stop() {
	f.mu.Lock()
	procs := f.procs
	f.mu.Unlock()
	var wg sync.WaitGroup
	for i := len(procs) - 1; i >= 0; i-- {
		p := procs[i]
		if i == 0 {
			wg.Wait()
		}
		_ = p.Process.Signal(syscall.SIGTERM)
		wg.Go(func() {
			killed := time.AfterFunc(8*time.Second, func() { _ = p.Process.Kill() })
			defer killed.Stop()
			_ = p.Wait()
		})
	}
	wg.Wait()
}
