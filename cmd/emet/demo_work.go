package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"time"

	"github.com/emet-node/emet/api/client/rent"
	gsb "github.com/emet-node/emet/api/gsb/client"
	"github.com/emet-node/emet/cmd/emet/picture"
	"github.com/emet-node/emet/examples/render/tiles"
)

func (d *demo) worker(ctx context.Context, pool *rent.Pool, files *gsb.Client, queue chan image.Rectangle) error {
	for {
		m, err := d.rent(ctx, pool)
		if m == nil {
			return err
		}
		err = d.drain(ctx, m, files, queue)
		d.count(-1)
		if errors.Is(err, rent.ErrLost) {
			m.Abandon(err.Error())
			continue
		}
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		if cerr := m.Close(closing); cerr != nil {
			m.Abandon(cerr.Error())
		}
		return err
	}
}

func (d *demo) count(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.machines += n
	d.heard, d.worked = time.Now(), time.Now()
}

// While nobody works, the demo waits for patience after the last sign of life
// of anybody, and for mostPatience at all.
const (
	patience     = 30 * time.Second
	mostPatience = 2 * time.Minute
)

// rent waits for a machine. There is none when the picture got done without
// it; it is an error only when nobody is left who works.
func (d *demo) rent(ctx context.Context, pool *rent.Pool) (*rent.Machine, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		for ctx.Err() == nil && !d.hopeless() {
			_ = wait(ctx, time.Second)
		}
		cancel(errHopeless)
	}()
	m, err := pool.RentUnless(ctx, d.done)
	if m != nil {
		d.count(1)
	}
	if errors.Is(context.Cause(ctx), errHopeless) && err != nil {
		err = fmt.Errorf("%w: %s", errHopeless, err.Error()) // that we gave up is no interruption
	}
	return m, err
}

var errHopeless = errors.New("nobody works, and there is no sign of anybody who will")

// hopeless says whether nobody works and there is no hope that somebody will.
func (d *demo) hopeless() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.machines == 0 && (time.Since(d.heard) > patience || time.Since(d.worked) > mostPatience)
}

// drain renders tiles on a machine until none is left.
func (d *demo) drain(ctx context.Context, m *rent.Machine, files *gsb.Client, queue chan image.Rectangle) error {
	for {
		select {
		case <-d.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case tile := <-queue:
			if err := d.tile(ctx, m, files, tile); err != nil {
				if errors.Is(err, rent.ErrLost) {
					queue <- tile
				}
				return err
			}
			d.bar.Increment()
		}
	}
}

// tile renders one tile and keeps it. A node that is killed meanwhile loses
// what moves through it, and a runtime that is killed what it computes: both are
// done again.
func (d *demo) tile(ctx context.Context, m *rent.Machine, files *gsb.Client, t image.Rectangle) error {
	name := "tile-" + tiles.Arg(t) + ".png"
	path := filepath.Join(d.arriving(), name)
	err := again(ctx, func() error {
		_, err := m.Do(ctx, rent.Run("render", []string{
			"-width", fmt.Sprint(d.width), "-height", fmt.Sprint(d.height), "-spp", fmt.Sprint(d.spp), "-tile", tiles.Arg(t), "-o", rent.Out + "/" + name,
		}, nil))
		return err
	})
	if err == nil {
		err = again(ctx, func() error { return download(ctx, m, files, path) })
	}
	if err != nil {
		return err
	}
	defer os.Remove(path) //nolint:errcheck // it is kept elsewhere
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := picture.Check(content, t); err != nil {
		return fmt.Errorf("%w: %s sent something else than the tile: %w", rent.ErrLost, m.Provider(), err)
	}
	done := tiles.Tile{At: t, PNG: content}
	if err := d.book.Keep(picture.Tile{Tile: done, Agreement: m.Agreement()}); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.parts = append(d.parts, done)
	d.byDeal[m.Agreement()]++
	if len(d.parts) == len(d.plan.Split()) {
		close(d.done)
	}
	return nil
}

// again does what may be done twice until it is done, three times at most. A
// machine that is lost is not asked again.
func again(ctx context.Context, do func() error) error {
	for tries := 1; ; tries++ {
		err := do()
		if err == nil || tries == 3 || ctx.Err() != nil || errors.Is(err, rent.ErrLost) {
			return err
		}
	}
}
