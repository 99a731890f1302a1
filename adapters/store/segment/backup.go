package segment

import (
	"archive/tar"
	"context"
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
	"github.com/emet-node/emet/domain/es"
)

// BackupFormat names the form of a backup.
const BackupFormat = "emet/backup/1"

const (
	manifestName   = "BACKUP"
	checkpointName = "checkpoint"
	blobsDir       = "blobs"
)

// Manifest is the first file of a backup: what must come out when it is
// restored.
type Manifest struct {
	Bytes   int64     `json:"bytes"` // of all other files
	Created time.Time `json:"created"`
	Engine  string    `json:"engine"`
	Events  uint64    `json:"events"`
	Format  string    `json:"format"`
	LogID   string    `json:"logId"`
	Root    string    `json:"root"` // of the tree over all events, hex
}

// Progress hears how much of a long work is done, in bytes. It may be nil.
type Progress func(done, total int64)

// part is one file of a backup.
type part struct {
	name string
	size int64
	copy func(ctx context.Context, w io.Writer) error
}

// Backup writes a copy of the store in dir to target: into a directory, made if
// need be, when it is one or its name ends with a slash, else into a tar file.
// It changes nothing and needs no lock. Beside a daemon the copy is what was there at this
// moment; every frame is checked while it is copied. What target held before
// under the same name is only replaced by a whole backup.
func Backup(ctx context.Context, dir, target string, now time.Time, progress Progress) (Manifest, error) {
	// The checkpoint comes first: what it covers is in the log when that is opened.
	checkpoint, err := os.ReadFile(filepath.Join(dir, checkpointName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Manifest{}, err
	}
	s, err := OpenReadOnly(dir)
	if err != nil {
		return Manifest{}, err
	}
	defer s.Close() //nolint:errcheck // opened for reading
	parts, err := s.parts(checkpoint)
	if err != nil {
		return Manifest{}, err
	}
	size, root := s.Root()
	m := Manifest{Created: now.UTC(), Engine: "segment", Events: size, Format: BackupFormat, LogID: hex.EncodeToString(s.logID[:]), Root: root.String()}
	for _, p := range parts {
		m.Bytes += p.size
	}
	b, err := es.CanonicalJSON(m)
	if err != nil {
		return m, err
	}
	b = append(b, '\n')
	parts = append([]part{{manifestName, int64(len(b)), func(_ context.Context, w io.Writer) error { _, err := w.Write(b); return err }}}, parts...)
	return m, writeParts(ctx, target, parts, now, counted(m.Bytes+int64(len(b)), progress))
}

func counted(total int64, progress Progress) func(int) {
	done := int64(0)
	return func(n int) {
		if done += int64(n); progress != nil {
			progress(done, total)
		}
	}
}

// parts are the files of a backup: the log, the blobs beside it and the newest
// checkpoint.
func (s *Store) parts(checkpoint []byte) ([]part, error) {
	var out []part
	for _, f := range s.index.all() {
		end := f.sum.end
		if f == s.index.last() {
			end = s.off
		}
		out = append(out, part{path.Join(segDir, segmentName(f.First)), roundUp(end), func(ctx context.Context, w io.Writer) error { return s.copySegment(ctx, f, end, w) }})
	}
	if checkpoint != nil {
		out = append(out, part{checkpointName, int64(len(checkpoint)), func(_ context.Context, w io.Writer) error { _, err := w.Write(checkpoint); return err }})
	}
	blobs, err := blobParts(s.dir)
	return append(out, blobs...), err
}

// blobParts are the blobs beside a log.
func blobParts(dir string) (out []part, err error) {
	err = filepath.WalkDir(filepath.Join(dir, blobsDir), func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() || !isBlob(d.Name()) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		out = append(out, part{filepath.ToSlash(rel), info.Size(), func(_ context.Context, w io.Writer) error { return copyFile(name, w) }})
		return err
	})
	return out, err
}

// isBlob tells blobs, which never change, from files that are being written.
func isBlob(name string) bool {
	_, err := hex.DecodeString(name)
	return err == nil && len(name) == 2*sha256.Size
}

func copyFile(name string, w io.Writer) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// copySegment copies a segment up to end and checks its frames and their chain.
func (s *Store) copySegment(ctx context.Context, f *file, end int64, w io.Writer) error {
	if _, err := w.Write(f.header.encode()); err != nil {
		return err
	}
	at := walk{next: f.First, chain: f.Chain}
	for c := newCursor(f, headerBytes); c.off < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		off := c.off
		fr, err := c.next()
		if err == nil {
			if err = at.follow(fr); err == nil && at.chain != fr.Chain {
				err = errors.New("frame does not continue the chain")
			}
		}
		if err != nil {
			return s.index.damaged(f, off, at.next, err)
		}
		b, err := c.view(off, int(fr.Size))
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	_, err := w.Write(make([]byte, roundUp(end)-end))
	return err
}

// writeParts writes to a directory or a tar file.
func writeParts(ctx context.Context, target string, parts []part, now time.Time, count func(int)) error {
	info, err := os.Stat(target)
	if strings.HasSuffix(target, "/") || err == nil && info.IsDir() {
		return writeDir(ctx, target, parts, count)
	}
	tmp := target + ".part"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	t := tar.NewWriter(f)
	for _, p := range parts {
		if err = t.WriteHeader(&tar.Header{Name: p.name, Size: p.size, Mode: 0o600, ModTime: now.Truncate(time.Second), Format: tar.FormatPAX}); err == nil {
			err = p.copy(ctx, counting{t, count})
		}
		if err != nil {
			break
		}
	}
	if err == nil {
		err = t.Close()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, target)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", target, err), os.Remove(tmp))
	}
	return vfs.OS{}.SyncDir(filepath.Dir(target))
}

// writeDir writes the manifest last, and into an empty directory only: one that
// has it is whole.
func writeDir(ctx context.Context, target string, parts []part, count func(int)) error {
	if err := os.MkdirAll(target, 0o700); err != nil {
		return err
	}
	if names, err := os.ReadDir(target); err != nil || len(names) > 0 {
		return errors.Join(err, fmt.Errorf("%s is not empty: give a new directory or a file", target))
	}
	for _, p := range append(parts[1:len(parts):len(parts)], parts[0]) {
		name := filepath.Join(target, filepath.FromSlash(p.name))
		if err := writeSynced(name, func(w io.Writer) error { return p.copy(ctx, counting{w, count}) }); err != nil {
			return err
		}
	}
	return syncDirs(target)
}

func writeSynced(name string, write func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDirs(dir string) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return vfs.OS{}.SyncDir(name)
	})
}

type counting struct {
	io.Writer
	count func(int)
}

func (c counting) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.count(n)
	return n, err
}

func readManifest(b []byte) (m Manifest, err error) {
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("%w: %s is not JSON: %w", ErrNoBackup, manifestName, err)
	}
	switch {
	case m.Format != BackupFormat:
		return m, fmt.Errorf("%w: format %q, this build knows %q", ErrNoBackup, m.Format, BackupFormat)
	case m.Engine != "segment":
		return m, fmt.Errorf("%w: it is of engine %q", ErrNoBackup, m.Engine)
	}
	return m, nil
}
