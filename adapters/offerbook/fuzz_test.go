package offerbook

import (
	"bytes"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/peer"
)

// fixed is an offer with the same bytes whenever it is made.
func fixed(n int) peer.Offer {
	o := offer(n, other, good, "()")
	o.Created, o.Expires = time.Unix(1_795_000_000, 0).UTC(), time.Unix(1_795_003_600, 0).UTC()
	return withID(n, o)
}

// Whatever a snapshot holds, the book opens, and what it took of it is there
// again after the next one.
func FuzzSnapshot(f *testing.F) {
	now := time.Unix(1_795_000_060, 0)
	b := New(Options{})
	for n := range 3 {
		if err := b.add(fixed(n), false, now); err != nil {
			f.Fatal(err)
		}
	}
	if err := b.Remove(fixed(2).ID, other); err != nil {
		f.Fatal(err)
	}
	var whole bytes.Buffer
	if err := write(&whole, b.lines()); err != nil {
		f.Fatal(err)
	}
	f.Add(whole.Bytes())
	f.Add(whole.Bytes()[:whole.Len()/2])
	f.Add([]byte(`{"gone":"a","owner":"` + other + `","until":"2999-01-01T00:00:00Z"}` + "\nnull\n[]\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		first, second := New(Options{}), New(Options{})
		first.read(bytes.NewReader(content), now)
		var saved bytes.Buffer
		if err := write(&saved, first.lines()); err != nil {
			t.Fatal(err)
		}
		second.read(&saved, now)
		if a, b := len(first.lines()), len(second.lines()); a != b {
			t.Errorf("%d lines were saved, %d came back", a, b)
		}
	})
}
