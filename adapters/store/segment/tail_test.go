package segment

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestTheTailIsTheNewestBytes holds the tail against all that was ever written.
func TestTheTailIsTheNewestBytes(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	const begin = 4096 + 17
	all := make([]byte, begin)
	var kept tail
	for range 200 {
		b := make([]byte, r.IntN([]int{300, tailBytes / 3, 2 * tailBytes}[r.IntN(3)]))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		kept.keep(b, int64(len(all)))
		all = append(all, b...)
		for range 20 {
			off := max(begin, len(all)-r.IntN(tailBytes+100))
			got := bytes.Repeat([]byte{0xff}, 1+r.IntN(1000))
			if !kept.read(got, int64(off)) {
				if len(all)-off <= min(tailBytes, len(all)-begin) && off < len(all) {
					t.Fatalf("byte %d of %d is not kept", off, len(all))
				}
				continue
			}
			want := make([]byte, len(got))
			copy(want, all[off:])
			if !bytes.Equal(got, want) {
				t.Fatalf("%d bytes at %d of %d differ", len(got), off, len(all))
			}
		}
		if kept.read(make([]byte, 1), int64(len(all))-tailBytes-1) {
			t.Fatal("more is kept than there is room for")
		}
	}
	kept.drop()
	if kept.read(make([]byte, 1), int64(len(all))-1) {
		t.Error("something is left")
	}
}
