// Package archive is the form of a backup, whatever engine it is of: a
// directory or a tar file with a manifest that says what must come out
// (docs/formats.md).
package archive

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

// Formats of a backup. The second one may hold files that are not the log's:
// how far others were told, and secrets.
const (
	Format1 = "emet/backup/1"
	Format2 = "emet/backup/2"
)

// Names of files in every backup.
const (
	ManifestName   = "BACKUP"
	CheckpointName = "checkpoint"
	BlobsDir       = "blobs"
)

// maxManifest is more than a manifest needs.
const maxManifest = 64 << 10

// ErrNoBackup says that what is to be restored is no backup, or not whole.
var ErrNoBackup = errors.New("not a whole backup")

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
	// Secrets says that keys and secrets are in it.
	Secrets bool `json:"secrets,omitzero"`
}

// Restored is what came out of a backup.
type Restored struct {
	Manifest
	NewLogID [16]byte
}

// Progress hears how much of a long work is done, in bytes. It may be nil.
type Progress func(done, total int64)

// Part is one file of a backup.
type Part struct {
	Name string
	Size int64
	Copy func(ctx context.Context, w io.Writer) error
}

// Bytes is a part that is at hand.
func Bytes(name string, b []byte) Part {
	return Part{name, int64(len(b)), func(_ context.Context, w io.Writer) error { _, err := w.Write(b); return err }}
}

// File is a part that lies on disk and does not change.
func File(name, at string) (Part, error) {
	info, err := os.Stat(at)
	if err != nil {
		return Part{}, err
	}
	return Part{name, info.Size(), func(_ context.Context, w io.Writer) error { return CopyFile(at, w) }}, nil
}

// Write writes a backup to target: into a directory, made if need be, when it
// is one or its name ends with a slash, else into a tar file. What target held before under
// the same name is only replaced by a whole backup. It returns the manifest
// with its format and bytes.
func Write(ctx context.Context, target string, m Manifest, parts []Part, now time.Time, progress Progress) (Manifest, error) {
	m.Created, m.Format = now.UTC(), Format1
	for _, p := range parts {
		m.Bytes += p.Size
		if IsOther(p.Name) {
			m.Format = Format2
		}
		m.Secrets = m.Secrets || strings.HasPrefix(p.Name, SecretsDir+"/")
	}
	b, err := es.CanonicalJSON(m)
	if err != nil {
		return m, err
	}
	b = append(b, '\n')
	parts = append([]Part{Bytes(ManifestName, b)}, parts...)
	return m, writeParts(ctx, target, parts, now, counted(m.Bytes+int64(len(b)), progress))
}

// IsOther says whether a file of a backup is not the log's.
func IsOther(name string) bool { return name == NewsName || strings.HasPrefix(name, SecretsDir+"/") }

// What may be in a backup besides the log.
const (
	NewsName   = "news.json" // how far others were told
	SecretsDir = "secrets"
)

func counted(total int64, progress Progress) func(int) {
	done := int64(0)
	return func(n int) {
		if done += int64(n); progress != nil {
			progress(done, total)
		}
	}
}

// BlobParts are the large contents beside the log in dir.
func BlobParts(dir string) (out []Part, err error) {
	err = filepath.WalkDir(filepath.Join(dir, BlobsDir), func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() || !IsBlob(d.Name()) {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		p, err := File(filepath.ToSlash(rel), name)
		out = append(out, p)
		return err
	})
	return out, err
}

// IsBlob tells blobs, which never change, from files that are being written.
func IsBlob(name string) bool {
	_, err := hex.DecodeString(name)
	return err == nil && len(name) == 2*sha256.Size
}

// CopyFile copies a file to w.
func CopyFile(name string, w io.Writer) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// writeParts writes to a directory or a tar file.
func writeParts(ctx context.Context, target string, parts []Part, now time.Time, count func(int)) error {
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
		if err = t.WriteHeader(&tar.Header{Name: p.Name, Size: p.Size, Mode: 0o600, ModTime: now.Truncate(time.Second), Format: tar.FormatPAX}); err == nil {
			err = p.Copy(ctx, counting{t, count})
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
func writeDir(ctx context.Context, target string, parts []Part, count func(int)) error {
	if err := os.MkdirAll(target, 0o700); err != nil {
		return err
	}
	if names, err := os.ReadDir(target); err != nil || len(names) > 0 {
		return errors.Join(err, fmt.Errorf("%s is not empty: give a new directory or a file", target))
	}
	for _, p := range append(parts[1:len(parts):len(parts)], parts[0]) {
		name := filepath.Join(target, filepath.FromSlash(p.Name))
		if err := WriteSynced(name, func(w io.Writer) error { return p.Copy(ctx, counting{w, count}) }); err != nil {
			return err
		}
	}
	return SyncDirs(target)
}

// WriteSynced makes a file, with the directories above it, and syncs it.
func WriteSynced(name string, write func(io.Writer) error) error {
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

// SyncDirs makes all names below dir survive.
func SyncDirs(dir string) error {
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
		return m, fmt.Errorf("%w: %s is not JSON: %w", ErrNoBackup, ManifestName, err)
	}
	if m.Format != Format1 && m.Format != Format2 {
		return m, fmt.Errorf("%w: format %q, this build knows %q and %q", ErrNoBackup, m.Format, Format1, Format2)
	}
	if b, err := hex.DecodeString(m.LogID); err != nil || len(b) == 0 {
		return m, fmt.Errorf("%w: log id %q", ErrNoBackup, m.LogID)
	}
	return m, nil
}

// Peek reads the manifest of a backup.
func Peek(source string) (m Manifest, err error) {
	err = each(source, func(name string, from io.Reader) error {
		if name != ManifestName {
			return nil
		}
		b, err := io.ReadAll(io.LimitReader(from, maxManifest))
		if err == nil {
			m, err = readManifest(b)
		}
		if err == nil {
			err = errEnough
		}
		return err
	})
	if errors.Is(err, errEnough) {
		return m, nil
	}
	return m, err
}

var errEnough = errors.New("enough")

// Place puts a file of a backup where it belongs. What it writes to w counts as
// progress.
type Place func(name string, from io.Reader, count func(int)) error

// Read hands all files of a backup to place, except the manifest. It fails with
// [ErrNoBackup] when files are missing, for instance since the copy of the
// backup did not come to its end.
func Read(ctx context.Context, source string, m Manifest, place Place, progress Progress) error {
	count := counted(m.Bytes, progress)
	var have int64
	err := each(source, func(name string, from io.Reader) error {
		if err := ctx.Err(); err != nil || name == ManifestName {
			return err
		}
		if !filepath.IsLocal(filepath.FromSlash(name)) || IsOther(name) && m.Format == Format1 {
			return Unexpected(name)
		}
		return place(name, &measured{from, &have}, count)
	})
	if err == nil && have != m.Bytes {
		err = fmt.Errorf("%w: the files of %s have %d bytes, its manifest says %d", ErrNoBackup, source, have, m.Bytes)
	}
	return err
}

// measured adds up how much was read.
type measured struct {
	io.Reader
	n *int64
}

func (m *measured) Read(b []byte) (int, error) {
	n, err := m.Reader.Read(b)
	*m.n += int64(n)
	return n, err
}

// Unexpected says that a backup has a file that does not belong there.
func Unexpected(name string) error {
	return fmt.Errorf("%w: it has a file %q", ErrNoBackup, name)
}

// each yields the files of a backup, the manifest first.
func each(source string, do func(name string, from io.Reader) error) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return eachIn(source, do)
	}
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	t := tar.NewReader(f)
	head, err := t.Next()
	if err != nil || head.Name != ManifestName || head.Size > maxManifest {
		return fmt.Errorf("%w: %s does not begin with %s", ErrNoBackup, source, ManifestName)
	}
	for err == nil {
		if err = do(head.Name, t); err == nil {
			if head, err = t.Next(); errors.Is(err, io.EOF) {
				return nil
			}
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %s is cut off", ErrNoBackup, source)
	}
	return fmt.Errorf("read %s: %w", source, err)
}

func eachIn(source string, do func(name string, from io.Reader) error) error {
	one := func(rel string) error {
		f, err := os.Open(filepath.Join(source, rel))
		if err != nil {
			return err
		}
		defer f.Close()
		return do(filepath.ToSlash(rel), f)
	}
	if err := one(ManifestName); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", ErrNoBackup, err)
		}
		return err
	}
	return filepath.WalkDir(source, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(source, name)
		if err != nil || rel == ManifestName {
			return err
		}
		return one(rel)
	})
}

// PlaceBeside puts the checkpoint and blobs of a backup into the directory of a new
// store; known is false for every other file.
func PlaceBeside(m Manifest, dir, name string, from io.Reader, count func(int)) (known bool, err error) {
	to := name
	switch {
	case name == CheckpointName:
		to = path.Join("predecessors", m.LogID, CheckpointName)
	case !strings.HasPrefix(name, BlobsDir+"/") || !IsBlob(path.Base(name)):
		return false, nil
	}
	return true, WriteSynced(filepath.Join(dir, filepath.FromSlash(to)), func(w io.Writer) error {
		sum := sha256.New()
		_, err := io.Copy(io.MultiWriter(counting{w, count}, sum), from)
		if err == nil && IsBlob(path.Base(name)) && hex.EncodeToString(sum.Sum(nil)) != path.Base(name) {
			err = fmt.Errorf("%w: %s has another content than its name says", ErrNoBackup, name)
		}
		return err
	})
}

// Count tells count of what is written to w.
func Count(w io.Writer, count func(int)) io.Writer { return counting{w, count} }
