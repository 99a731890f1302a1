package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// ErrUnsafe says that others could take the place of the socket.
var ErrUnsafe = errors.New("the directory of the control socket is not safe")

// Listen opens the socket at path. Its directory is made for its owner alone;
// one that is there must be ours and closed to writing by others. A socket
// that a dead node left behind is replaced.
func Listen(path string) (net.Listener, error) {
	if err := makeSafe(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return guarded{l}, nil
}

func makeSafe(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("control socket: %w", err)
	}
	return safe(dir)
}

// safe refuses a directory in which another user could put a socket in the
// place of ours.
func safe(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if info.Mode()&os.ModeSymlink != 0 {
		return fmt.Errorf("%w: %s is a link; use the directory itself", ErrUnsafe, dir)
	}
	owner, known := ownerOf(info)
	sticky := info.Mode()&os.ModeSticky != 0
	switch {
	case !info.IsDir():
		return fmt.Errorf("%w: %s is not a directory", ErrUnsafe, dir)
	case known && owner != os.Getuid() && !(owner == 0 && sticky):
		return fmt.Errorf("%w: %s belongs to user %d, not to you; remove it or set XDG_RUNTIME_DIR", ErrUnsafe, dir, owner)
	case known && info.Mode().Perm()&0o022 != 0 && !sticky:
		return fmt.Errorf("%w: others may write to %s; run: chmod 700 %s", ErrUnsafe, dir, dir)
	}
	return nil
}

// removeStale removes a socket that nobody listens on.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("control socket: %s is there and is no socket; move it away", path)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close() //nolint:errcheck // nothing was said
		return fmt.Errorf("control socket: another process listens on %s; stop it, or set GSB_URL", path)
	}
	return os.Remove(path)
}

// guarded hangs up on everyone who is not the user of this process or root.
type guarded struct{ *net.UnixListener }

// Accept implements net.Listener.
func (g guarded) Accept() (net.Conn, error) {
	for {
		c, err := g.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, err := peerUID(c)
		if err == nil && (uid == os.Getuid() || uid == 0) {
			return c, nil
		}
		c.Close() //nolint:errcheck // it is a stranger's
	}
}
