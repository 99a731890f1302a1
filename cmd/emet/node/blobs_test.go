package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/projections/story/storytest"
)

// Blobs are looked for in all segments, also where an index is wrong, and each
// once, by the first fact that names it.
func TestBlobsAreLookedForInTheWholeLog(t *testing.T) {
	t.Parallel()
	o := Options{Dir: t.TempDir(), SegmentBytes: 64 << 10}
	l, err := OpenLedger(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	name := func(n string, sum string) {
		m := es.Meta{Key: n, Actor: es.ActorEffect}
		if _, err := l.Log.Append(t.Context(), m, nil, es.Facts{Stream: es.Stream("tx-1-" + n), Expected: es.Any, Facts: []any{tx.ProofKept{Blob: sum}}}); err != nil {
			t.Fatal(err)
		}
	}
	kept, _, err := l.Blobs.Put(strings.NewReader("kept"))
	if err != nil {
		t.Fatal(err)
	}
	lost := strings.Repeat("ab", 32)
	name("a", lost)
	w, err := storytest.NewWorld(t.Context(), l.Log)
	if err == nil {
		err = w.Deals(t.Context(), 0, 40, func(int) storytest.Stage { return storytest.Stage(0) })
	}
	if err != nil {
		t.Fatal(err)
	}
	name("b", kept)
	name("c", lost)
	name("d", "no address")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	indexes, err := filepath.Glob(filepath.Join(o.Dir, "store", "seg", "*.idx"))
	if err != nil || len(indexes) == 0 {
		t.Fatalf("indexes %v, %v", indexes, err)
	}
	for _, wrong := range []bool{false, true} {
		if wrong {
			for _, path := range indexes {
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				for at := 100; at < len(b); at += 1000 {
					b[at] ^= 1
				}
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		r, err := VerifyBlobs(t.Context(), Options{Dir: o.Dir}, true)
		if err != nil || r.Blobs != 3 || r.Unreadable != 0 || len(r.Bad) != 2 {
			t.Fatalf("indexes wrong %v: %+v, %v", wrong, r, err)
		}
		if b := r.Bad[0]; b.SHA256 != lost || !b.Missing || b.By == nil || b.By.Stream != "tx-1-a" || b.By.Data != nil {
			t.Errorf("%+v", b)
		}
		if b := r.Bad[1]; b.SHA256 != "no address" || !b.Missing || b.File != "" || b.By == nil {
			t.Errorf("%+v", b)
		}
	}
	if r, err := VerifyBlobs(t.Context(), Options{Dir: o.Dir}, false); err != nil || r.Blobs != 1 || len(r.Bad) != 0 {
		t.Errorf("of those that are there: %+v, %v", r, err)
	}
}
