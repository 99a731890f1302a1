package segment

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/emet-node/emet/adapters/store/archive"
	"github.com/emet-node/emet/adapters/store/vfs"
)

// ErrNoBackup says that what is to be restored is no backup, or not whole.
var ErrNoBackup = archive.ErrNoBackup

// restoring is a backup on its way into a store.
type restoring struct {
	archive.Restored
	dir    string
	others func(name string, from io.Reader) error
}

// Restore makes a store in dir, which must not exist, from a backup. The store is a
// new log that begins with all events of the old one, since whatever the old log
// said after the backup was taken must not be contradicted in its name. It is read from end to
// end and compared with the manifest; if anything differs there is an error, and
// no store. others gets the files that are not the log's; nil = there may be none.
//
// The checkpoint of the old log, if there is one, goes to
// predecessors/<log id>/checkpoint.
func Restore(ctx context.Context, source, dir string, now time.Time, others func(name string, from io.Reader) error, progress archive.Progress) (_ archive.Restored, err error) {
	r := &restoring{dir: dir, others: others}
	if _, err := os.Lstat(dir); err == nil {
		return r.Restored, fmt.Errorf("%s exists: a backup is restored to where there is no store", dir)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if _, err := rand.Read(r.NewLogID[:]); err != nil {
		return r.Restored, err
	}
	if r.Manifest, err = archive.Peek(source); err != nil {
		return r.Restored, err
	}
	if r.Engine != "segment" {
		return r.Restored, fmt.Errorf("%w: it is of engine %q", ErrNoBackup, r.Engine)
	}
	if err := archive.Read(ctx, source, r.Manifest, r.place, progress); err != nil {
		return r.Restored, err
	}
	identity := identity{Format: formatVersion, LogID: hex.EncodeToString(r.NewLogID[:]), Created: now.UTC()}
	b, err := json.Marshal(identity)
	if err != nil {
		return r.Restored, err
	}
	if err := archive.SyncDirs(dir); err != nil {
		return r.Restored, err
	}
	if err := vfs.WriteFile(vfs.OS{}, dir, storeName, append(b, '\n')); err != nil {
		return r.Restored, err
	}
	return r.Restored, r.compare(dir)
}

// compare reads what was restored from end to end.
func (r *restoring) compare(dir string) error {
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

// place puts one file of a backup where it belongs.
func (r *restoring) place(name string, from io.Reader, count func(int)) error {
	if known, err := archive.PlaceBeside(r.Manifest, r.dir, name, from, count); known || err != nil {
		return err
	}
	if r.others != nil && archive.IsOther(name) {
		return r.others(name, from)
	}
	if path.Dir(name) != segDir || !strings.HasSuffix(name, suffix) {
		return archive.Unexpected(name)
	}
	return archive.WriteSynced(filepath.Join(r.dir, filepath.FromSlash(name)), func(w io.Writer) error {
		w = archive.Count(w, count)
		if err := r.rename(w, from); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrNoBackup, name, err)
		}
		_, err := io.Copy(w, from)
		return err
	})
}

// rename passes on the header of a segment, with the id of the new log.
func (r *restoring) rename(w io.Writer, from io.Reader) error {
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
