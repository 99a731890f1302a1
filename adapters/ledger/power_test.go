package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/eventschemas"
)

// TestPowerLossNeverTakesBackACheckpoint cuts the power while a log is written
// and signed, on a disk that loses what was not synced: checkpoint, tiles and log.
// What was shown to be signed is still signed afterwards, the log still continues it, and
// every proof under it holds.
func TestPowerLossNeverTakesBackACheckpoint(t *testing.T) {
	t.Parallel()
	const shards, seeds = 4, 60
	for shard := range shards {
		t.Run(fmt.Sprint(shard), func(t *testing.T) {
			t.Parallel()
			for seed := uint64(shard); seed < shards*seeds; seed += shards {
				r := rand.New(rand.NewPCG(seed, 7))
				disk := vfs.NewCrash([]int{512, 4096}[seed/shards%2])
				var shown ledger.Checkpoint
				for range 3 {
					disk = signUntilThePowerIsLost(t, disk, r, &shown)
				}
				if err := holdsAfterwards(t.Context(), disk, shown); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
		})
	}
}

func crashHome(fs vfs.FS) (*segment.Store, *es.Log, error) {
	s, err := segment.Open("/store", segment.Options{SegmentBytes: 16 << 10, FS: fs})
	return s, &es.Log{Store: s, Codec: eventschemas.New()}, err
}

func crashKeeper(ctx context.Context, fs vfs.FS, s *segment.Store, l *es.Log) (*Keeper, error) {
	return Open(ctx, l, Options{Dir: "/store", Disk: vfs.Files{FS: fs}, LogID: s.LogID(), Identity: alice, Key: logKey})
}

func signUntilThePowerIsLost(t *testing.T, disk *vfs.Crash, r *rand.Rand, shown *ledger.Checkpoint) *vfs.Crash {
	t.Helper()
	var mu sync.Mutex
	var after *vfs.Crash
	left := 1 + r.IntN(150)
	faulty := &vfs.Faulty{FS: disk, Fail: func(vfs.Op, string) error {
		mu.Lock()
		defer mu.Unlock()
		if left--; left == 0 {
			after = disk.PowerLoss(r)
		}
		return nil
	}}
	err := signSome(t.Context(), faulty, r.IntN(400), shown)
	if err != nil && !errors.Is(err, vfs.ErrPowerLost) && !errors.Is(err, es.ErrCommitUnknown) && !errors.Is(err, es.ErrDegraded) {
		t.Fatalf("%v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if after == nil {
		after = disk.PowerLoss(r)
	}
	return after
}

func signSome(ctx context.Context, fs vfs.FS, events int, shown *ledger.Checkpoint) error {
	s, l, err := crashHome(fs)
	if err != nil {
		return err
	}
	defer s.Close() //nolint:errcheck // the power is lost
	k, err := crashKeeper(ctx, fs, s, l)
	if err != nil {
		return err
	}
	head, err := s.Head(ctx)
	if err != nil {
		return err
	}
	for i := range events {
		e := es.NewEvent{ID: es.EventID("a-1", fmt.Sprint(int(head)), i), Type: "a.v1", Data: []byte(`{}`), Meta: []byte(`{}`)}
		if _, err := s.Append(ctx, nil, es.Write{Stream: "a-1", Expected: es.Any, Events: []es.NewEvent{e}}); err != nil {
			return err
		}
		if i%40 != 0 {
			continue
		}
		c, err := k.Sign(ctx)
		if err != nil {
			return err
		}
		*shown = c
	}
	return nil
}

func holdsAfterwards(ctx context.Context, disk vfs.FS, shown ledger.Checkpoint) error {
	s, l, err := crashHome(disk)
	if err != nil {
		return err
	}
	defer s.Close() //nolint:errcheck // thrown away
	k, err := crashKeeper(ctx, disk, s, l)
	if err != nil {
		return err
	}
	c, err := k.Sign(ctx)
	if errors.Is(err, ledger.ErrUnsigned) && shown.Note == nil {
		return nil
	}
	if err != nil {
		return err
	}
	if c.Size < shown.Size {
		return fmt.Errorf("a checkpoint over %d events was shown, now %d are signed", shown.Size, c.Size)
	}
	if shown.Size == 0 {
		return nil
	}
	for i := uint64(0); i < c.Size; i += 17 {
		if err := holds(k, shown, c, i); err != nil {
			return fmt.Errorf("event %d: %w", i, err)
		}
	}
	return nil
}
