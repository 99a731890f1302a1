package node

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFreeMemory(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"MemTotal:       24000000 kB\nMemFree:         1000000 kB\nMemAvailable:   12345678 kB\n": 12345678 << 10,
		"MemTotal:       24000000 kB\n": 0,
		"MemAvailable:   plenty kB\n":   0,
		"":                              0,
	} {
		name := filepath.Join(t.TempDir(), "meminfo")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := freeMemory(name); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	if got := freeMemory(filepath.Join(t.TempDir(), "none")); got != 0 {
		t.Errorf("without a file: %d", got)
	}
}
