package evidence

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/emet-node/emet/adapters/ledger/dossier"
)

var update = flag.Bool("update", false, "write the seeds of the fuzz targets anew")

// The seeds that both verifiers are fuzzed with are dossiers of every kind:
// both sides, and each way in which the other party contradicts itself. They
// are read as they were when they were written.
func TestSeedsAreWhatTheyWere(t *testing.T) {
	t.Parallel()
	for i, kind := range []string{"forked", "later", "rolled-back"} {
		w := newWorld(uint64(i), smallest, conflicting(kind)) //nolint:gosec // small
		name := fmt.Sprintf("%s-%s.dossier", kind, w.side)
		var first []byte
		for _, dir := range []string{"../../adapters/ledger/dossier/testdata", "../../verifier/testdata"} {
			path := filepath.Join(dir, name)
			if *update {
				if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // part of the source
					t.Fatal(err)
				}
				if err := os.WriteFile(path, encode(t, w.build().Dossier), 0o644); err != nil { //nolint:gosec // part of the source
					t.Fatal(err)
				}
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if first != nil && !bytes.Equal(first, b) {
				t.Errorf("%s is another", path)
			}
			first = b
		}
		if r := w.opinion(t, name, first); r.Verdict() != dossier.Proved {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// Both verifiers say the same about anything.
func FuzzBothSayTheSame(f *testing.F) {
	files, err := filepath.Glob("../../verifier/testdata/*.dossier")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		d, err := dossier.Parse(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, d.Checkpoint, []byte("x"), 3, 1)
		for i, e := range d.Events {
			if i%7 == 0 {
				f.Add(b, d.Checkpoint, e.Header, i, 0)
			}
		}
		f.Add(b, d.Conflicts[0].First, d.Conflicts[0].Message, 0, 2)
	}
	f.Fuzz(func(t *testing.T, b []byte, note string, raw []byte, at, what int) {
		d, err := dossier.Parse(b)
		if err != nil || len(d.Events) == 0 {
			opinion(t, "raw", b, parties[0].id)
			return
		}
		at = max(at, 0) % len(d.Events)
		switch what {
		case 0:
			d.Events[at].Header = raw
		case 1:
			d.Events[at].DataSalt, d.Events[at].Bytes = raw, nil
		case 2:
			d.Conflicts = append(d.Conflicts, dossier.Conflict{First: note, Kind: "forked", Message: raw, Second: note})
		default:
			d.Checkpoint = note
		}
		out, err := d.Encode()
		if err != nil {
			return
		}
		for _, p := range parties {
			opinion(t, "changed", out, p.id)
		}
	})
}
