package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/emet-node/emet/adapters/store/archive"
	"github.com/emet-node/emet/projections/dsn"
)

// fileName is what the file is called in a backup.
const fileName = "log.sqlite"

// Backup writes a copy of the store at path to target, as [archive.Write] does,
// with the checkpoint and blobs of the directory beside. SQLite makes the copy,
// so a process may write the store meanwhile; every event of it is held against
// its leaf. others is asked, once it is settled how far the log is copied, for
// what else is to be in it.
func Backup(ctx context.Context, path, beside, target string, now time.Time, others func() ([]archive.Part, error), progress archive.Progress) (m archive.Manifest, err error) {
	// The checkpoint comes first: what it covers is in the copy.
	checkpoint, err := os.ReadFile(filepath.Join(beside, archive.CheckpointName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	staged, err := os.MkdirTemp(filepath.Dir(filepath.Clean(target)), ".emet-backup-")
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staged)) }()
	at := filepath.Join(staged, fileName)
	if err := snapshot(ctx, path, at); err != nil {
		return m, fmt.Errorf("copy %s: %w", path, err)
	}
	s, err := OpenReadOnly(ctx, at)
	if err != nil {
		return m, err
	}
	size, root := s.Root()
	id := s.LogID()
	if err := errors.Join(s.Verify(ctx), s.Close()); err != nil {
		return m, err
	}
	p, err := archive.File(fileName, at)
	if err != nil {
		return m, err
	}
	parts := []archive.Part{p}
	if checkpoint != nil {
		parts = append(parts, archive.Bytes(archive.CheckpointName, checkpoint))
	}
	blobs, err := archive.BlobParts(beside)
	parts = append(parts, blobs...)
	if err == nil && others != nil {
		var more []archive.Part
		more, err = others()
		parts = append(parts, more...)
	}
	if err != nil {
		return m, err
	}
	m = archive.Manifest{Engine: "sqlite", Events: size, LogID: hex.EncodeToString(id[:]), Root: root.String()}
	return archive.Write(ctx, target, m, parts, now, progress)
}

// snapshot lets SQLite copy a database as it is at one moment.
func snapshot(ctx context.Context, path, to string) error {
	if _, err := os.Stat(path); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", dsn.File(path, "_pragma=busy_timeout(5000)"))
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `VACUUM INTO ?`, to)
	return errors.Join(err, db.Close())
}

// Restore makes a store in dir, which must not exist, from a backup of this engine:
// a new log that begins with all events of the old one. Every event is held
// against its leaf and the whole against the manifest; if anything differs there
// is an error, and no store. others gets the files that are not the log's. The
// checkpoint of the old log goes to predecessors/<log id>/checkpoint.
func Restore(ctx context.Context, source, dir string, now time.Time, others func(name string, from io.Reader) error, progress archive.Progress) (r archive.Restored, err error) {
	if _, err := os.Lstat(dir); err == nil {
		return r, fmt.Errorf("%s exists: a backup is restored to where there is no store", dir)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	_, _ = rand.Read(r.NewLogID[:]) // never fails
	if r.Manifest, err = archive.Peek(source); err != nil {
		return r, err
	}
	if r.Engine != "sqlite" {
		return r, fmt.Errorf("%w: it is of engine %q", archive.ErrNoBackup, r.Engine)
	}
	place := func(name string, from io.Reader, count func(int)) error {
		if known, err := archive.PlaceBeside(r.Manifest, dir, name, from, count); known || err != nil {
			return err
		}
		switch {
		case others != nil && archive.IsOther(name):
			return others(name, from)
		case name != fileName:
			return archive.Unexpected(name)
		}
		return archive.WriteSynced(filepath.Join(dir, fileName), func(w io.Writer) error {
			_, err := io.Copy(archive.Count(w, count), from)
			return err
		})
	}
	if err := archive.Read(ctx, source, r.Manifest, place, progress); err != nil {
		return r, err
	}
	if err := rename(ctx, filepath.Join(dir, fileName), r, now); err != nil {
		return r, err
	}
	return r, archive.SyncDirs(dir)
}

// rename checks what was restored and gives it the id of the new log.
func rename(ctx context.Context, path string, r archive.Restored, now time.Time) error {
	s, err := Open(ctx, path, Options{})
	if err != nil {
		return fmt.Errorf("%w: %w", archive.ErrNoBackup, err)
	}
	size, root := s.Root()
	id := s.LogID()
	if err = s.Verify(ctx); err == nil && (size != r.Events || root.String() != r.Root || hex.EncodeToString(id[:]) != r.LogID) {
		err = fmt.Errorf("%w: its %d events of log %x have the root %s, it promises %d of %s with %s", archive.ErrNoBackup, size, id, root, r.Events, r.LogID, r.Root)
	}
	if err == nil {
		_, err = s.table.write.ExecContext(ctx, `UPDATE log SET log_id = ?, created = ?`, hex.EncodeToString(r.NewLogID[:]), now.UTC().Format(time.RFC3339))
	}
	return errors.Join(err, s.Close())
}
