package segment

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/emet-node/emet/adapters/store/vfs"
)

// ErrNoBackup says that what is to be restored is no backup, or not whole.
var ErrNoBackup = errors.New("not a whole backup")

// Restored is what [Restore] made.
type Restored struct {
	Manifest
	NewLogID [16]byte
}

// maxManifest is more than a manifest needs.
const maxManifest = 64 << 10

// Restore makes a store in dir, which must not exist, from a backup: a
// directory or a tar file. The store is a new log that begins with all events of the old one,
// since whatever the old log said after the backup was taken must not be
// contradicted in its name. It is read from end to end and compared with the
// manifest; if anything differs there is an error, and no store.
//
// The checkpoint of the old log, if there is one, goes to
// predecessors/<log id>/checkpoint.
func Restore(ctx context.Context, source, dir string, now time.Time, progress Progress) (r Restored, err error) {
	if _, err := os.Lstat(dir); err == nil {
		return r, fmt.Errorf("%s exists: a backup is restored to where there is no store", dir)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if _, err := rand.Read(r.NewLogID[:]); err != nil {
		return r, err
	}
	if err := r.read(ctx, source, dir, progress); err != nil {
		return r, err
	}
	identity := identity{Format: formatVersion, LogID: hex.EncodeToString(r.NewLogID[:]), Created: now.UTC()}
	b, err := json.Marshal(identity)
	if err != nil {
		return r, err
	}
	if err := syncDirs(dir); err != nil {
		return r, err
	}
	if err := vfs.WriteFile(vfs.OS{}, dir, storeName, append(b, '\n')); err != nil {
		return r, err
	}
	return r, r.compare(dir)
}

// compare reads what was restored from end to end.
func (r *Restored) compare(dir string) error {
	report, err := Verify(dir)
	switch {
	case err != nil:
		return err
	case len(report.Damage) > 0:
		return fmt.Errorf("%w: %w", ErrNoBackup, &report.Damage[0])
	case report.Events != r.Events || report.Root.String() != r.Root:
		return fmt.Errorf("%w: its %d events have the root %s, it promises %d with %s", ErrNoBackup, report.Events, report.Root, r.Events, r.Root)
	}
	return nil
}

// read copies all files of a backup to dir.
func (r *Restored) read(ctx context.Context, source, dir string, progress Progress) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return r.readDir(ctx, source, dir, progress)
	}
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	t := tar.NewReader(f)
	head, err := t.Next()
	if err != nil || head.Name != manifestName || head.Size > maxManifest {
		return fmt.Errorf("%w: %s does not begin with %s", ErrNoBackup, source, manifestName)
	}
	b, err := io.ReadAll(t)
	if err == nil {
		r.Manifest, err = readManifest(b)
	}
	count := counted(r.Bytes, progress)
	for err == nil {
		if head, err = t.Next(); errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = r.place(ctx, dir, head.Name, t, count)
		}
	}
	return fmt.Errorf("read %s: %w", source, err)
}

func (r *Restored) readDir(ctx context.Context, source, dir string, progress Progress) error {
	b, err := os.ReadFile(filepath.Join(source, manifestName))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoBackup, err)
	}
	if r.Manifest, err = readManifest(b); err != nil {
		return err
	}
	count := counted(r.Bytes, progress)
	return filepath.WalkDir(source, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(source, name)
		if err != nil || rel == manifestName {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		return r.place(ctx, dir, filepath.ToSlash(rel), f, count)
	})
}

// place puts one file of a backup where it belongs.
func (r *Restored) place(ctx context.Context, dir, name string, from io.Reader, count func(int)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	to := name
	switch folder := path.Dir(name); {
	case name == checkpointName:
		if _, err := hex.DecodeString(r.LogID); err != nil {
			return fmt.Errorf("%w: log id %q", ErrNoBackup, r.LogID)
		}
		to = path.Join("predecessors", r.LogID, checkpointName)
	case folder == segDir && strings.HasSuffix(name, suffix):
	case strings.HasPrefix(name, blobsDir+"/") && isBlob(path.Base(name)):
	default:
		return fmt.Errorf("%w: it has a file %q", ErrNoBackup, name)
	}
	if !filepath.IsLocal(filepath.FromSlash(to)) {
		return fmt.Errorf("%w: it has a file %q", ErrNoBackup, name)
	}
	return writeSynced(filepath.Join(dir, filepath.FromSlash(to)), func(w io.Writer) error {
		w = counting{w, count}
		if path.Dir(name) == segDir {
			if err := r.rename(w, from); err != nil {
				return fmt.Errorf("%w: %s: %w", ErrNoBackup, name, err)
			}
		}
		sum := sha256.New()
		_, err := io.Copy(io.MultiWriter(w, sum), from)
		if err == nil && isBlob(path.Base(name)) && hex.EncodeToString(sum.Sum(nil)) != path.Base(name) {
			err = fmt.Errorf("%w: %s has another content than its name says", ErrNoBackup, name)
		}
		return err
	})
}

// rename passes on the header of a segment, with the id of the new log.
func (r *Restored) rename(w io.Writer, from io.Reader) error {
	b := make([]byte, headerBytes)
	if _, err := io.ReadFull(from, b); err != nil {
		return err
	}
	h, err := decodeHeader(b)
	if err != nil {
		return err
	}
	if hex.EncodeToString(h.LogID[:]) != r.LogID {
		return errors.New("it belongs to another log")
	}
	h.LogID = r.NewLogID
	_, err = w.Write(h.encode())
	return err
}
