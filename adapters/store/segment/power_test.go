package segment_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

const powerSeeds = 20_000

// TestPowerLossLosesNothingAcknowledged cuts the power after a random number
// of writes and syncs, several times in a row, recovery included.
func TestPowerLossLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	const shards = 8
	for shard := range shards {
		t.Run(fmt.Sprint(shard), func(t *testing.T) {
			t.Parallel()
			for seed := shard; seed < powerSeeds; seed += shards {
				if err := powerLosses(uint64(seed), honest); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
		})
	}
}

// TestAMissingSyncIsNoticed makes the mistakes that the test above is for, one
// at a time: it must find each of them.
func TestAMissingSyncIsNoticed(t *testing.T) {
	t.Parallel()
	for what, forget := range map[string]func(op vfs.Op, name string) bool{
		"of appends":              func(op vfs.Op, name string) bool { return op == vfs.OpSync && strings.HasSuffix(name, ".elog") },
		"of a new segment":        func(op vfs.Op, name string) bool { return op == vfs.OpSync && strings.HasSuffix(name, "next.tmp") },
		"of the list of segments": func(op vfs.Op, name string) bool { return op == vfs.OpSyncDir && strings.HasSuffix(name, "seg") },
		"of the store's name":     func(op vfs.Op, name string) bool { return op == vfs.OpSyncDir && !strings.HasSuffix(name, "seg") },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			mistaken := func(fs vfs.FS) vfs.FS { return &vfs.Forgetful{FS: fs, Forget: forget} }
			for seed := range uint64(powerSeeds) {
				if err := powerLosses(seed, mistaken); err != nil {
					t.Logf("found by seed %d: %v", seed, err)
					return
				}
			}
			t.Error("the tests do not notice it")
		})
	}
}

func honest(fs vfs.FS) vfs.FS { return fs }

// powerLosses is one history of a store with several power losses. What is
// decided by chance follows from the seed, but for the order of goroutines.
func powerLosses(seed uint64, mistaken func(vfs.FS) vfs.FS) error {
	r := rand.New(rand.NewPCG(seed, 1))
	disk := vfs.NewCrash([]int{512, 4096}[seed%2])
	l := newLedger()
	var err error
	for round := range 1 + r.IntN(3) {
		if disk, err = powerCut(l, disk, r, round, mistaken); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
	}
	s, err := segment.Open("/store", segment.Options{SegmentBytes: 8 << 10, FS: disk})
	if err != nil {
		return err
	}
	if err := errors.Join(l.compare(s), l.again(s), s.Close()); err != nil {
		return err
	}
	report, err := segment.VerifyFS(disk, "/store")
	if err == nil && (len(report.Damage) > 0 || report.Unfinished != 0 || len(report.WrongIndexes) > 0) {
		err = fmt.Errorf("%+v", report)
	}
	return err
}

// powerCut runs one session on disk and returns what is left of it.
func powerCut(l *ledger, disk *vfs.Crash, r *rand.Rand, round int, mistaken func(vfs.FS) vfs.FS) (*vfs.Crash, error) {
	var mu sync.Mutex
	var after *vfs.Crash
	left := r.IntN(60)
	chance := rand.New(rand.NewPCG(r.Uint64(), 2))
	faulty := &vfs.Faulty{FS: mistaken(disk), Fail: func(vfs.Op, string) error {
		mu.Lock()
		defer mu.Unlock()
		if left--; left == 0 {
			after = disk.PowerLoss(chance)
		}
		return nil
	}}
	s, err := segment.Open("/store", segment.Options{SegmentBytes: 8 << 10, HandOver: r.IntN(2), Idle: time.Microsecond * time.Duration(r.IntN(300)+1), FS: faulty})
	switch {
	case err == nil:
		err = l.compare(s)
		if err == nil {
			l.session(s, r, round, 2+r.IntN(5))
		}
		_ = s.Close() // the power is lost
	case errors.Is(err, vfs.ErrPowerLost):
		err = nil
	}
	mu.Lock()
	defer mu.Unlock()
	if after == nil {
		after = disk.PowerLoss(chance)
	}
	if errors.Is(err, vfs.ErrPowerLost) || errors.Is(err, es.ErrClosed) {
		err = nil
	}
	return after, err
}
