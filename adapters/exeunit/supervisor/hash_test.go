package supervisor

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheProgramsHashIsKept(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	want := hex.EncodeToString(sum[:])
	kept := filepath.Join(t.TempDir(), "hash")
	for range 2 {
		if got, err := ownHash(kept); err != nil || got != want {
			t.Fatalf("%q %v, want %q", got, err, want)
		}
	}
	// What was kept of another file, or broke off, is not believed.
	for _, text := range []string{"other\n" + strings.Repeat("0", 64), "", want, "\n" + want} {
		if err := os.WriteFile(kept, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ownHash(kept); err != nil || got != want {
			t.Errorf("beside %q: %q %v", text, got, err)
		}
	}
}
