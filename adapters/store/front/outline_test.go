package front

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/leaf"
	"github.com/emet-node/emet/domain/es"
)

// rowsOf are some rows of two streams, as a table has them.
func rowsOf(n int) (out []Row, x *index) {
	x = newIndex()
	for i := range n {
		id := sha256.Sum256([]byte{byte(i)})
		r := Row{Event: es.Event{
			NewEvent: es.NewEvent{ID: es.ID(id[:16])}, Stream: es.Stream([]string{"agreement-R-1", "bill-R-2"}[i%2]),
			Position: es.Position(i), Leaf: es.Hash(sha256.Sum256(id[:])), Recorded: time.UnixMicro(int64(i)).UTC(),
		}}
		out = append(out, r)
		x.put(&r)
		x.lines[r.Stream].leaf = r.Leaf
		x.tree.Add(r.Leaf)
	}
	return out, x
}

// The file says the same as the table that it stands for.
func TestTheOutlineIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "outline")
	rows, want := rowsOf(10)
	o := newOutline(path, [16]byte{1})
	o.note(rows, want)
	o.write(want)
	got := newIndex()
	at := newOutline(path, [16]byte{1})
	if recorded := at.load(got); !recorded.Equal(rows[9].Recorded) {
		t.Errorf("recorded %v, want %v", recorded, rows[9].Recorded)
	}
	if got.next != want.next || got.tree.Root() != want.tree.Root() || len(got.lines) != 2 || len(got.ids) != 10 {
		t.Errorf("next %d, %d lines, %d ids", got.next, len(got.lines), len(got.ids))
	}
	if other := newIndex(); !newOutline(path, [16]byte{2}).load(other).IsZero() || other.next != 0 {
		t.Error("the outline of another log is believed")
	}
}

// Whatever lies in the file, loading ends, and what it leaves is an index that
// adds up or one that is refused.
func FuzzOutline(f *testing.F) {
	rows, x := rowsOf(10)
	o := newOutline("-", [16]byte{})
	o.pending = rows
	f.Add(o.encode(x))
	f.Add([]byte{})
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, chunk []byte) {
		b := append([]byte(outlineMagic), make([]byte, 16)...)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(chunk)))
		b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(chunk, castagnoli))
		file, err := os.CreateTemp(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.Remove(file.Name()) //nolint:errcheck // in a directory that goes
		if _, err := file.Write(append(b, chunk...)); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		got := newIndex()
		newOutline(file.Name(), [16]byte{}).load(got)
		if uint64(got.next) != got.tree.Size {
			return // it is refused
		}
		total := 0
		for s, l := range got.lines {
			total += len(l.positions)
			if len(l.positions) == 0 || l.positions[len(l.positions)-1] >= got.next {
				t.Errorf("%q has positions %v of %d events", s, l.positions, got.next)
			}
		}
		if total != int(got.next) || got.tree.Root() == (es.Hash{}) && got.next > 0 {
			t.Errorf("%d events in streams, %d in all", total, got.next)
		}
		if _, ok := leaf.EdgeOf(got.tree.Size, got.tree.Roots()); !ok {
			t.Error("the tree has the edge of another size")
		}
	})
}
