package node

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/emet-node/emet/adapters/ledger"
	"github.com/emet-node/emet/adapters/store/archive"
	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/adapters/store/sqlite"
	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
	domain "github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/eventschemas"
)

// Revived is what [RestoreLog] made.
type Revived struct {
	archive.Restored
	Epoch int64
	// Signed is the size of the last checkpoint of the old log, 0 = it had none.
	Signed uint64
}

// ErrHasData says that there is a log where one should be restored.
var ErrHasData = errors.New("there is a log already")

// ErrInterrupted says that a restore or a repair did not come to its end: there
// is no log, and a new one would be begun in the name of the old one's identity.
var ErrInterrupted = errors.New("there is no log here, since a command was interrupted")

// restoringDir is where a log is made before it is in its place; damagedDir, with
// a time, is where one is kept in whose place another comes.
const (
	restoringDir = "store.restoring"
	damagedDir   = "store.damaged-"
)

// interrupted fails with [ErrInterrupted] where a log has to come back before
// anything is written.
func interrupted(dir string) error {
	if HasData(dir) {
		return nil
	}
	if kept, _ := filepath.Glob(filepath.Join(dir, damagedDir+"*")); len(kept) > 0 {
		return fmt.Errorf("%w: rename %s to store and run emet store repair again, or move it away to begin a new log", ErrInterrupted, kept[len(kept)-1])
	}
	at := filepath.Join(dir, restoringDir)
	if _, err := os.Lstat(at); err != nil {
		return nil //nolint:nilerr // whatever else is wrong there is told by others
	}
	return fmt.Errorf("%w: run emet store restore again, or remove %s to begin a new log", ErrInterrupted, at)
}

// RestoreLog puts the log of a backup into a data directory that has none: a new
// log that begins with the events of the old one and says so in its next event,
// $log.opened. What the old log had signed must be among them. The views there
// are removed; they are made again from the log. How far webhooks were told comes back too, and
// the secrets if the backup has them.
func RestoreLog(ctx context.Context, source string, o Options, progress archive.Progress) (r Revived, err error) {
	if HasData(o.Dir) {
		return r, fmt.Errorf("%w: %s", ErrHasData, filepath.Join(o.Dir, "store"))
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return r, err
	}
	fresh := filepath.Join(o.Dir, restoringDir)
	if err := os.RemoveAll(fresh); err != nil { // of an attempt that was interrupted
		return r, err
	}
	m, err := archive.Peek(source)
	if err != nil {
		return r, err
	}
	if m.Engine != engineSegment && m.Engine != engineSQLite {
		return r, fmt.Errorf("%w: it is of engine %q, which this build does not know", archive.ErrNoBackup, m.Engine)
	}
	var extra beside
	restore := segment.Restore
	if m.Engine == engineSQLite {
		restore = sqlite.Restore
	}
	if r.Restored, err = restore(ctx, source, fresh, time.Now(), extra.take, progress); err != nil {
		return r, err
	}
	if err = extra.room(o.Dir); err == nil {
		err = r.begin(ctx, fresh, o)
	}
	if err != nil {
		return r, errors.Join(err, os.RemoveAll(fresh))
	}
	if err := os.RemoveAll(filepath.Join(o.Dir, "views")); err != nil {
		return r, err
	}
	// A store directory without a log may be there, with blobs perhaps.
	old := filepath.Join(o.Dir, "store")
	if err := os.Remove(old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return r, fmt.Errorf("%s is in the way: %w", old, err)
	}
	// What is beside the log comes first: a directory that has a log has all.
	if err := extra.put(ctx, o.Dir, es.Position(r.Events)); err != nil {
		return r, err
	}
	if err := os.Rename(fresh, old); err != nil {
		return r, err
	}
	return r, vfs.OS{}.SyncDir(o.Dir)
}

// openFresh opens the restored log where it is made.
func (r *Revived) openFresh(ctx context.Context, dir string, o Options) (Engine, error) {
	if r.Engine == engineSegment {
		return nonNil(segment.Open(dir, segment.Options{}))
	}
	p, err := placeOf(o.Dir, engineSQLite)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(p)
	if err == nil {
		err = vfs.WriteFile(vfs.OS{}, dir, engineFile, append(b, '\n'))
	}
	if err != nil {
		return nil, err
	}
	return nonNil(sqlite.Open(ctx, filepath.Join(dir, filepath.Base(p.Path)), sqlite.Options{}))
}

// begin checks the log against what was signed and opens its new epoch.
func (r *Revived) begin(ctx context.Context, dir string, o Options) (err error) {
	s, err := r.openFresh(ctx, dir, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := r.holds(ctx, s, dir); err != nil {
		return err
	}
	l := &es.Log{Store: s, Codec: eventschemas.New(), Build: o.Version}
	for e, err := range l.ReadStream(ctx, domain.LogStream, 0) {
		if err != nil {
			return err
		}
		if opened, ok := e.Data.(domain.Opened); ok {
			r.Epoch, r.LogID = opened.Epoch, opened.LogID
		}
	}
	r.Epoch++
	id := hex.EncodeToString(r.NewLogID[:])
	_, err = l.Append(ctx, es.Meta{Key: "log/opened/" + id, Actor: es.ActorOperator, Grade: es.GradeSelf}, nil, es.Facts{
		Stream: domain.LogStream, Expected: es.Any,
		Facts: []any{domain.Opened{
			Engine: r.Engine, Epoch: r.Epoch, LogID: id,
			Predecessor: &domain.Predecessor{LogID: r.LogID, Root: r.Root, Size: int64(r.Events)},
		}},
	})
	return err
}

// holds checks that what the old log signed is what was restored.
func (r *Revived) holds(ctx context.Context, s Engine, dir string) error {
	disk := vfs.Files{FS: vfs.OS{}}
	old := filepath.Join(dir, "predecessors", r.LogID)
	signed, err := ledger.Signed(disk, old)
	if errors.Is(err, domain.ErrUnsigned) {
		return nil
	}
	if err != nil {
		return err
	}
	name := signed.Origin[strings.LastIndexByte(signed.Origin, '/')+1:]
	id, err := hex.DecodeString(name)
	if err != nil || len(id) != len(r.NewLogID) {
		return fmt.Errorf("%w: log id %q", archive.ErrNoBackup, name)
	}
	r.Signed = signed.Size
	_, err = ledger.OpenReader(ctx, s, disk, old, [16]byte(id), signed)
	return err
}
