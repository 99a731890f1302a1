package script_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/activity/script"
)

func kept(k *script.Keeper) (all []byte) {
	for _, p := range k.Rest() {
		all = append(all, p.Bytes...)
	}
	return all
}

func TestRingOfFiveBytes(t *testing.T) {
	t.Parallel()
	k := script.NewKeeper(&script.Capture{Part: script.Tail, Limit: 5}, 100)
	for _, step := range []struct{ write, want []byte }{
		{[]byte{0}, []byte{0}},
		{[]byte{1, 2, 3, 4}, []byte{0, 1, 2, 3, 4}},
		{[]byte{5}, []byte{1, 2, 3, 4, 5}},
		{[]byte{0, 0, 0}, []byte{4, 5, 0, 0, 0}},
		{[]byte{6, 7, 8, 9, 10, 11, 12, 13, 14}, []byte{10, 11, 12, 13, 14}},
	} {
		k.Write(step.write)
		if d := cmp.Diff(step.want, kept(k)); d != "" {
			t.Error(d)
		}
	}
}

func TestHeadAndHeadTail(t *testing.T) {
	t.Parallel()
	for part, want := range map[script.Part][]byte{script.Head: {0, 1, 2, 3, 4}, script.HeadTail: {0, 1, 2, 9, 10}} {
		k := script.NewKeeper(&script.Capture{Part: part, Limit: 5}, 100)
		for _, w := range [][]byte{{0}, {1}, {2, 3, 4, 5, 6, 7, 8, 9, 10}} {
			k.Write(w)
		}
		if d := cmp.Diff(want, kept(k)); d != "" {
			t.Errorf("%s: %s", part, d)
		}
	}
}

// A slow model: keep everything, then cut.
func TestKeeperAgreesWithKeepingEverything(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := script.Capture{
			Part:  rapid.SampledFrom([]script.Part{script.All, script.Head, script.Tail, script.HeadTail}).Draw(t, "part"),
			Limit: rapid.Int64Range(0, 20).Draw(t, "limit"),
			Live:  rapid.Bool().Draw(t, "live"),
		}
		most := rapid.Int64Range(0, 16).Draw(t, "max")
		k := script.NewKeeper(&c, most)
		var all []byte
		got := map[int64]byte{}
		take := func(p script.Piece) {
			for i, b := range p.Bytes {
				if _, twice := got[p.Offset+int64(i)]; twice {
					t.Fatalf("byte %d comes twice", p.Offset+int64(i))
				}
				got[p.Offset+int64(i)] = b
			}
		}
		for _, w := range rapid.SliceOf(rapid.SliceOfN(rapid.Byte(), 0, 12)).Draw(t, "writes") {
			all = append(all, w...)
			take(k.Write(w))
		}
		for _, p := range k.Rest() {
			take(p)
		}
		limit := min(c.Limit, most)
		head := map[script.Part]int64{script.All: most - most/2, script.Head: limit, script.HeadTail: limit - limit/2}[c.Part]
		tail := map[script.Part]int64{script.All: most / 2, script.Tail: limit, script.HeadTail: limit / 2}[c.Part]
		want := map[int64]byte{}
		for i, b := range all {
			if int64(i) < head || int64(i) >= int64(len(all))-tail {
				want[int64(i)] = b
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	})
}

func TestNothingIsKeptWithoutCapture(t *testing.T) {
	t.Parallel()
	k := script.NewKeeper(nil, 100)
	if p := k.Write(bytes.Repeat([]byte("x"), 10)); len(p.Bytes)+len(kept(k)) != 0 {
		t.Error("a discarded stream was kept")
	}
}
