package evidence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
)

// Beacons writes down which block of a public chain is final, every hour in
// which something happened: what comes after it in the log is not older.
type Beacons struct {
	Log *es.Log
	// Block is the newest final block of some chain, with the RLP of its header.
	Block  func(context.Context) (ledger.Beacon, error)
	Logger *slog.Logger
	// Every is the pause between beacons; 0 = an hour.
	Every time.Duration

	// What was read of $log, and of it the newest beacon.
	revision es.Revision
	read     bool
	newest   es.Position
	at       time.Time // zero = there is none
}

const (
	beaconEvery = time.Hour
	beaconLook  = 60 // times in that pause it is looked whether one is due
)

// Run writes until ctx ends. A chain that cannot be asked now is asked later;
// nothing waits for it.
func (b *Beacons) Run(ctx context.Context) error {
	every := b.Every
	if every <= 0 {
		every = beaconEvery
	}
	tick := time.NewTicker(every / beaconLook)
	defer tick.Stop()
	told := false
	for {
		switch err := b.due(ctx, every); {
		case ctx.Err() != nil, errors.Is(err, es.ErrClosed):
			return nil
		case err != nil && !told:
			told = true
			b.Logger.Info("no block could be written down, which is tried again", "error", err)
		case err == nil:
			told = false
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// due writes a beacon if the last one is old and something came after it.
func (b *Beacons) due(ctx context.Context, every time.Duration) error {
	if err := b.catchUp(ctx); err != nil {
		return err
	}
	head, err := b.Log.Store.Head(ctx)
	if err != nil {
		return err
	}
	if !b.at.IsZero() && (time.Since(b.at) < every || head <= b.newest+1) {
		return nil
	}
	f, err := b.Block(ctx)
	if err != nil || f.Hash == "" {
		return err
	}
	m := es.Meta{Key: fmt.Sprintf("log/beacon/%s/%d", f.Hash, b.revision+1), Actor: es.ActorChain, Grade: es.GradeChainFinal}
	_, err = b.Log.Append(ctx, m, nil, es.Facts{Stream: ledger.LogStream, Expected: b.revision, Facts: []any{f}})
	if errors.Is(err, es.ErrConflict) {
		return nil // somebody wrote to $log meanwhile; the next look finds it
	}
	return err
}

// catchUp reads what came to $log.
func (b *Beacons) catchUp(ctx context.Context) error {
	if !b.read {
		b.revision, b.read = es.NoStream, true
	}
	for e, err := range b.Log.Store.ReadStream(ctx, ledger.LogStream, b.revision+1, es.Forward, 0) {
		if err != nil {
			return err
		}
		b.revision = e.Revision
		if e.Type == "$log.beacon.v2" {
			b.newest, b.at = e.Position, e.Recorded
		}
	}
	return nil
}
