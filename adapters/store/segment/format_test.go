package segment

import (
	"bytes"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
)

func sample(t testing.TB) ([]byte, header) {
	t.Helper()
	h := header{LogID: [16]byte{1}, First: 7, Salt: newSalt(), Chain: es.Hash{2}, Root: es.Hash{3}, Created: 4}
	b := make([]byte, 0, 1024)
	var at slot
	var previous es.Hash
	for i := range 3 {
		e := es.NewEvent{ID: es.ID{byte(i + 1)}, Type: "a.said.v1", Data: []byte("data"), Meta: []byte("{}"), Subject: "peer/1"}
		b, at = encodeEvent(b, "a-1", &e)
		previous = at.fill(b, es.Position(7+i), es.Revision(i), time.Unix(9, int64(i)*1000), &previous)
	}
	return appendFrame(h.encode(), &h.Salt, frame{First: 7, Count: 3, Watermark: 7, Chain: es.Hash{5}, Events: b}), h
}

func TestEventsKeepTheirFields(t *testing.T) {
	t.Parallel()
	b, h := sample(t)
	got, err := decodeHeader(b)
	if err != nil || got != h {
		t.Fatalf("header %+v, %v; want %+v", got, err, h)
	}
	f, err := decodeFrame(b[headerBytes:], &h.Salt, headerBytes)
	if err != nil || f.First != 7 || f.Count != 3 || f.Watermark != 7 || f.Chain != (es.Hash{5}) || f.Size != int64(len(b)-headerBytes) {
		t.Fatalf("frame %+v, %v", f, err)
	}
	e, err := f.event(8)
	if err != nil {
		t.Fatal(err)
	}
	first, err := f.event(7)
	if err != nil {
		t.Fatal(err)
	}
	ev := e.event()
	if ev.Stream != "a-1" || ev.Revision != 1 || ev.Position != 8 || ev.ID != (es.ID{2}) || ev.Type != "a.said.v1" || string(ev.Data) != "data" ||
		string(ev.Meta) != "{}" || ev.Subject != "peer/1" || !ev.Recorded.Equal(time.Unix(9, 1000)) || ev.PrevInStream != leafHash(first.header) {
		t.Errorf("event %+v", ev)
	}
	if !e.committed() {
		t.Error("payload is not what the header commits to")
	}
	e.meta[saltBytes]++
	if e.committed() {
		t.Error("changed metadata still is what the header commits to")
	}
}

func TestSaltsAreNeverTheSame(t *testing.T) {
	t.Parallel()
	e := es.NewEvent{ID: es.ID{1}, Type: "a.said.v1", Data: []byte("same"), Meta: []byte("same")}
	seen := make(map[string]bool)
	for range 1000 {
		b, _ := encodeEvent(nil, "a-1", &e)
		s, _, err := cutEvent(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range [][]byte{s.dataCommitment, s.metaCommitment} {
			if seen[string(c)] {
				t.Fatal("the same content has the same commitment")
			}
			seen[string(c)] = true
		}
	}
}

func TestFrameIsBoundToItsPlace(t *testing.T) {
	t.Parallel()
	b, h := sample(t)
	if _, err := decodeFrame(b[headerBytes:], &h.Salt, headerBytes+8); err == nil {
		t.Error("a frame was accepted at another offset")
	}
	other := newSalt()
	if _, err := decodeFrame(b[headerBytes:], &other, headerBytes); err == nil {
		t.Error("a frame was accepted in another segment")
	}
}

func FuzzHeader(f *testing.F) {
	b, _ := sample(f)
	f.Add(b[:headerBytes])
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHeader(b)
		if err == nil && !bytes.Equal(h.encode(), b[:headerBytes]) {
			t.Error("a header is not what it encodes to")
		}
	})
}

func FuzzFrame(f *testing.F) {
	b, h := sample(f)
	f.Add(b[headerBytes:], true)
	f.Add(b[headerBytes:], false)
	f.Fuzz(func(_ *testing.T, b []byte, resum bool) {
		if len(b) < frameHead {
			return
		}
		if size, err := frameSize(b, int64(len(b))); err == nil && resum { // let it get past the checksum
			b = bytes.Clone(b)[:size]
			le.PutUint32(b[4:], new(address).frameCRC(&h.Salt, headerBytes, b[:frameCRCAt+le.Uint32(b)]))
		}
		fr, err := decodeFrame(b, &h.Salt, headerBytes)
		if err != nil {
			return
		}
		w := walk{next: fr.First, deep: true}
		w.before = func(es.Stream) (es.Revision, es.Hash, error) { return 0, es.Hash{}, nil }
		w.begin(fr.First)
		_ = w.step(fr, headerBytes)
		if e, err := fr.event(fr.First); err == nil {
			_ = e.event()
		}
	})
}

func FuzzEvent(f *testing.F) {
	b, _ := sample(f)
	f.Add(b[headerBytes+frameHead:])
	f.Fuzz(func(t *testing.T, b []byte) {
		e, rest, err := cutEvent(b)
		if err != nil {
			return
		}
		if len(rest) >= len(b) || len(e.event().Data)+saltBytes != len(e.dataSalted) {
			t.Error("an event does not add up")
		}
		e.committed()
	})
}
