package segment

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"strings"
	"time"

	"github.com/emet-node/emet/adapters/store"
	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

// Options of a store. The zero value is what a node runs with.
type Options struct {
	// SegmentBytes is how large a segment grows, 0 = 64 MiB. The first ones are
	// smaller, so that a new store is there at once. An append that needs more
	// gets a segment of its own size.
	SegmentBytes int64
	// Idle is how long the writer waits for more before it notes in the file
	// that all is durable, 0 = 10 ms.
	Idle time.Duration
	// HandOver is from how many appends on a batch is taken to the disk by another
	// goroutine while the next is gathered, 0 = 17. For fewer, one sync for all of
	// them is better than two, one after the other.
	HandOver int

	Now func() time.Time // nil = time.Now
	FS  vfs.FS           // nil = that of the machine
	// Opens says which types of events open obligations. While there is no space
	// for the next segment they are refused with [es.ErrDegraded], and what
	// closes obligations goes on. nil = none does.
	Opens func(typ string) bool
	// Logger hears of indexes that are made anew, nil = none.
	Logger *slog.Logger
}

const (
	defaultSegment = 64 << 20
	firstSegment   = 4 << 20
	smallest       = 8 << 10
	pageBytes      = 4096
)

func (o Options) withDefaults() Options {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegment
	}
	o.SegmentBytes = roundUp(max(o.SegmentBytes, smallest))
	if o.Idle == 0 {
		o.Idle = 10 * time.Millisecond
	}
	if o.HandOver == 0 {
		o.HandOver = 17
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func roundUp(n int64) int64 { return (n + pageBytes - 1) / pageBytes * pageBytes }

// Open opens the store in dir and creates it if there is none. It checks the
// last segment and whatever has no index; the rest is checked when it is read,
// and in the background. Errors: [es.ErrLocked] when another process has it open, a
// [*Damage] when acknowledged data is not as it was written.
func Open(dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	if err := o.FS.MkdirAll(path.Join(dir, segDir)); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	lock, err := o.FS.Lock(path.Join(dir, lockName))
	if err != nil {
		return nil, locked(dir, err)
	}
	l, err := settle(dir, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", dir, err), lock.Close())
	}
	return start(l, lock, o), nil
}

func locked(dir string, err error) error {
	var held *vfs.Held
	if errors.As(err, &held) {
		return fmt.Errorf("store %s is open in %s: %w", dir, held.Holder, es.ErrLocked)
	}
	return fmt.Errorf("open store %s: %w", dir, err)
}

// OpenReadOnly opens the store in dir for reading, without the lock and
// without changing anything. Of a store that a daemon has open it shows what
// was there at this moment.
func OpenReadOnly(dir string) (*Store, error) {
	o := Options{}.withDefaults()
	id, err := readIdentity(o.FS, dir)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	l, err := load(o.FS, dir, id, false, o.Logger)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	s := &Store{dir: dir, options: o, index: l.index, logID: l.logID, tree: l.walk.tree, readOnly: true, stop: make(chan struct{})}
	s.off = l.end
	s.durable.Publish(l.walk.next)
	return s, nil
}

// settle reads the log and brings it into a state in which all of it is known
// to be on the disk.
func settle(dir string, o Options) (*loaded, error) {
	id, err := identify(dir, o)
	if err != nil {
		return nil, err
	}
	for range 2 {
		if err := removeLeftovers(dir, o.FS); err != nil {
			return nil, err
		}
		l, err := load(o.FS, dir, id, true, o.Logger)
		if err != nil {
			return nil, err
		}
		if l.clean() {
			return l, l.affirm()
		}
		err = l.rehome(min(o.SegmentBytes, firstSegment), o.Now().UnixNano())
		l.close()
		if err != nil {
			return nil, fmt.Errorf("secure the end of the log: %w", err)
		}
	}
	return nil, errors.New("the end of the log changes while it is read")
}

// affirm writes the last frame again. It says that everything before it is on
// the disk, but may itself be in the page cache only.
func (l *loaded) affirm() error {
	s := l.index.last()
	l.lead = make([]byte, l.end%pageBytes)
	if n, err := s.ReadAt(l.lead, l.end-l.end%pageBytes); n < len(l.lead) {
		l.close()
		return fmt.Errorf("%s %w: %w", s.name, errRead, err)
	}
	if l.last == 0 {
		return nil
	}
	b := make([]byte, l.end-l.last)
	_, err := s.ReadAt(b, l.last)
	if err == nil || errors.Is(err, io.EOF) {
		_, err = s.WriteAt(b, l.last)
	}
	if err == nil {
		err = s.SyncData()
	}
	if err != nil {
		l.close()
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

func removeLeftovers(dir string, files vfs.FS) error {
	names, err := files.ReadDir(path.Join(dir, segDir))
	for _, n := range names {
		if strings.HasSuffix(n, ".tmp") {
			err = errors.Join(err, files.Remove(path.Join(dir, segDir, n)))
		}
	}
	return err
}

// identify reads STORE, or creates a store where there is none.
func identify(dir string, o Options) ([16]byte, error) {
	id, err := readIdentity(o.FS, dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	if err := removeUnfinished(dir, o.FS); err != nil {
		return id, err
	}
	fresh := newIdentity(o.Now())
	if id, err = fresh.id(); err != nil {
		return id, err
	}
	size := min(o.SegmentBytes, firstSegment)
	f, err := fill(o.FS, path.Join(dir, segDir, nextName), size)
	if err != nil {
		return id, err
	}
	var empty tree
	h := header{LogID: id, Salt: newSalt(), Root: empty.Root(), Created: o.Now().UnixNano()}
	_, err = publish(o.FS, dir, f, size, h)
	if err = errors.Join(err, f.Close()); err != nil {
		return id, err
	}
	if err := o.FS.SyncDir(dir); err != nil { // the folder of the segments
		return id, err
	}
	b, err := json.Marshal(fresh)
	if err != nil {
		return id, err
	}
	return id, vfs.WriteFile(o.FS, dir, storeName, append(b, '\n'))
}

// removeUnfinished removes the beginnings of a store that was never finished.
func removeUnfinished(dir string, files vfs.FS) error {
	names, err := listSegments(files, dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := files.Remove(path.Join(dir, segDir, n)); err != nil {
			return err
		}
	}
	return nil
}

var _ store.Source = (*Store)(nil)
