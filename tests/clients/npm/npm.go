// Package npm installs the published packages that drivers of other languages'
// clients need, as their package-lock.json says.
package npm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// Install makes sure that the packages of package-lock.json in files are there
// and returns the directory that holds node_modules. It needs node and npm, and
// the network the first time; the result is shared by all runs with the same
// lock.
func Install(ctx context.Context, name string, files fs.FS) (string, error) {
	lock, err := fs.ReadFile(files, "package-lock.json")
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256(lock)
	dir := filepath.Join(cache, "emet-tests", name+"-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	done, err := alone(filepath.Dir(dir))
	if err != nil {
		return "", err
	}
	defer done()
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err == nil {
		return dir, nil
	}
	return dir, install(ctx, name, files, dir)
}

var one sync.Mutex

// alone waits until nobody else installs, in this process or another: they would
// fetch the same packages into the same cache.
func alone(dir string) (done func(), err error) {
	one.Lock()
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		one.Unlock()
		return nil, err
	}
	return func() { _ = f.Close(); one.Unlock() }, nil
}

// install works beside dir and renames at the end, so that several processes
// may try at once and none sees half of it.
func install(ctx context.Context, what string, files fs.FS, dir string) error {
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "installing-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // gone after the rename
	for _, name := range []string{"package.json", "package-lock.json"} {
		b, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(tmp, name), b, 0o600); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci for %s (it needs node, npm and the registry): %w: %s", what, err, out)
	}
	if err := os.Rename(tmp, dir); err != nil {
		if _, already := os.Stat(filepath.Join(dir, "node_modules")); already == nil {
			return nil
		}
		return errors.Join(errors.New("install "+what), err)
	}
	return nil
}
