package supervisor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emet-node/emet/domain/activity/unit"
)

func TestAJournalOutgrowsItsRoom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := newJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	const events = 50
	for i := range events {
		e := j.append(unit.StateChanged{Reason: strings.Repeat("long ", 1000*(i%7))})
		j.durably(e.Seq, nil)
		if text, err := j.line(e.Seq); err != nil || text[len(text)-1] != '}' {
			t.Fatalf("line %d: %q %v", i, text, err)
		}
	}
	// What a killed process leaves: zeros behind the last line.
	if n := count(dir); n != events {
		t.Errorf("%d events are left of %d", n, events)
	}
	j.close()
	text, err := os.ReadFile(filepath.Join(dir, journalName))
	if err != nil || strings.Count(string(text), "\n") != events || strings.ContainsRune(string(text), 0) {
		t.Errorf("%d bytes, %d lines after the end: %v", len(text), strings.Count(string(text), "\n"), err)
	}
}

func TestABrokenLastLineIsLeftOut(t *testing.T) {
	t.Parallel()
	whole := `{"seq":0,"at":"2026-01-01T00:00:00Z","kind":"state_changed","body":{"state":"Ready"}}` + "\n"
	for _, rest := range []string{"", whole[:20], whole[:20] + "\x00\x00\x00", "\x00\x00", "\x00\x00\n" + whole, whole[:20] + "\x00\x00\n"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, journalName), []byte(whole+rest), 0o600); err != nil {
			t.Fatal(err)
		}
		if n := count(dir); n != 1 {
			t.Errorf("%q: %d events, want 1", rest, n)
		}
	}
}

func count(dir string) (n int) {
	for range leftover(dir, -1) {
		n++
	}
	return n
}
