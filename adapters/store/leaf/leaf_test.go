package leaf_test

import (
	"bytes"
	"testing"

	"github.com/emet-node/emet/adapters/store/leaf"
	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/domain/es"
)

// The engine of record says what a leaf is.
func TestLeavesAreThoseOfTheSegmentLog(t *testing.T) {
	t.Parallel()
	s, err := segment.Open(t.TempDir(), segment.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // in a test
	for i, e := range []es.NewEvent{
		{Type: "a.said.v1", Data: []byte(`{"a":1}`), Meta: []byte(`{"key":"k"}`)},
		{Type: "a.bare.v1"},
		{Type: "a.sealed.v1", Data: []byte{0, 255}, Subject: "peer/0x1"},
	} {
		e.ID = es.EventID("a-ü", "k", i)
		if _, err := s.Append(t.Context(), nil, es.Write{Stream: "a-ü", Expected: es.Any, Events: []es.NewEvent{e}}); err != nil {
			t.Fatal(err)
		}
	}
	for e, err := range s.ReadAll(t.Context(), 0, es.Forward, es.Filter{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		entry, err := s.Entry(t.Context(), e.Position)
		if err != nil {
			t.Fatal(err)
		}
		salts, ok := leaf.ParseSalts(append(entry.DataSalt, entry.MetaSalt...))
		if !ok || !bytes.Equal(leaf.Header(&e, salts), entry.Header) || leaf.Hash(entry.Header) != e.Leaf {
			t.Errorf("position %d: header\n%x, want\n%x", e.Position, leaf.Header(&e, salts), entry.Header)
		}
	}
}

func TestSaltsAreReadBack(t *testing.T) {
	t.Parallel()
	a, b := leaf.Fresh(), leaf.Fresh()
	if got, ok := leaf.ParseSalts(a.Bytes()); !ok || got != a || a == b || a.Data == a.Meta {
		t.Errorf("%x, %x, %x", a, b, got)
	}
	if _, ok := leaf.ParseSalts(nil); ok {
		t.Error("no salts are none")
	}
}
