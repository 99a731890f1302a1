package segment

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/bits"
	"sort"
	"sync"

	"github.com/emet-node/emet/adapters/store/leaf"
	"github.com/emet-node/emet/domain/es"
)

// The index of a sealed segment is a file of pages of 4096 bytes, the last four
// of each a CRC-32C over the segment's salt, the number of the page and the
// rest of it. It is derived from the segment and may be deleted. Page 0 is
//
//	magic "EMETIDX1" · version u16 · zero u16 · edge u32 · log id 16 · first position u64 · salt 16 ·
//	events u64 · frames u64 · streams u64 · end of the data u64 · last recorded unix ns u64 ·
//	chain at the end 32 · edge × 32, the right edge of the tree there
//
// and these follow, each from a page of its own: filter of ids, filter of
// streams, first entries of the pages of frames, ids and streams, then frames, ids,
// streams, and the places of each stream's events.
const (
	indexMagic   = "EMETIDX1"
	indexVersion = 1
	indexSuffix  = ".idx"
	indexHead    = 128
	pagePayload  = pageBytes - 4

	placeBytes  = 8  // rel u32 · offset u32
	idBytes     = 12 // hash u64 · rel u32
	streamBytes = 64 // digest 16 · first revision u64 · events u32 · first place u32 · leaf 32
	fenceBytes  = 8
	blockBytes  = 64 // of a filter

	noEnd = es.Position(math.MaxUint64)
)

// errIndex says that an index is not what was written. It can be made anew.
var errIndex = errors.New("index is damaged")

// summary is the first page of an index: where the log stands at the end of
// the segment.
type summary struct {
	header                         // the segment's, but for Chain, Root and Created
	events, frames, streams uint64 // how many
	end                     int64  // of the data in the segment
	recorded                int64  // of the last event, unix ns
	chain                   es.Hash
	tree                    tree
}

// layout says on which page each section begins.
type layout struct {
	idFilter, streamFilter, fences, frames, ids, streams, postings, end uint64
	frameFences, idFences, streamFences                                 uint64 // pages of each
}

func pagesFor(n uint64, size uint64) uint64 {
	per := pagePayload / size
	return (n + per - 1) / per
}

func blocksFor(n uint64) uint64 { return max((n+31)/32, 1) }

func (s *summary) layout() (l layout) {
	l.frameFences, l.idFences, l.streamFences = pagesFor(s.frames, placeBytes), pagesFor(s.events, idBytes), pagesFor(s.streams, streamBytes)
	l.idFilter = 1
	l.streamFilter = l.idFilter + pagesFor(blocksFor(s.events), blockBytes)
	l.fences = l.streamFilter + pagesFor(blocksFor(s.streams), blockBytes)
	l.frames = l.fences + pagesFor(l.frameFences+l.idFences+l.streamFences, fenceBytes)
	l.ids = l.frames + l.frameFences
	l.streams = l.ids + l.idFences
	l.postings = l.streams + l.streamFences
	l.end = l.postings + pagesFor(s.events, placeBytes)
	return l
}

func (s *summary) encode() []byte {
	b := make([]byte, indexHead, pageBytes)
	copy(b, indexMagic)
	le.PutUint16(b[8:], indexVersion)
	edge := s.tree.Roots()
	le.PutUint32(b[12:], uint32(len(edge)))
	copy(b[16:], s.LogID[:])
	le.PutUint64(b[32:], uint64(s.First))
	copy(b[40:], s.Salt[:])
	for i, n := range []uint64{s.events, s.frames, s.streams, uint64(s.end), uint64(s.recorded)} {
		le.PutUint64(b[56+8*i:], n)
	}
	copy(b[96:], s.chain[:])
	for i := range edge {
		b = append(b, edge[i][:]...)
	}
	return b
}

// decodeSummary reads the first page of the index of a segment.
func decodeSummary(b []byte, h header) (s summary, err error) {
	bad := func(what string) error { return fmt.Errorf("%w: %s", errIndex, what) }
	edge := uint64(le.Uint32(b[12:]))
	switch {
	case string(b[:8]) != indexMagic || le.Uint16(b[8:]) != indexVersion || le.Uint16(b[10:]) != 0:
		return s, bad("its version is not known to this build")
	case [16]byte(b[16:]) != h.LogID || es.Position(le.Uint64(b[32:])) != h.First || [16]byte(b[40:]) != h.Salt:
		return s, bad("it is of another segment")
	case edge > 64:
		return s, bad("its tree has an impossible edge")
	}
	s.header = h
	s.events, s.frames, s.streams = le.Uint64(b[56:]), le.Uint64(b[64:]), le.Uint64(b[72:])
	s.end, s.recorded = int64(le.Uint64(b[80:])), int64(le.Uint64(b[88:]))
	copy(s.chain[:], b[96:])
	if s.events > math.MaxUint32 || s.frames > s.events || s.streams > s.events {
		return s, bad("it counts more than a segment can hold")
	}
	roots := make([]es.Hash, edge)
	for i := range roots {
		roots[i] = es.Hash(b[indexHead+32*i:])
	}
	var fits bool
	if s.tree, fits = leaf.EdgeOf(uint64(h.First)+s.events, roots); !fits {
		return s, bad("its tree has the edge of another size")
	}
	return s, nil
}

// page is one page of an index, kept while a reader goes on.
type page struct {
	of  *sealed // nil = none
	n   uint64
	buf [pageBytes]byte
}

var pages = sync.Pool{New: func() any { return &page{} }}

// sealed is the table of a sealed segment: a few bytes an event in memory, the
// rest is read when it is needed.
type sealed struct {
	summary
	lay   layout
	file  io.ReaderAt
	close func() error
	name  string

	idFilter, streamFilter           []byte // with the pages' checksums
	frameFence, idFence, streamFence []uint64
}

func pageSum(salt *[16]byte, n uint64, payload []byte) uint32 {
	var place [20]byte
	copy(place[:], salt[:])
	le.PutUint32(place[16:], uint32(n))
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, payload)
}

// openSealed reads what is kept in memory of an index and checks it.
func openSealed(f io.ReaderAt, size int64, name string, h header) (*sealed, error) {
	x := &sealed{summary: summary{header: h}, file: f, name: name}
	p := pages.Get().(*page) //nolint:forcetypeassert // the pool holds nothing else
	defer pages.Put(p)
	p.of = nil
	b, err := x.read(0, p)
	if err != nil {
		return nil, err
	}
	if x.summary, err = decodeSummary(b, h); err != nil {
		return nil, err
	}
	x.lay = x.layout()
	if size != int64(x.lay.end)*pageBytes {
		return nil, fmt.Errorf("%w: it has %d bytes, want %d", errIndex, size, x.lay.end*pageBytes)
	}
	memory := make([]byte, (x.lay.frames-1)*pageBytes)
	if err := readFull(f, memory, pageBytes); err != nil {
		return nil, err
	}
	for i := range x.lay.frames - 1 {
		if err := x.check(i+1, memory[i*pageBytes:][:pageBytes]); err != nil {
			return nil, err
		}
	}
	x.idFilter = memory[:(x.lay.streamFilter-1)*pageBytes]
	x.streamFilter = memory[(x.lay.streamFilter-1)*pageBytes : (x.lay.fences-1)*pageBytes]
	fences := memory[(x.lay.fences-1)*pageBytes:]
	take := func(from, n uint64) []uint64 {
		out := make([]uint64, n)
		for i := range out {
			out[i] = le.Uint64(entry(fences, from+uint64(i), fenceBytes))
		}
		return out
	}
	x.frameFence = take(0, x.lay.frameFences)
	x.idFence = take(x.lay.frameFences, x.lay.idFences)
	x.streamFence = take(x.lay.frameFences+x.lay.idFences, x.lay.streamFences)
	return x, nil
}

func readFull(f io.ReaderAt, b []byte, off int64) error {
	n, err := f.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it is cut off", errIndex)
	}
	return fmt.Errorf("index %w: %w", errRead, err)
}

// entry returns the i-th entry of a section that begins with b.
func entry(b []byte, i, size uint64) []byte {
	per := pagePayload / size
	return b[i/per*pageBytes+i%per*size:][:size]
}

func (x *sealed) check(n uint64, b []byte) error {
	if le.Uint32(b[pagePayload:]) != pageSum(&x.Salt, n, b[:pagePayload]) {
		return fmt.Errorf("%w: %s, page %d", errIndex, x.name, n)
	}
	return nil
}

// read returns page n. It stays in p.
func (x *sealed) read(n uint64, p *page) ([]byte, error) {
	if p.of == x && p.n == n {
		return p.buf[:pagePayload], nil
	}
	p.of = nil
	if err := readFull(x.file, p.buf[:], int64(n)*pageBytes); err != nil {
		return nil, fmt.Errorf("%s: %w", x.name, err)
	}
	if err := x.check(n, p.buf[:]); err != nil {
		return nil, err
	}
	p.of, p.n = x, n
	return p.buf[:pagePayload], nil
}

// at returns entry i of the section that begins on a page.
func (x *sealed) at(section, i, size uint64, p *page) ([]byte, error) {
	per := pagePayload / size
	b, err := x.read(section+i/per, p)
	if err != nil {
		return nil, err
	}
	return b[i%per*size:][:size], nil
}

func borrowed(do func(p *page) error) error {
	p := pages.Get().(*page) //nolint:forcetypeassert // the pool holds nothing else
	defer pages.Put(p)
	p.of = nil
	return do(p)
}

func (x *sealed) posting(i int, near *page) (place, error) {
	b, err := x.at(x.lay.postings, uint64(i), placeBytes, near)
	if err != nil {
		return place{}, err
	}
	return place{le.Uint32(b), le.Uint32(b[4:])}, nil
}

func (x *sealed) frame(rel uint32) (off int64, err error) {
	n := sort.Search(len(x.frameFence), func(i int) bool { return x.frameFence[i] > uint64(rel) }) - 1
	if n < 0 {
		return 0, fmt.Errorf("%w: %s has no event %d", errIndex, x.name, rel)
	}
	err = borrowed(func(p *page) error {
		b, err := x.read(x.lay.frames+uint64(n), p)
		if err != nil {
			return err
		}
		const per = pagePayload / placeBytes
		count := int(min(per, x.frames-uint64(n)*per))
		i := sort.Search(count, func(i int) bool { return le.Uint32(b[i*placeBytes:]) > rel }) - 1
		if i < 0 {
			return fmt.Errorf("%w: %s is not in order", errIndex, x.name)
		}
		off = int64(le.Uint32(b[i*placeBytes+4:])) * frameAlign
		return nil
	})
	return off, err
}

func (x *sealed) mayHoldID(h uint64) bool { return mayHold(x.idFilter, blocksFor(x.events), h) }

func (x *sealed) byID(h uint64, found []uint32) ([]uint32, error) {
	if !x.mayHoldID(h) {
		return found, nil
	}
	err := x.search(x.idFence, h, x.lay.ids, x.events, idBytes, func(b []byte) (after, match bool) {
		got := le.Uint64(b)
		if got == h {
			found = append(found, le.Uint32(b[8:]))
		}
		return got > h, false
	})
	return found, err
}

// search visits the entries of a sorted section that may have the number h in
// front, until visit says that it is past them or has its match.
func (x *sealed) search(fence []uint64, h, section, count, size uint64, visit func(b []byte) (after, match bool)) error {
	per := pagePayload / size
	n := sort.Search(len(fence), func(i int) bool { return fence[i] >= h }) // the first page that begins with h or later
	n = max(n-1, 0)
	return borrowed(func(p *page) error {
		for ; n < len(fence) && fence[n] <= h; n++ {
			b, err := x.read(section+uint64(n), p)
			if err != nil {
				return err
			}
			in := int(min(per, count-uint64(n)*per))
			number := func(i int) uint64 {
				if size == streamBytes {
					return be.Uint64(b[uint64(i)*size:])
				}
				return le.Uint64(b[uint64(i)*size:])
			}
			for i := sort.Search(in, func(i int) bool { return number(i) >= h }); i < in; i++ {
				if after, match := visit(b[uint64(i)*size:][:size]); after || match {
					return nil
				}
			}
		}
		return nil
	})
}

func (x *sealed) stream(k *key, _ es.Position) (r run, err error) {
	sum := k.digest()
	if !mayHold(x.streamFilter, blocksFor(x.streams), le.Uint64(sum[8:])) {
		return run{}, nil
	}
	h := be.Uint64(sum[:])
	err = x.search(x.streamFence, h, x.lay.streams, x.streams, streamBytes, func(b []byte) (after, match bool) {
		if [16]byte(b) != *sum {
			return be.Uint64(b) > h, false
		}
		r = run{first: es.Revision(le.Uint64(b[16:])), count: int(le.Uint32(b[24:])), at: int(le.Uint32(b[28:])), leaf: es.Hash(b[32:]), disk: x}
		return false, true
	})
	return r, err
}

// A filter says of most keys that are not there that they are not: a Bloom
// filter of 16 bits a key, all seven of one key in one block.
func filterBlock(filter []byte, blocks, h uint64) []byte {
	n, _ := bits.Mul64(h, blocks)
	return entry(filter, n, blockBytes)
}

func mayHold(filter []byte, blocks, h uint64) bool {
	block := filterBlock(filter, blocks, h)
	for g, i := mix(h), 0; i < 7; g, i = g>>9, i+1 {
		if block[g>>3&63]&(1<<(g&7)) == 0 {
			return false
		}
	}
	return true
}

func addTo(filter []byte, blocks, h uint64) {
	block := filterBlock(filter, blocks, h)
	for g, i := mix(h), 0; i < 7; g, i = g>>9, i+1 {
		block[g>>3&63] |= 1 << (g & 7)
	}
}

// mix is the finaliser of MurmurHash3.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
