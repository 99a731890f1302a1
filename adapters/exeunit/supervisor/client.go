package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/emet-node/emet/adapters/exeunit"
	"github.com/emet-node/emet/domain/activity/unit"
)

// Client starts supervisors and finds them again. It implements
// [unit.Supervisor].
type Client struct {
	// Program is the executable that is started with "exe-unit", "" = the
	// present one. It must call [Main] for that word and wasm.Main for
	// "runtime-wasm".
	Program string
}

var _ unit.Supervisor = Client{}

// Spawn starts a supervisor that outlives this process. An activity that has
// one already gives [unit.ErrExists] together with what was started then, so
// that a start whose answer was lost can be said again. A work dir whose
// supervisor is dead gives a [*unit.GoneError].
func (c Client) Spawn(ctx context.Context, s unit.Spec) (unit.Spawned, error) {
	fail := func(err error) (unit.Spawned, error) {
		return unit.Spawned{}, fmt.Errorf("spawn exe-unit of %s: %w", s.ActivityID, err)
	}
	if err := os.MkdirAll(s.WorkDir, 0o700); err != nil {
		return fail(err)
	}
	program := c.Program
	if program == "" {
		exe, err := os.Executable()
		if err != nil {
			return fail(err)
		}
		program = exe
	}
	r, err := start(ctx, program, s)
	switch {
	case err != nil:
		return fail(err)
	case r.Spawned != nil:
		return *r.Spawned, nil
	case r.Reply == nil:
		return fail(errors.New("it said nothing that makes sense"))
	}
	err = r.Reply.err()
	if errors.Is(err, unit.ErrGone) {
		return unit.Spawned{}, gone(s.ActivityID, s.WorkDir, -1)
	}
	if errors.Is(err, unit.ErrExists) {
		spawned, _ := spawnedBefore(s.WorkDir)
		return spawned, err
	}
	return fail(err)
}

// start starts the process and waits for its first word.
func start(ctx context.Context, program string, s unit.Spec) (r ready, err error) {
	log, err := os.OpenFile(filepath.Join(s.WorkDir, logName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return r, err
	}
	defer log.Close()
	cmd := exec.Command(program, exeunit.SupervisorCommand, s.ActivityID)
	cmd.Env, cmd.Dir, cmd.Stderr = environment(), s.WorkDir, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return r, err
	}
	out, w, err := os.Pipe()
	if err != nil {
		return r, err
	}
	defer out.Close()
	cmd.Stdout = w
	err = cmd.Start()
	w.Close()
	if err != nil {
		return r, err
	}
	go func() { _ = cmd.Wait() }() // so that it leaves no zombie
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	err = errors.Join(json.NewEncoder(stdin).Encode(s), stdin.Close())
	if e := json.NewDecoder(out).Decode(&r); e != nil {
		if ctx.Err() != nil {
			return r, context.Cause(ctx)
		}
		return r, fmt.Errorf("it ended before it listened: %w", errors.Join(err, e))
	}
	if !stop() && r.Spawned != nil {
		return ready{}, context.Cause(ctx) // killed at the last moment
	}
	return r, nil
}

// environment is all that a supervisor sees of ours. Its runtime sees nothing.
func environment() []string {
	env := []string{}
	for _, name := range []string{"TMPDIR", "TZ", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "GODEBUG"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

func spawnedBefore(dir string) (s unit.Spawned, err error) {
	text, err := os.ReadFile(filepath.Join(dir, spawnedName))
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	return s, err
}

func gone(activityID, dir string, after int64) error {
	return &unit.GoneError{ActivityID: activityID, Left: leftover(dir, after)}
}

// Attach connects to a running supervisor.
func (c Client) Attach(ctx context.Context, a unit.Attachment) (unit.Conn, error) {
	nc, err := dial(ctx, a)
	if err != nil {
		return nil, err
	}
	conn := newConn(a.Dir, nc, a.Files)
	h := &hello{ActivityID: a.ActivityID, Token: a.Token, After: a.After, Files: a.Files != nil}
	go conn.listen()
	if _, err := conn.ask(ctx, message{Hello: h}); err != nil {
		nc.Close()
		if errors.Is(err, unit.ErrToken) {
			return nil, unit.ErrToken
		}
		if alone(a.Dir) || errors.Is(err, unit.ErrLost) && soonAlone(ctx, a.Dir) {
			return nil, gone(a.ActivityID, a.Dir, a.After)
		}
		return nil, fmt.Errorf("attach to %s: %w", a.ActivityID, err)
	}
	return conn, nil
}

// soonAlone waits for the end of a supervisor that hung up: one that was killed takes
// calls until the system has closed its files, and one that got another call does
// not end.
func soonAlone(ctx context.Context, dir string) bool {
	for range goingTries {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(goingPause):
		}
		if alone(dir) {
			return true
		}
	}
	return false
}

const (
	goingPause = 10 * time.Millisecond
	goingTries = 100
)

// dial reaches the socket. A supervisor that holds its lock but does not
// listen is just starting or going; it is waited for.
func dial(ctx context.Context, a unit.Attachment) (net.Conn, error) {
	for {
		nc, err := dialShort(filepath.Join(a.Dir, socketName))
		if err == nil {
			return nc, nil
		}
		if alone(a.Dir) {
			return nil, gone(a.ActivityID, a.Dir, a.After)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("attach to %s: %w", a.ActivityID, errors.Join(context.Cause(ctx), err))
		case <-time.After(goingPause):
		}
	}
}

// alone says whether no supervisor holds the work dir.
func alone(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR, 0)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	defer f.Close()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return false
	}
	// A child that is being started has a copy of the file, which would keep
	// the lock; unlocking frees every copy.
	return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) == nil
}

// maxSocketPath is what every system takes for the path of a socket.
const maxSocketPath = 100

// dialShort connects to a socket whose path may be too long for the system, by
// way of a short link to its directory.
func dialShort(path string) (net.Conn, error) {
	if len(path) <= maxSocketPath {
		return net.Dial("unix", path)
	}
	for _, base := range []string{os.TempDir(), "/tmp"} {
		tmp, err := os.MkdirTemp(base, "emet-")
		if err != nil {
			continue
		}
		defer os.RemoveAll(tmp)
		link := filepath.Join(tmp, "d")
		if len(link) > maxSocketPath-len(socketName)-1 {
			continue
		}
		if err := os.Symlink(filepath.Dir(path), link); err != nil {
			return nil, err
		}
		return net.Dial("unix", filepath.Join(link, filepath.Base(path)))
	}
	return nil, fmt.Errorf("the path of the socket %s is too long, and no temporary directory has a shorter one", path)
}
