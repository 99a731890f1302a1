package projections

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/emet-node/emet/domain/es"
)

// versions keeps every version of every row of a group in a file beside it, so
// that an answer about the past is a question about the versions of then. The
// file follows from the log; it is behind the group by as much as nobody asked
// for.
type versions struct {
	of      *DB
	path    string
	working context.Context
	stop    context.CancelFunc

	mu    sync.Mutex
	db    *DB       // nil until it is needed
	run   *catching // that goes on, nil = none does
	timer *time.Timer
	over  bool
}

// catching is one time of bringing versions up to date.
type catching struct {
	done chan struct{}
	err  error // when done
}

// lag is how long versions may be behind a group that is followed.
const lag = 200 * time.Millisecond

// building is held by whoever makes versions from the first event: one at a
// time, since nobody waits for most of them.
var building = make(chan struct{}, 1)

// versionsOf are the versions of a group, nil for one in memory.
func versionsOf(d *DB) *versions {
	if d.path == Memory {
		return nil
	}
	v := &versions{of: d, path: filepath.Join(filepath.Dir(d.path), "past", d.name+".db")}
	v.working, v.stop = context.WithCancel(context.Background())
	return v
}

// tidy removes what earlier builds kept for answers about the past.
func (v *versions) tidy() {
	if v == nil {
		return
	}
	old, _ := filepath.Glob(filepath.Join(filepath.Dir(v.of.path), "snap", v.of.name+"@*.db"))
	for _, path := range old {
		_ = os.Remove(path)
	}
}

// CatchUpPast brings what answers about the past come from up to date. It
// happens by itself as well, a moment after the log grew or when it is asked.
func (d *DB) CatchUpPast(ctx context.Context) error {
	if d.versions == nil {
		return nil
	}
	return d.versions.reach(ctx, d.Position())
}

// ForgetPast removes what answers about the past come from, so that it is made
// anew. It is for who opened the group and let nobody Run it or ask.
func (d *DB) ForgetPast() {
	if v := d.versions; v != nil && !d.frozen {
		remove(v.path)
	}
}

// later brings the versions up to date soon.
func (v *versions) later(at es.Position) {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over || v.db != nil && v.db.Position() >= at {
		return
	}
	if v.timer == nil {
		v.timer = time.AfterFunc(lag, func() { v.start() })
		return
	}
	v.timer.Reset(lag)
}

// start begins to bring the versions up to date, unless that goes on.
func (v *versions) start() *catching {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.run != nil {
		return v.run
	}
	c := &catching{done: make(chan struct{})}
	if v.over {
		c.err = es.ErrClosed
		close(c.done)
		return c
	}
	v.run = c
	go func() {
		c.err = v.catchUp(v.working)
		v.mu.Lock()
		v.run = nil
		v.mu.Unlock()
		close(c.done)
	}()
	return c
}

// reach waits until the versions know the first n events.
func (v *versions) reach(ctx context.Context, n es.Position) error {
	if v.of.frozen {
		return v.await(ctx, n)
	}
	for {
		v.mu.Lock()
		known := v.db != nil && v.db.Position() >= n
		v.mu.Unlock()
		if known {
			return nil
		}
		c := v.start()
		select {
		case <-c.done:
			if c.err != nil {
				return c.err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (v *versions) catchUp(ctx context.Context) error {
	v.mu.Lock()
	d := v.db
	v.mu.Unlock()
	if d == nil {
		var err error
		if d, err = v.open(ctx); err != nil {
			return fmt.Errorf("the past of view %s: %w", v.of.name, err)
		}
		v.mu.Lock()
		v.db = d
		v.mu.Unlock()
	}
	return d.fold(ctx)
}

// open opens the file, or makes it from the log.
func (v *versions) open(ctx context.Context) (*DB, error) {
	d := &DB{name: v.of.name, path: v.path, log: v.of.log, views: v.of.views, every: true}
	d.wire()
	if _, err := os.Stat(v.path); err == nil {
		if err := d.open(v.path); err == nil && d.belongs(ctx) {
			d.forgot = true // until there is more to hear
			return d, nil
		} else if err == nil {
			_ = d.close() // its files are thrown away
		}
	}
	select {
	case building <- struct{}{}:
		defer func() { <-building }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := os.MkdirAll(filepath.Dir(v.path), 0o700); err != nil {
		return nil, err
	}
	return d, d.renew(ctx)
}

// await waits until whoever keeps the views has brought the versions up to n.
func (v *versions) await(ctx context.Context, n es.Position) error {
	if _, err := os.Stat(v.path); err != nil {
		return fmt.Errorf("%w: %w", ErrStale, err)
	}
	then := &DB{name: v.of.name, path: v.path, views: v.of.views, every: true}
	then.log = &es.Log{Store: es.AsOf(v.of.log.Store, n), Codec: v.of.log.Codec, Sealer: v.of.log.Sealer}
	then.wire()
	db, err := openReading(v.path)
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // opened for reading
	then.take(db, db)
	return then.reach(ctx)
}

// close ends what goes on.
func (v *versions) close() {
	if v == nil {
		return
	}
	v.mu.Lock()
	v.over = true
	if v.timer != nil {
		v.timer.Stop()
	}
	v.stop()
	run := v.run
	v.mu.Unlock()
	if run != nil {
		<-run.done
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.db != nil {
		_ = v.db.Close() // what it lacks is made when it is asked for
		v.db = nil
	}
}

// fold is catchUp in big steps: nobody waits for what is in between.
func (d *DB) fold(ctx context.Context) error {
	for {
		n, err := d.stepOf(ctx, foldSize)
		if errors.Is(err, es.ErrClosed) && ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || n == 0 {
			return err
		}
	}
}
