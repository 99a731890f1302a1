package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/emet-node/emet/cmd/emet/keep"
)

// marker says that a directory was made by the demo and may be made anew. It
// is locked as long as the demo runs.
const marker = ".emet-demo"

// finished is there when a demo came to its end.
const finished = "finished"

// take makes the directory and takes it for this demo. What an earlier one
// left, whose processes have ended by then, is removed.
func (d *demo) take(ctx context.Context) (*keep.Hold, error) {
	entries, err := os.ReadDir(d.dir)
	if err == nil && len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(d.dir, marker)); err != nil {
			return nil, fmt.Errorf("%s is not empty and not of an earlier demo; name another with --dir", d.dir)
		}
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, err
	}
	hold, err := keep.Take(ctx, d.dir, marker, func() {
		fmt.Fprintln(d.w, "Processes of an earlier demo are ending; waiting for them")
	})
	if errors.Is(err, keep.ErrHeld) {
		err = fmt.Errorf("%w; wait for it, end it, or name another directory with --dir", err)
	}
	if err != nil {
		return nil, err
	}
	keep.Sweep(d.dir)
	if _, err := os.Stat(filepath.Join(d.dir, finished)); err != nil && len(entries) > 0 {
		fmt.Fprintf(d.w, "The demo in %s was cut off: beginning anew, with a new chain and without its debts\n", d.dir)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), marker) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(d.dir, e.Name())))
		}
	}
	if err != nil {
		return nil, errors.Join(err, hold.Close())
	}
	return hold, nil
}
