package node

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatTheProcessTakesIsToldWhenItIsTooMuch(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	l := newLoad(slog.New(slog.NewTextHandler(&said, nil)))
	now := []use{{"process_files", 1, 0}, {"process_goroutines", 10, 20}, {"process_memory_bytes", 10, 20}}
	l.read = func() []use { return now }
	at := func(goroutines int64, hits int64) {
		t.Helper()
		now[1].used = goroutines
		l.look()
		if got := l.limits()[1]; got.Used != goroutines || got.Max != 20 || got.Refused != hits {
			t.Errorf("%+v, want %d hits", got, hits)
		}
	}
	at(20, 0)
	at(21, 1)
	at(22, 1) // told once
	at(5, 1)
	at(30, 2)
	if n := strings.Count(said.String(), "process_goroutines"); n != 2 || strings.Contains(said.String(), "process_files") {
		t.Errorf("said\n%s", said.String())
	}
}

func TestTheProcessIsMeasured(t *testing.T) {
	t.Parallel()
	for _, u := range newLoad(slog.New(slog.DiscardHandler)).limits() {
		if u.Used <= 0 || u.Name == "process_goroutines" && u.Max != maxGoroutines {
			t.Errorf("%+v", u)
		}
	}
}

func TestTheTightestMemoryBoundCounts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("own", "1:name=x:/other\n0::/a/b\n")
	bound := func() int64 { return memoryBound(filepath.Join(dir, "own"), filepath.Join(dir, "fs")) }
	if got := bound(); got != 0 {
		t.Errorf("without bounds: %d", got)
	}
	write("fs/a/b/memory.max", "max\n")
	write("fs/a/memory.max", "1000\n")
	if got := bound(); got != 600 {
		t.Errorf("bound around it: %d", got)
	}
	write("fs/a/b/memory.max", "500\n")
	if got := bound(); got != 300 {
		t.Errorf("own bound: %d", got)
	}
	if got := memoryBound(filepath.Join(dir, "none"), dir); got != 0 {
		t.Errorf("no control groups: %d", got)
	}
}
