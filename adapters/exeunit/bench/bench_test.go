package bench_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/emet-node/emet/adapters/exeunit/bench"
)

func TestBenchSaysOneLine(t *testing.T) {
	var b bytes.Buffer
	if err := bench.Bench(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); !strings.HasPrefix(s, "bench exeunit/wasm_vs_native value=") || !strings.Contains(s, "same_output=true") || strings.Count(s, "\n") != 1 {
		t.Errorf("%q", s)
	}
	t.Log(b.String())
}
