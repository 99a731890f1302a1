package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/api/control"
)

// desk is a node that knows one identity and two app-keys.
type desk struct {
	control.Daemon
	stopped chan struct{}
	seen    control.NewIdentity
}

func (d *desk) Status(context.Context) (control.Status, error) {
	return control.Status{PID: 42, Version: "test"}, nil
}
func (d *desk) Stop(context.Context) error { close(d.stopped); return nil }
func (d *desk) Identity(_ context.Context, ref string) (control.Identity, error) {
	if ref != "a/b ü&?" {
		return control.Identity{}, errors.Join(control.ErrNotFound, errors.New("no "+ref))
	}
	return control.Identity{Alias: ref}, nil
}

func (d *desk) CreateIdentity(_ context.Context, n control.NewIdentity) (control.Identity, error) {
	d.seen = n
	return control.Identity{Alias: n.Alias}, nil
}

func (d *desk) CreateAppKey(context.Context, control.NewAppKey) (control.AppKey, error) {
	return control.AppKey{}, control.ErrBad
}
func (d *desk) DropAppKey(context.Context, string, string) error { return control.ErrRefused }
func (d *desk) Follow(ctx context.Context, from uint64, hear func(control.Fact) error) error {
	for p := from; p < from+3; p++ {
		if err := hear(control.Fact{Position: p, Data: json.RawMessage(`{}`), Meta: json.RawMessage(`{}`)}); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func serve(t *testing.T) (*desk, *control.Client) {
	t.Helper()
	d := &desk{stopped: make(chan struct{})}
	path := filepath.Join(t.TempDir(), "s", "emet.sock")
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- control.Serve(ctx, l, d) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Error("the socket stays behind")
		}
	})
	c, err := control.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() }) //nolint:errcheck // a test
	return d, c
}

func TestQuestionsAndErrorsGoThroughTheSocket(t *testing.T) {
	t.Parallel()
	d, c := serve(t)
	if s, err := c.Status(t.Context()); err != nil || s.PID != 42 {
		t.Fatal(s, err)
	}
	if i, err := c.Identity(t.Context(), "a/b ü&?"); err != nil || i.Alias != "a/b ü&?" {
		t.Fatal(i, err)
	}
	if _, err := c.Identity(t.Context(), "x"); !errors.Is(err, control.ErrNotFound) || !strings.Contains(err.Error(), "no x") {
		t.Fatal(err)
	}
	if _, err := c.CreateIdentity(t.Context(), control.NewIdentity{Alias: "n", Passphrase: "p"}); err != nil || d.seen.Passphrase != "p" {
		t.Fatal(d.seen, err)
	}
	if _, err := c.CreateAppKey(t.Context(), control.NewAppKey{}); !errors.Is(err, control.ErrBad) {
		t.Fatal(err)
	}
	if err := c.DropAppKey(t.Context(), "k", ""); !errors.Is(err, control.ErrRefused) {
		t.Fatal(err)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-d.stopped
}

func TestTheLogIsFollowedAsItGrows(t *testing.T) {
	t.Parallel()
	_, c := serve(t)
	var heard []uint64
	enough := errors.New("enough")
	err := c.Follow(t.Context(), 5, func(f control.Fact) error {
		if heard = append(heard, f.Position); len(heard) == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || heard[0] != 5 || heard[2] != 7 {
		t.Fatal(heard, err)
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "emet.sock")
	if _, err := control.Dial(t.Context(), path); !errors.Is(err, control.ErrNoDaemon) {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if _, err := control.Listen(path); err == nil || !strings.Contains(err.Error(), "another process listens") {
		t.Fatal(err)
	}
	l.Close() //nolint:errcheck // it dies and leaves its socket behind
	if _, err := control.Dial(t.Context(), path); !errors.Is(err, control.ErrNoDaemon) {
		t.Fatal(err)
	}
	again, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	again.Close() //nolint:errcheck // a test
}

func TestADirectoryThatOthersCanChangeIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	if err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o777)); err != nil { //nolint:gosec // that is the point
		t.Fatal(err)
	}
	if _, err := control.Listen(filepath.Join(open, "s")); !errors.Is(err, control.ErrUnsafe) {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	if _, err := control.Listen(filepath.Join(link, "s")); !errors.Is(err, control.ErrUnsafe) {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := control.Listen(file); err == nil {
		t.Fatal("a file was taken for a socket")
	}
	if b, _ := os.ReadFile(file); string(b) != "precious" {
		t.Fatal("the file is gone")
	}
	l, err := control.Listen(filepath.Join(dir, "made", "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // a test
	for name, mode := range map[string]os.FileMode{"made": 0o700, "made/s": 0o600} {
		if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

// Each data directory has a socket of its own, by one rule.
func TestWhereTheSocketIs(t *testing.T) {
	dir, run := t.TempDir(), t.TempDir()
	t.Setenv("GSB_URL", "")
	t.Setenv("XDG_RUNTIME_DIR", run)
	if p := control.Path(dir, dir); p != filepath.Join(run, "emet", "emet.sock") {
		t.Error(p)
	}
	other := filepath.Join(dir, "n")
	if p := control.Path(other, dir); len(other) < 80 && p != filepath.Join(other, "emet.sock") {
		t.Error(p)
	}
	long := filepath.Join(dir, strings.Repeat("x", 120))
	p, q := control.Path(long, dir), control.Path(long+"y", dir)
	if filepath.Dir(p) != filepath.Join(run, "emet") || p == q || len(p) > 107 {
		t.Error(p, q)
	}
	link := filepath.Join(t.TempDir(), "l")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if control.Path(link, dir) != control.Path(dir, dir) {
		t.Error("a link leads to another socket")
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	if p := control.Path(dir, dir); !strings.HasPrefix(p, filepath.Join(os.TempDir(), "emet-")) {
		t.Error(p)
	}
	t.Setenv("GSB_URL", "unix:/tmp/own.sock")
	if p := control.Path(dir, dir); p != "/tmp/own.sock" {
		t.Error(p)
	}
	t.Setenv("GSB_URL", "tcp://127.0.0.1:7464")
	if p := control.Path(other, dir); strings.Contains(p, "7464") {
		t.Error(p)
	}
}

// Connections are as many as a few commands need; one more waits for its turn.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s", "emet.sock")
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- control.Serve(ctx, l, &desk{}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	following := make([]net.Conn, 64)
	for i := range following {
		if following[i], err = net.Dial("unix", path); err == nil {
			_, err = io.WriteString(following[i], "GET /v1/log HTTP/1.1\r\nHost: x\r\n\r\n")
		}
		if err != nil {
			t.Fatal(err)
		}
		defer following[i].Close()
	}
	asked := func(ctx context.Context) error {
		c, err := control.Dial(ctx, path)
		if err != nil {
			return err
		}
		defer c.Close() //nolint:errcheck // a test
		_, err = c.Status(ctx)
		return err
	}
	short, tooLate := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer tooLate()
	if err := asked(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one too many is answered with %v", err)
	}
	following[0].Close()
	if err := asked(t.Context()); err != nil {
		t.Errorf("when one has left: %v", err)
	}
}
