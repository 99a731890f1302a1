package segment_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/domain/es"
	proofs "github.com/emet-node/emet/domain/ledger"
)

// Leaves and entries, over many segments and from every place, are those of
// the events.
func TestLeavesAndEntriesAreThoseOfTheEvents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, small)
	const n = 300
	for i := 0; i < n; {
		events := make([]es.NewEvent, 1+i%5)
		for j := range events {
			events[j] = es.NewEvent{ID: es.EventID("a-1", "k", i+j), Type: "t.v1", Data: fmt.Appendf(nil, `{"n":%d}`, i+j), Meta: []byte(`{"key":"k"}`)}
		}
		if i%2 == 0 {
			events[0].Subject = "peer/1"
		}
		if _, err := s.Append(t.Context(), nil, es.Write{Stream: es.Stream(fmt.Sprint("a-", i%3)), Expected: es.Any, Events: events}); err != nil {
			t.Fatal(err)
		}
		i += len(events)
	}
	readOnly, err := segment.OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	for _, s := range []*segment.Store{s.Store, readOnly} {
		checkEvidence(t, s)
	}
}

func checkEvidence(t *testing.T, s *segment.Store) {
	t.Helper()
	ctx := t.Context()
	var leaves []es.Hash
	for e, err := range s.ReadAll(ctx, 0, es.Forward, es.Filter{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, e.Leaf)
		got, err := s.Entry(ctx, e.Position)
		if err != nil {
			t.Fatal(err)
		}
		commitment := func(salt, content []byte) string {
			h := sha256.Sum256(append(append([]byte{2}, salt...), content...))
			return string(h[:])
		}
		end := len(got.Header) - 2 - len(e.Subject)
		if es.Hash(rfc6962.DefaultHasher.HashLeaf(got.Header)) != e.Leaf || string(got.Data) != string(e.Data) || string(got.Meta) != string(e.Meta) ||
			string(got.Header[end-64:end-32]) != commitment(got.DataSalt, got.Data) || string(got.Header[end-32:end]) != commitment(got.MetaSalt, got.Meta) {
			t.Fatalf("entry of %d: %+v", e.Position, got)
		}
	}
	head := es.Position(len(leaves))
	for from := es.Position(0); from <= head; from += 13 {
		for _, to := range []es.Position{from, from + 1, from + 40, head, head + 5} {
			at := from
			for h, err := range s.LeafHashes(ctx, from, to) {
				if err != nil || h != leaves[at] {
					t.Fatalf("leaf %d of [%d, %d): %v", at, from, to, err)
				}
				at++
			}
			if want := max(from, min(to, head)); at != want {
				t.Errorf("[%d, %d) ends at %d", from, to, at)
			}
		}
	}
	if _, err := s.Entry(ctx, head); !errors.Is(err, proofs.ErrRange) {
		t.Errorf("beyond the end: %v", err)
	}
}
