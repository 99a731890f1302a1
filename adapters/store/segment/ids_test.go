package segment

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestIDs enters hashes, some of them often, some of them at the ends of the range
// where the table wraps around, and asks for all of them and for others.
func TestIDs(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test
		var table ids
		want := make(map[uint64][]uint32)
		for rel := range uint32(r.IntN(3000)) {
			h := r.Uint64()
			switch r.IntN(4) {
			case 0:
				h = ^uint64(0) - uint64(r.IntN(20))
			case 1:
				h = uint64(r.IntN(20))
			}
			table.add(h, rel)
			want[h] = append(want[h], rel)
		}
		n := 0
		for h, rels := range want {
			got := table.find(h, nil)
			slices.Sort(got)
			if !slices.Equal(got, rels) || !table.has(h) {
				t.Fatalf("seed %d: %x has %v, want %v", seed, h, got, rels)
			}
			n += len(rels)
		}
		for range 100 {
			if h := r.Uint64(); want[h] == nil && (table.has(h) || table.find(h, nil) != nil) {
				t.Fatalf("seed %d: %x was never entered", seed, h)
			}
		}
		all := table.sorted()
		if len(all) != n || !slices.IsSortedFunc(all, func(a, b idPlace) int {
			if a.before(b) {
				return -1
			}
			return 1
		}) {
			t.Fatalf("seed %d: %d of %d are in order", seed, len(all), n)
		}
		for _, p := range all {
			if !slices.Contains(want[p.hash], p.rel()) {
				t.Fatalf("seed %d: %x has no %d", seed, p.hash, p.rel())
			}
		}
	}
}
