package main

import (
	"context"
	"crypto/sha3"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/emet-node/emet/cmd/emet/keep"
	"github.com/emet-node/emet/cmd/emet/picture"
)

// take makes the directory and takes it for this demo. What an earlier one left
// is gone on with when it was cut off, and removed when it was finished.
func (d *demo) take(ctx context.Context) (*keep.Hold, error) {
	entries, err := os.ReadDir(d.dir)
	if err == nil && len(entries) > 0 {
		if _, err := os.Stat(keep.LockFile(d.dir, "demo")); err != nil {
			return nil, fmt.Errorf("%s is not empty and not of an earlier demo; name another with --dir", d.dir)
		}
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, err
	}
	hold, err := keep.Take(ctx, d.dir, "demo", func() {
		fmt.Fprintln(d.w, "Processes of an earlier demo are ending; waiting for them")
	})
	if errors.Is(err, keep.ErrHeld) {
		err = fmt.Errorf("%w; wait for it, end it, or name another directory with --dir", err)
	}
	if err != nil {
		return nil, err
	}
	keep.Sweep(d.dir)
	if err := d.begin(); err != nil {
		return nil, errors.Join(err, hold.Close())
	}
	return hold, nil
}

// begin goes on with the picture in the directory, or begins a new one.
func (d *demo) begin() error {
	d.book = picture.Book{Dir: filepath.Join(d.dir, keep.Home)}
	sum := sha3.Sum256(d.program)
	wanted := picture.Plan{
		Width: d.width, Height: d.height, Paths: d.spp, Tiles: d.tiles, Providers: d.providers, Program: hex.EncodeToString(sum[:]), Session: randomID(),
	}
	plan, begun, err := d.book.Plan()
	switch {
	case begun && !d.book.Finished() && !d.fresh:
		if !plan.Same(wanted) {
			return usageError{fmt.Errorf("the demo in %s was cut off; it was for %s, and this one is for %s: "+
				"give the same ones to go on, or --fresh to begin anew, with a new chain and without the debts of the old one", d.dir, plan, wanted)}
		}
		d.plan, d.resumed = plan, true
		return d.goOn()
	case err != nil && !d.fresh:
		return fmt.Errorf("%w; with --fresh the demo begins anew, without the debts of the old one", err)
	}
	d.plan, d.missing = wanted, wanted.Split()
	if err := d.clear(); err != nil {
		return err
	}
	return d.book.Begin(wanted)
}

// goOn takes up what an earlier demo did.
func (d *demo) goOn() error {
	there, missing, err := d.book.Tiles(d.plan)
	if err != nil {
		return err
	}
	for _, t := range there {
		d.parts = append(d.parts, t.Tile)
		d.byDeal[t.Agreement]++
	}
	d.missing = missing
	fmt.Fprintf(d.w, "The demo in %s was cut off: going on: %d of %d tiles are there\n", d.dir, len(there), len(there)+len(missing))
	return os.RemoveAll(d.arriving())
}

// clear removes what is in the directory, the picture's plan first: from then
// on there is nothing to go on with.
func (d *demo) clear() error {
	if err := d.book.Forget(); err != nil {
		return err
	}
	entries, err := os.ReadDir(d.dir)
	for _, e := range entries {
		if e.Name() != keep.Home {
			err = errors.Join(err, os.RemoveAll(filepath.Join(d.dir, e.Name())))
		}
	}
	return errors.Join(err, os.RemoveAll(d.arriving()), os.RemoveAll(d.ports()))
}

// arriving is where tiles come in.
func (d *demo) arriving() string { return filepath.Join(d.book.Dir, "arriving") }

// ports is where the ports of the processes are kept.
func (d *demo) ports() string { return filepath.Join(d.book.Dir, "ports.json") }
