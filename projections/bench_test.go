package projections_test

import (
	"path/filepath"
	"testing"

	"github.com/emet-node/emet/projections"
	"github.com/emet-node/emet/projections/replay"
	"github.com/emet-node/emet/projections/story/storytest"
)

// manyEvents is a world with a few thousand events of all stages.
func manyEvents(b *testing.B) (*world, int) {
	b.Helper()
	w := newWorld(b)
	stages := make([]int, 200)
	for i := range stages {
		stages[i] = int(storytest.Paid)
	}
	history(b, w.log, stages)
	head, err := w.log.Store.Head(b.Context())
	must(b, err)
	return w, int(head)
}

// BenchmarkRebuild makes all four groups anew, one after the other.
func BenchmarkRebuild(b *testing.B) {
	w, n := manyEvents(b)
	dir := filepath.Join(b.TempDir(), "views")
	m, a, p, node := openAll(b, w, dir)
	for _, d := range []*projections.DB{m.DB, a.DB, p.DB, node.DB} {
		b.Run(d.Name(), func(b *testing.B) {
			for b.Loop() {
				must(b, d.Rebuild(b.Context()))
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/event")
		})
	}
}

// BenchmarkFold folds every stream's facts into its state.
func BenchmarkFold(b *testing.B) {
	w, n := manyEvents(b)
	for b.Loop() {
		_, err := replay.Fold(b.Context(), w.log)
		must(b, err)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/event")
}
