package segment

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/emet-node/emet/domain/es"
)

var update = flag.Bool("update", false, "write the golden store of this format version, if it is missing")

const (
	goldenDir  = "testdata/v1"
	goldenRoot = "cfba1019d9e19c8988031d1495d5ed2301bebe066f25c4bc5bef29a0d172456d"
)

func goldenEvent(i int) (es.Stream, es.NewEvent) {
	s := es.Stream(fmt.Sprintf("s-%d", i%3))
	e := es.NewEvent{ID: es.EventID(s, "golden", i), Type: "t.happened.v1", Data: fmt.Appendf(nil, `{"i":%d}`, i), Meta: []byte(`{"key":"k"}`)}
	if i%4 == 0 {
		e.Subject = "peer/0x1"
	}
	return s, e
}

const goldenEvents = 24

// TestGoldenStoreGoesOn copies a store that an earlier build wrote, writes on
// and takes it up again: indexes are made, the old events keep their hashes.
func TestGoldenStoreGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(goldenDir)); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		s, err := Open(dir, Options{SegmentBytes: 8 << 10})
		if err != nil {
			t.Fatal(err)
		}
		for i := range goldenEvents { // all of them again: they are there
			stream, e := goldenEvent(i)
			r, err := s.Append(t.Context(), nil, es.Write{Stream: stream, Expected: es.Any, Events: []es.NewEvent{e}})
			if err != nil || r.First != es.Position(i) {
				t.Fatalf("round %d, event %d: %+v, %v", round, i, r, err)
			}
		}
		for i := range 20 {
			stream, e := goldenEvent(1000*(round+1) + i)
			if _, err := s.Append(t.Context(), nil, es.Write{Stream: stream, Expected: es.Any, Events: []es.NewEvent{e}}); err != nil {
				t.Fatal(err)
			}
		}
		var old tree
		for h, err := range s.LeafHashes(t.Context(), 0, goldenEvents) {
			if err != nil {
				t.Fatal(err)
			}
			old.Add(h)
		}
		if old.Root().String() != goldenRoot {
			t.Errorf("round %d: the old events have the root %s", round, old.Root())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	report, err := Verify(dir)
	if err != nil || len(report.Damage) > 0 || len(report.WrongIndexes) > 0 || report.Events != goldenEvents+60 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestGoldenStoreIsReadable opens a store that an earlier build wrote. Its
// files are never written again: what was evidence once stays evidence.
func TestGoldenStoreIsReadable(t *testing.T) {
	t.Parallel()
	if *update {
		writeGolden(t)
	}
	report, err := Verify(goldenDir)
	if err != nil || len(report.Damage) > 0 || report.Events != goldenEvents || report.Segments < 2 || report.Root.String() != goldenRoot {
		t.Fatalf("%+v, %v", report, err)
	}
	s, err := OpenReadOnly(goldenDir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // read only
	n := 0
	for e, err := range s.ReadAll(t.Context(), 0, es.Forward, es.Filter{}, 0) {
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
	if n != goldenEvents {
		t.Errorf("%d events, want %d", n, goldenEvents)
	}
}

func writeGolden(t *testing.T) {
	t.Helper()
	s, err := Open(goldenDir, Options{SegmentBytes: 8 << 10})
	if err != nil {
		t.Fatal(err)
	}
	for i := range goldenEvents {
		stream, e := goldenEvent(i)
		if _, err := s.Append(t.Context(), nil, es.Write{Stream: stream, Expected: es.Any, Events: []es.NewEvent{e}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
