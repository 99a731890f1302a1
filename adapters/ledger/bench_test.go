package ledger

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
)

// BenchmarkInclusionProof asks for proofs of random events in a log of a
// million. Warm: the tiles used last are in memory, as far as they fit. Cold:
// every tile is read from disk and checked.
func BenchmarkInclusionProof(b *testing.B) {
	const size = 1_000_000
	dir := b.TempDir()
	s := (&leafStore{}).grow(size)
	tree := treeOf(b, s, files{dir: dir, disk: realDisk})
	if _, _, err := tree.Root(b.Context()); err != nil {
		b.Fatal(err)
	}
	for name, cold := range map[string]bool{"warm": false, "cold": true} {
		b.Run(name, func(b *testing.B) {
			r := rand.New(rand.NewPCG(3, 4))
			took := make([]time.Duration, 0, b.N)
			for b.Loop() {
				if cold {
					tree.cache = newCache()
				}
				began := time.Now()
				if _, err := tree.InclusionProof(b.Context(), es.Position(r.Uint64N(size)), size); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-µs")
		})
	}
}

// BenchmarkStart is how long it takes to know the tree of a log of a million
// events: from the tiles, and without any.
func BenchmarkStart(b *testing.B) {
	const size = 1_000_000
	dir := b.TempDir()
	s := (&leafStore{}).grow(size)
	if _, _, err := treeOf(b, s, files{dir: dir, disk: realDisk}).Root(b.Context()); err != nil {
		b.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "tile", "1", "014")); err != nil {
		b.Fatal(err)
	}
	for name, dir := range map[string]string{"tiles": dir, "leaves": ""} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := treeOf(b, s, files{dir: dir, disk: realDisk}).Root(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
