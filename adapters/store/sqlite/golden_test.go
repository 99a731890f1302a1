package sqlite_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/emet-node/emet/adapters/store/sqlite"
	"github.com/emet-node/emet/domain/es"
)

var update = flag.Bool("update", false, "write the golden store of this format version, if it is missing")

const (
	goldenFile   = "testdata/v1/log.sqlite"
	goldenEvents = 24
	goldenRoot   = "934c049f2d649434229c6a2b45ca51cd774c8f97a788cc7b7fcc5d0a077aae2c"
)

func goldenEvent(i int) (es.Stream, es.NewEvent) {
	s := es.Stream(fmt.Sprintf("s-%d", i%3))
	e := es.NewEvent{ID: es.EventID(s, "golden", i), Type: "t.happened.v1", Data: fmt.Appendf(nil, `{"i":%d}`, i), Meta: []byte(`{"key":"k"}`)}
	if i%4 == 0 {
		e.Subject = "peer/0x1"
	}
	return s, e
}

// TestGoldenStoreGoesOn opens a copy of a store that an earlier build wrote:
// every event is as it was, keeps its hashes, and more can be appended. The file
// is never written again: what was evidence once stays evidence.
func TestGoldenStoreGoesOn(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(goldenFile); *update && err != nil {
		writeGolden(t)
	}
	path := filepath.Join(t.TempDir(), "log.sqlite")
	copied(t, goldenFile, path)
	for round := range 3 {
		s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
		if size, root := s.Root(); round == 0 && (size != goldenEvents || root.String() != goldenRoot) {
			t.Errorf("%d events, root %s", size, root)
		}
		n := 0
		for e, err := range s.ReadAll(t.Context(), 0, es.Forward, es.Filter{}, goldenEvents) {
			if err != nil {
				t.Fatal(err)
			}
			stream, want := goldenEvent(n)
			if e.Stream != stream || e.ID != want.ID || e.Type != want.Type || string(e.Data) != string(want.Data) ||
				string(e.Meta) != string(want.Meta) || e.Subject != want.Subject || e.Position != es.Position(n) || e.Revision != es.Revision(n/3) {
				t.Errorf("event %d: %+v", n, e)
			}
			n++
		}
		for i := range goldenEvents { // all of them again: they are there
			stream, e := goldenEvent(i)
			r, err := s.Append(t.Context(), nil, es.Write{Stream: stream, Expected: es.Any, Events: []es.NewEvent{e}})
			if err != nil || r.First != es.Position(i) {
				t.Fatalf("round %d, event %d: %+v, %v", round, i, r, err)
			}
		}
		one(t, s, fmt.Sprint("new ", round))
		if size, _ := s.Root(); n != goldenEvents || size != uint64(goldenEvents+round+1) { //nolint:gosec // small
			t.Errorf("round %d: %d of %d events", round, n, size)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func writeGolden(t *testing.T) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), goldenFile, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range goldenEvents {
		stream, e := goldenEvent(i)
		if _, err := s.Append(t.Context(), nil, es.Write{Stream: stream, Expected: es.Any, Events: []es.NewEvent{e}}); err != nil {
			t.Fatal(err)
		}
	}
	_, root := s.Root()
	t.Logf("goldenRoot = %q", root)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
