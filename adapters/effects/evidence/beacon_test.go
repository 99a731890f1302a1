package evidence_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emet-node/emet/adapters/effects/evidence"
	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/eventschemas"
)

// A block is named every hour in which something happened, and an idle log
// does not grow.
func TestABlockIsNamedEachHour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &es.Log{Store: memory.New(), Codec: eventschemas.New()}
		var n, down atomic.Int64
		b := &evidence.Beacons{Log: l, Logger: slog.New(slog.DiscardHandler), Block: func(context.Context) (ledger.Beacon, error) {
			if down.Load() > 0 {
				return ledger.Beacon{}, errors.New("the chain is away")
			}
			return ledger.Beacon{Block: n.Add(1), ChainID: 1, Hash: "0xab", Header: []byte("h"), LogID: "x"}, nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		happens := func() {
			_, err := l.Append(t.Context(), es.Meta{Key: time.Now().String()}, nil, es.Facts{Stream: ledger.AuditStream, Expected: es.Any, Facts: []any{ledger.Repaired{Detail: "x"}}})
			if err != nil {
				t.Fatal(err)
			}
		}
		count := func() (n int) {
			for _, err := range l.ReadAll(t.Context(), 0, es.Filter{Types: []string{"$log.beacon.v2"}}) {
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
			return n
		}
		for step, x := range []struct {
			happens, away bool
			wait          time.Duration
			want          int
		}{
			{false, false, time.Minute, 1},      // the first one
			{false, false, 24 * time.Hour, 1},   // nothing happened
			{true, false, 2 * time.Minute, 2},   // something did
			{true, false, 50 * time.Minute, 2},  // the hour is not over
			{false, false, 12 * time.Minute, 3}, // now it is
			{true, true, 3 * time.Hour, 3},      // the chain is away
			{false, false, 2 * time.Minute, 4},  // and back
			{false, false, 5 * time.Hour, 4},
		} {
			down.Store(0)
			if x.away {
				down.Store(1)
			}
			if x.happens {
				happens()
			}
			time.Sleep(x.wait)
			synctest.Wait()
			if got := count(); got != x.want {
				t.Fatalf("step %d: %d beacons, want %d", step, got, x.want)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
