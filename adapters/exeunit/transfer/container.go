// Package transfer moves bytes between a requestor, the web and the volumes of
// an activity. Nothing that a requestor or a guest says leads outside: paths
// are resolved inside a volume by the operating system ([os.Root]), and
// addresses are checked when they are dialled.
package transfer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"strings"
	"syscall"
)

// Volume is a container path and the host directory behind it.
type Volume struct{ Path, Dir string }

// ErrPath says that a container path leads to no file of a volume.
var ErrPath = errors.New("path not found in container")

// Resolve finds the volume of a container path, the longest that is a prefix
// of it, and the rest of the path ("." for the volume itself). The path may be
// percent-encoded once. Paths with empty, "." or ".." parts are refused.
func Resolve(volumes []Volume, p string) (v Volume, rest string, err error) {
	if decoded, err := url.PathUnescape(p); err == nil {
		p = decoded
	}
	if strings.ContainsRune(p, 0) {
		return v, "", fmt.Errorf("%w: %q contains a zero byte", ErrPath, p)
	}
	best := -1
	for _, c := range volumes {
		if tail, ok := below(c.Path, p); ok && len(c.Path) > best {
			v, rest, best = c, tail, len(c.Path)
		}
	}
	if best < 0 {
		return v, "", fmt.Errorf("%w: %s", ErrPath, p)
	}
	if rest == "" {
		return v, ".", nil
	}
	if !fs.ValidPath(rest) {
		return v, "", fmt.Errorf("%w: %s: parts may not be empty, '.' or '..'", ErrPath, p)
	}
	return v, rest, nil
}

// below gives what follows a volume's path in p.
func below(volume, p string) (string, bool) {
	volume = strings.TrimSuffix(volume, "/")
	tail, ok := strings.CutPrefix(p, volume)
	if !ok || tail == "" {
		return "", ok
	}
	if volume == "" && tail[0] != '/' {
		return tail, true
	}
	return strings.CutPrefix(tail, "/")
}

// openFile opens a regular file of a volume for reading. Symbolic links count
// only as far as they stay inside; pipes, sockets and devices are refused.
func openFile(v Volume, rest string) (*os.File, int64, error) {
	root, err := os.OpenRoot(v.Dir)
	if err != nil {
		return nil, 0, err
	}
	defer root.Close() //nolint:errcheck // a folder: nothing is written through it
	f, err := root.OpenFile(rest, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, hide(v, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %s is no regular file", path.Join(v.Path, rest), info.Mode().Type())
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// writeFile makes a file of a volume with what r gives, all of it or none. The
// file that was there is replaced.
func writeFile(v Volume, rest string, r io.Reader) error {
	if rest == "." {
		return fmt.Errorf("%s is a volume; name a file in it", v.Path)
	}
	root, err := os.OpenRoot(v.Dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // a folder: nothing is written through it
	if dir := path.Dir(rest); dir != "." {
		if err := root.MkdirAll(dir, 0o700); err != nil {
			return hide(v, err)
		}
	}
	part := path.Join(path.Dir(rest), ".emet-part-"+path.Base(rest))
	if len(path.Base(part)) > 255 {
		return fmt.Errorf("%s: the name is too long", path.Base(rest))
	}
	_ = root.Remove(part)
	f, err := root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return hide(v, err)
	}
	_, err = io.Copy(f, r)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = hide(v, root.Rename(part, rest))
	}
	if err != nil {
		_ = root.Remove(part)
	}
	return err
}

// hide says what failed without the host's path.
func hide(v Volume, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("%s %s: %w", p.Op, path.Join(v.Path, p.Path), p.Err)
	}
	return err
}
