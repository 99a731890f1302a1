package keep

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrHeld says that a directory is in use.
var ErrHeld = errors.New("the directory is in use")

// Hold is a directory in use by one keeper and its processes. Both locks end
// with the processes that hold them, however those end.
type Hold struct {
	dir    string
	own    *os.File // locked by us alone
	shared *os.File // locked as long as one of our processes lives
}

// Home is where a keeper has what is its own, in the directory that it holds.
const Home = ".emet"

// LockFile is the file that is locked by whoever holds a directory under a name.
func LockFile(dir, name string) string { return filepath.Join(dir, Home, name+".lock") }

// Take takes a directory for a keeper, by two files in [Home]. If an earlier keeper was killed and its
// processes are still ending, waiting is called and they are waited for. It
// fails with [ErrHeld] when the earlier keeper lives, or its processes do not
// end.
func Take(ctx context.Context, dir, name string, waiting func()) (*Hold, error) {
	if err := os.MkdirAll(filepath.Join(dir, Home), 0o700); err != nil {
		return nil, err
	}
	own, err := open(LockFile(dir, name))
	if err != nil {
		return nil, err
	}
	h := &Hold{dir: dir, own: own}
	if !lock(own) {
		pid, _ := os.ReadFile(own.Name())
		return nil, errors.Join(fmt.Errorf("%s: %w by process %s", dir, ErrHeld, strings.TrimSpace(string(pid))), h.Close())
	}
	if err := errors.Join(own.Truncate(0), writeAt(own, fmt.Sprintln(os.Getpid()))); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	if h.shared, err = open(LockFile(dir, name+".processes")); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	if err := h.await(ctx, dir, waiting); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// await waits for the processes of an earlier keeper. Exe-units that lost
// their node wait for it longer than we want to.
func (h *Hold) await(ctx context.Context, dir string, waiting func()) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	sweep := time.Now().Add(5 * time.Second)
	for first := true; !lock(h.shared); first = false {
		if first && waiting != nil {
			waiting()
		}
		if time.Now().After(sweep) {
			Sweep(dir)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w by processes of an earlier run, which do not end", dir, ErrHeld)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// Dir is the directory that is held.
func (h *Hold) Dir() string { return h.dir }

// Inherit is what processes hold open for as long as they live.
func (h *Hold) Inherit() []*os.File { return []*os.File{h.shared} }

// Close gives the directory back.
func (h *Hold) Close() error {
	var err error
	for _, f := range []*os.File{h.own, h.shared} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

func open(path string) (*os.File, error) { return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) }

func lock(f *os.File) bool { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil }

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}
