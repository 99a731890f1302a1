package sqlite_test

import (
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"github.com/emet-node/emet/adapters/store/sqlite"
	"github.com/emet-node/emet/adapters/store/storetest"
	"github.com/emet-node/emet/domain/es"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	var paths sync.Map
	at := func(t testing.TB, path string) es.Store {
		s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		paths.Store(s, path)
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	open := func(t testing.TB) es.Store { return at(t, filepath.Join(t.TempDir(), "log.sqlite")) }
	storetest.Run(t, open, storetest.Reopening(func(t testing.TB, old es.Store) es.Store {
		path, _ := paths.Load(old)
		if err := old.(*sqlite.Store).Close(); err != nil {
			t.Fatal(err)
		}
		return at(t, path.(string))
	}))
}

func one(t *testing.T, s es.Store, name string) {
	t.Helper()
	_, err := s.Append(t.Context(), nil, es.Write{Stream: "a-1", Expected: es.Any, Events: []es.NewEvent{
		{ID: es.EventID("a-1", name, 0), Type: "a.said.v1", Data: []byte(`{"n":1}`), Meta: []byte(`{}`)},
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestOneProcessWritesAndOthersRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "odd #name?", "log.sqlite")
	s := open(t, path)
	one(t, s, "a")
	if _, err := sqlite.Open(t.Context(), path, sqlite.Options{}); !errors.Is(err, es.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	beside, err := sqlite.OpenReadOnly(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close() //nolint:errcheck // in a test
	size, root := s.Root()
	if n, r := beside.Root(); n != size || r != root || size != 1 || beside.LogID() != s.LogID() {
		t.Errorf("beside it: %d events, root %s; want %d, %s", n, r, size, root)
	}
	if _, err := beside.Append(t.Context(), nil, es.Write{Stream: "a-1", Expected: es.Any, Events: []es.NewEvent{{ID: es.ID{1}, Type: "x"}}}); !errors.Is(err, es.ErrDegraded) {
		t.Errorf("append to a store that is for reading: %v", err)
	}
	if _, err := sqlite.OpenReadOnly(t.Context(), path+"x"); err == nil {
		t.Error("a store that does not exist was opened for reading")
	}
}
