package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/emet-node/emet/adapters/store/kurrent"
	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/adapters/store/sqlite"
	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
)

// Engine is the store of a node's log.
type Engine interface {
	ledger.Source
	// LogID names the log. It is drawn when the log is created.
	LogID() [16]byte
	// Failed is the error after which nothing may be written, nil while all is
	// well.
	Failed() error
	Close() error
}

var (
	_ Engine = (*segment.Store)(nil)
	_ Engine = (*sqlite.Store)(nil)
	_ Engine = (*kurrent.Store)(nil)
)

// Names of the engines.
const (
	engineSegment = "segment"
	engineSQLite  = "sqlite"
	engineKurrent = "kurrent"
)

// engineFile says where the log of a data directory is, unless it is the
// segment log in it.
const engineFile = "ENGINE"

// place is where a log is kept.
type place struct {
	Format int    `json:"format"`
	Engine string `json:"engine"`
	Path   string `json:"path,omitempty"`  // of the SQLite file
	LogID  string `json:"logId,omitempty"` // of a log on a server
	URL    string `json:"url,omitempty"`   // without user and password
	secret string // the URL with them
}

// ParseStore checks what --store or store.engine say: "" (what the directory
// has, else segment), segment, sqlite, sqlite:PATH, or the connection string of
// a KurrentDB.
func ParseStore(text string) error { _, err := placeOf("", text); return err }

func placeOf(dir, text string) (place, error) {
	p := place{Format: 1}
	path, isPath := strings.CutPrefix(text, engineSQLite+":")
	switch {
	case text == "" || text == engineSegment:
		p.Engine = engineSegment
	case text == engineSQLite:
		path = filepath.Join(dir, "store", "log.sqlite")
		fallthrough
	case isPath && path != "":
		var err error
		p.Engine = engineSQLite
		p.Path, err = filepath.Abs(path)
		return p, err
	case kurrent.IsURL(text):
		u, err := url.Parse(text)
		if err != nil {
			return p, fmt.Errorf("store %s is no connection string", kurrent.Redact(text))
		}
		u.User = nil
		p.Engine, p.URL, p.secret = engineKurrent, u.String(), text
	default:
		return p, fmt.Errorf("store %q is not known; there are segment, sqlite, sqlite:PATH and kurrent://HOST:PORT?tls=… (or esdb://…)", kurrent.Redact(text))
	}
	return p, nil
}

// HasData says whether dir holds a log, or says where it is.
func HasData(dir string) bool {
	for _, name := range []string{"STORE", engineFile} {
		if _, err := os.Stat(filepath.Join(dir, "store", name)); err == nil {
			return true
		}
	}
	found, _ := filepath.Glob(filepath.Join(dir, "store", "seg", "*"))
	return len(found) > 0
}

// found returns where the log of a directory is; ok is false when it has none.
func found(dir string) (p place, ok bool, err error) {
	path := filepath.Join(dir, "store", engineFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return place{Format: 1, Engine: engineSegment}, HasData(dir), nil
	}
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err == nil && (p.Format != 1 || p.Engine != engineSQLite && p.Engine != engineKurrent) {
		err = fmt.Errorf("format %d, engine %q", p.Format, p.Engine)
	}
	if err != nil {
		return p, false, fmt.Errorf("%w: %s: %w", es.ErrCorrupt, path, err)
	}
	p.secret = p.URL
	return p, true, nil
}

// settlePlace returns where the log of a directory is, which must be where it
// is asked for.
func settlePlace(dir, text string) (p place, known bool, err error) {
	p, known, err = found(dir)
	if err != nil || text == "" {
		return p, known, err
	}
	want, err := placeOf(dir, text)
	switch {
	case err != nil || !known:
		return want, known, err
	case want.Engine != p.Engine || want.Path != p.Path || want.URL != p.URL:
		return p, known, fmt.Errorf("the log of %s is in %s, not in %s; a log does not move, choose another directory with -d", dir, p, want)
	}
	p.secret = want.secret
	return p, known, nil
}

func (p place) String() string { return strings.TrimSpace(p.Engine + " " + p.Path + p.URL) }

// ErrNoSegments says that a log is in another engine, which is copied by that
// engine's own means.
var ErrNoSegments = errors.New("the log is not in segments: copy it by the means of its engine")

// InSegments fails with [ErrNoSegments] when the log of a directory is in another
// engine.
func InSegments(dir string) error {
	p, _, err := found(dir)
	if err == nil && p.Engine != engineSegment {
		err = fmt.Errorf("%w: %s", ErrNoSegments, p)
	}
	return err
}

// VerifyStore holds every event of a log that is not in segments against its
// leaf, and the leaves against the tree. engine is "segment" when it is one.
func VerifyStore(ctx context.Context, o Options) (engine string, events uint64, root es.Hash, err error) {
	p, _, err := settlePlace(o.Dir, o.Store)
	if err != nil || p.Engine == engineSegment {
		return p.Engine, 0, root, err
	}
	e, err := p.open(ctx, o, true)
	if err != nil {
		return p.Engine, 0, root, err
	}
	defer e.Close() //nolint:errcheck // it was for reading
	events, root = e.Root()
	if v, ok := e.(interface{ Verify(context.Context) error }); ok {
		err = v.Verify(ctx)
	}
	return p.Engine, events, root, err
}

// openStore opens the log of a data directory for writing. What is new is
// written down before the first event.
func openStore(ctx context.Context, o Options) (Engine, error) {
	p, known, err := settlePlace(o.Dir, o.Store)
	if err != nil {
		return nil, err
	}
	if p.Engine == engineSegment {
		return patiently(ctx, func() (Engine, error) {
			return nonNil(segment.Open(filepath.Join(o.Dir, "store"), segment.Options{SegmentBytes: o.SegmentBytes, Logger: o.Logger, Opens: opensObligations}))
		})
	}
	lock, err := lockDir(ctx, filepath.Join(o.Dir, "store"))
	if err != nil {
		return nil, err
	}
	if !known {
		err = p.keep(o.Dir)
	}
	var e Engine
	if err == nil {
		e, err = p.open(ctx, o, false)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &locked{Engine: e, lock: lock}, nil
}

// nonNil keeps a nil store from becoming an interface that is not nil.
func nonNil[S Engine](s S, err error) (Engine, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// lockPatience is how long a directory may be in use: a command that reads it
// holds it for a moment.
const lockPatience = 500 * time.Millisecond

func patiently[T any](ctx context.Context, open func() (T, error)) (T, error) {
	for begun := time.Now(); ; {
		t, err := open()
		if !errors.Is(err, es.ErrLocked) || time.Since(begun) > lockPatience {
			return t, err
		}
		select {
		case <-ctx.Done():
			return t, err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// lockDir keeps other nodes out of a data directory whose log is elsewhere.
func lockDir(ctx context.Context, dir string) (io.Closer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return patiently(ctx, func() (io.Closer, error) {
		l, err := vfs.OS{}.Lock(filepath.Join(dir, "LOCK"))
		var held *vfs.Held
		if errors.As(err, &held) {
			return nil, fmt.Errorf("store %s is open in %s: %w", dir, held.Holder, es.ErrLocked)
		}
		return l, err
	})
}

// locked is an engine with the lock of its data directory.
type locked struct {
	Engine
	lock io.Closer
}

// Close implements [Engine].
func (l *locked) Close() error { return errors.Join(l.Engine.Close(), l.lock.Close()) }

// keep writes down where a new log is.
func (p *place) keep(dir string) error {
	if p.Engine == engineKurrent {
		id := make([]byte, 16)
		_, _ = rand.Read(id) // never fails
		p.LogID = hex.EncodeToString(id)
	}
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return vfs.WriteFile(vfs.OS{}, filepath.Join(dir, "store"), engineFile, append(b, '\n'))
}

// open opens a log that is not in segments.
func (p place) open(ctx context.Context, o Options, readOnly bool) (Engine, error) {
	if p.Engine == engineSQLite {
		if readOnly {
			return nonNil(sqlite.OpenReadOnly(ctx, p.Path))
		}
		return nonNil(sqlite.Open(ctx, p.Path, sqlite.Options{}))
	}
	id, err := hex.DecodeString(p.LogID)
	if err != nil || len(id) != 16 {
		return nil, fmt.Errorf("%w: %s names no log: %q", es.ErrCorrupt, engineFile, p.LogID)
	}
	return nonNil(kurrent.Open(ctx, kurrent.Options{URL: p.secret, LogID: [16]byte(id), Outline: filepath.Join(o.Dir, "store", "outline"), ReadOnly: readOnly, Logger: o.Logger}))
}

// readStore opens the log of a data directory for reading, without any lock.
func readStore(ctx context.Context, o Options) (Engine, error) {
	p, _, err := settlePlace(o.Dir, o.Store)
	if err != nil {
		return nil, err
	}
	if p.Engine == engineSegment {
		return nonNil(segment.OpenReadOnly(filepath.Join(o.Dir, "store")))
	}
	return p.open(ctx, o, true)
}
