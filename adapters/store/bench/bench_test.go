package bench_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/emet-node/emet/adapters/store/bench"
)

// BenchmarkStore prints the figures of [bench.Run].
func BenchmarkStore(b *testing.B) {
	var out strings.Builder
	if err := bench.Run(b.Context(), b.TempDir(), &out, bench.Options{Events: 100_000}); err != nil {
		b.Fatal(err)
	}
	line := regexp.MustCompile(`^bench store/\w+ value=[\d.]+ unit=\S+( ratio=\d+\.\d\d of=\w+)?( \w+=\w+)*$`)
	for l := range strings.Lines(out.String()) {
		b.Log(l)
		if !line.MatchString(strings.TrimSpace(l)) {
			b.Errorf("cannot be read by a script: %q", l)
		}
	}
}
