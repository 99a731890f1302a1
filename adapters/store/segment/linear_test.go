package segment_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/adapters/store/storetest"
	"github.com/emet-node/emet/adapters/store/vfs"
)

// TestLinearizableAcrossPowerLosses lets clients work while the power fails, on
// and on: what they were told has one order, and an append of unknown outcome
// happened once or never.
func TestLinearizableAcrossPowerLosses(t *testing.T) {
	t.Parallel()
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 4))
		disk := vfs.NewCrash([]int{512, 4096}[seed%2])
		h := storetest.NewHistory()
		var err error
		for round := range 4 {
			if disk, err = linearUntilThePowerIsLost(h, disk, r, round == 3); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if err := h.Err(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func linearUntilThePowerIsLost(h *storetest.History, disk *vfs.Crash, r *rand.Rand, last bool) (*vfs.Crash, error) {
	var mu sync.Mutex
	var after *vfs.Crash
	left := 10 + r.IntN(40)
	if last {
		left = -1
	}
	chance := rand.New(rand.NewPCG(r.Uint64(), 2))
	faulty := &vfs.Faulty{FS: disk, Fail: func(vfs.Op, string) error {
		mu.Lock()
		defer mu.Unlock()
		if left--; left == 0 {
			after = disk.PowerLoss(chance)
		}
		return nil
	}}
	s, err := segment.Open("/store", segment.Options{SegmentBytes: 8 << 10, HandOver: r.IntN(2), FS: faulty})
	if err == nil {
		var clients sync.WaitGroup
		for c := range 5 {
			mine := rand.New(rand.NewPCG(r.Uint64(), 0))
			clients.Go(func() { h.Client(context.Background(), s, c, 5, mine) })
		}
		clients.Wait()
		_ = s.Close() // the power is lost
	}
	mu.Lock()
	defer mu.Unlock()
	if after == nil {
		after = disk.PowerLoss(chance)
	}
	if err != nil && !errors.Is(err, vfs.ErrPowerLost) {
		return nil, fmt.Errorf("open: %w", err)
	}
	return after, nil
}
