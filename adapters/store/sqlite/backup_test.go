package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/archive"
	"github.com/emet-node/emet/adapters/store/sqlite"
	"github.com/emet-node/emet/domain/es"
)

func grown(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for i := range 20 {
		more(t, s, i)
	}
	return s
}

func more(t *testing.T, s *sqlite.Store, i int) {
	t.Helper()
	e := es.NewEvent{ID: es.EventID("a-1", "k", i), Type: "t.v1", Data: fmt.Appendf(nil, `{"i":%d}`, i), Meta: []byte("{}")}
	if _, err := s.Append(t.Context(), nil, es.Write{Stream: "a-1", Expected: es.Any, Events: []es.NewEvent{e}}); err != nil {
		t.Fatal(err)
	}
}

func TestABackupIsWhatWasThereAndBecomesALogOfItsOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "log.sqlite")
	s := grown(t, path)
	size, root := s.Root()
	target := filepath.Join(t.TempDir(), "b") + "/"
	m, err := sqlite.Backup(t.Context(), path, dir, target, time.Now(), nil, nil)
	if err != nil || m.Events != size || m.Root != root.String() || m.Format != archive.Format1 {
		t.Fatalf("%+v, %v", m, err)
	}
	more(t, s, 99) // after it
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Clean(target)), ".emet-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	to := filepath.Join(t.TempDir(), "store")
	r, err := sqlite.Restore(t.Context(), target, to, time.Now(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := sqlite.Open(t.Context(), filepath.Join(to, "log.sqlite"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close() //nolint:errcheck // in a test
	if n, got := again.Root(); n != size || got != root || again.LogID() != r.NewLogID || again.LogID() == s.LogID() {
		t.Errorf("%d events, %s, log %x", n, got, again.LogID())
	}
	more(t, again, 100)
}

func TestABackupThatIsNotWhatItPromisesIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "log.sqlite")
	grown(t, path)
	for name, spoil := range map[string]func(dir string) error{
		"a bit": func(dir string) error {
			name := filepath.Join(dir, "log.sqlite")
			b, err := os.ReadFile(name)
			if err == nil {
				i := len(b) - 300
				b[i] ^= 1
				err = os.WriteFile(name, b, 0o600)
			}
			return err
		},
		"no file":   func(dir string) error { return os.Remove(filepath.Join(dir, "log.sqlite")) },
		"manifest":  func(dir string) error { return os.Remove(filepath.Join(dir, "BACKUP")) },
		"more":      func(dir string) error { return os.WriteFile(filepath.Join(dir, "more"), nil, 0o600) },
		"secrets":   func(dir string) error { return os.WriteFile(filepath.Join(dir, "news.json"), nil, 0o600) },
		"other log": func(dir string) error { return nil },
	} {
		target := filepath.Join(t.TempDir(), "b") + "/"
		if _, err := sqlite.Backup(t.Context(), path, dir, target, time.Now(), nil, nil); err != nil {
			t.Fatal(err)
		}
		if err := spoil(target); err != nil {
			t.Fatal(err)
		}
		if name == "other log" {
			b, err := os.ReadFile(filepath.Join(target, "BACKUP"))
			if err != nil {
				t.Fatal(err)
			}
			b = []byte(string(b[:len(b)-10]) + "0" + string(b[len(b)-9:])) // of the root
			if err := os.WriteFile(filepath.Join(target, "BACKUP"), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		to := filepath.Join(t.TempDir(), "store")
		if _, err := sqlite.Restore(context.Background(), target, to, time.Now(), nil, nil); err == nil {
			t.Errorf("%s: it was restored", name)
		} else if !errors.Is(err, archive.ErrNoBackup) && !errors.Is(err, es.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(to); err == nil {
			t.Errorf("%s: half a store is left", name)
		}
	}
}
