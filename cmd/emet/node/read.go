package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/emet-node/emet/adapters/blobs"
	"github.com/emet-node/emet/adapters/secrets"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/eventschemas"
	"github.com/emet-node/emet/projections"
)

// ErrNoData says that a directory holds no node.
var ErrNoData = errors.New("no emet data here")

// Reading is a ledger that is open for questions only. It leaves the log as
// it is, whether a node runs on it or not.
type Reading struct {
	*Ledger
	// Live says that another process holds the directory, so that what is
	// shown is what was there when it was opened.
	Live bool
	// Folded says that the views were made in memory, since those on disk are
	// of another build or do not catch up.
	Folded  bool
	ViewDir string // where the files of the views are
	stop    func()
	dir     string
	signed  lastSigned
}

// ReadLog opens the log of a data directory, without views and without the
// lock. Sealed facts can be read. It fails with [ErrNoData].
func ReadLog(dir string) (*Reading, error) {
	return ReadLogOf(context.Background(), Options{Dir: dir})
}

// ReadLogOf is [ReadLog] for a log that may be on a server.
func ReadLogOf(ctx context.Context, o Options) (*Reading, error) {
	dir := o.Dir
	if !HasData(dir) {
		return nil, fmt.Errorf("%w: %s", ErrNoData, dir)
	}
	l, signed := &Ledger{}, lastSignedOf(dir)
	var err error
	if l.Store, err = readStore(ctx, o); err != nil {
		return nil, fmt.Errorf("log in %s: %w", dir, err)
	}
	if l.Secrets, err = secrets.OpenReadOnly(filepath.Join(dir, "secrets")); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	l.Blobs = blobs.OpenReadOnly(filepath.Join(dir, "store", "blobs"))
	l.Log = &es.Log{Store: l.Store, Codec: eventschemas.New(), Sealer: l.Secrets.Vault}
	return &Reading{Ledger: l, stop: func() {}, dir: dir, signed: signed}, nil
}

// ReadLedger opens the log with its views. Without a daemon the views are
// brought up to date first. Beside one, its views are read; should they not
// catch up, or be of another build, the log is folded in memory instead.
func ReadLedger(ctx context.Context, o Options) (*Reading, error) {
	if !HasData(o.Dir) {
		return nil, fmt.Errorf("%w: %s", ErrNoData, o.Dir)
	}
	signed := lastSignedOf(o.Dir)
	l, err := OpenLedger(ctx, o)
	if errors.Is(err, es.ErrLocked) {
		return readBeside(ctx, o)
	}
	if err != nil {
		return nil, err
	}
	r := &Reading{Ledger: l, ViewDir: filepath.Join(o.Dir, "views"), dir: o.Dir, signed: signed}
	r.stop = follow(ctx, l.Views())
	return r, r.fresh(ctx)
}

func readBeside(ctx context.Context, o Options) (*Reading, error) {
	r, err := ReadLogOf(ctx, o)
	if err != nil {
		return nil, err
	}
	r.Live = true
	l, views := r.Ledger, filepath.Join(o.Dir, "views")
	r.ViewDir = views
	l.Market, err = projections.ReadMarket(ctx, views, l.Log)
	if err == nil {
		l.Activity, err = projections.ReadActivity(ctx, views, l.Log)
	}
	if err == nil {
		l.Payment, err = projections.ReadPayment(ctx, views, l.Log)
	}
	if err == nil {
		l.Node, err = projections.ReadNode(ctx, views, l.Log)
	}
	if errors.Is(err, projections.ErrStale) {
		return r, r.fold(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// fold makes the views in memory.
func (r *Reading) fold(ctx context.Context) error {
	if r.Market != nil {
		r.Market.Close() //nolint:errcheck // it was for reading
	}
	if r.Activity != nil {
		r.Activity.Close() //nolint:errcheck // it was for reading
	}
	if r.Payment != nil {
		r.Payment.Close() //nolint:errcheck // it was for reading
	}
	r.Folded = true
	var err [4]error
	r.Market, err[0] = projections.OpenMarket(ctx, projections.Memory, r.Log)
	r.Activity, err[1] = projections.OpenActivity(ctx, projections.Memory, r.Log)
	r.Payment, err[2] = projections.OpenPayment(ctx, projections.Memory, r.Log)
	r.Node, err[3] = projections.OpenNode(ctx, projections.Memory, r.Log)
	if e := errors.Join(err[:]...); e != nil {
		return e
	}
	r.stop = follow(ctx, r.Views())
	return r.fresh(ctx)
}

// follow runs views until the function it returns is called.
func follow(ctx context.Context, views []*projections.DB) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var g errgroup.Group
	for _, v := range views {
		g.Go(func() error { return v.Run(ctx) })
	}
	return func() {
		cancel()
		_ = g.Wait() // questions told of a view that stopped
	}
}

// fresh waits until all views have seen what is in the log.
func (r *Reading) fresh(ctx context.Context) error {
	for _, v := range r.Views() {
		head, err := r.Store.Head(ctx)
		if err == nil {
			err = v.Await(ctx, head)
		}
		if err != nil {
			return errors.Join(err, r.Close())
		}
	}
	return nil
}

// Close ends reading.
func (r *Reading) Close() error {
	r.stop()
	return r.Ledger.Close()
}

// Past is all views as they were at a moment. Close it after use.
func (r *Reading) Past(m es.Moment) *projections.Past {
	return projections.PastOf(r.Market, r.Activity, r.Payment, r.Node, m.Count())
}
