package segment

import (
	"crypto/sha256"
	"slices"
	"sort"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/emet-node/emet/domain/es"
)

// table says where things are in one segment. There are two: [memTable] while
// a segment is written, and [sealed], a file beside it, afterwards.
type table interface {
	// stream returns the events of a stream in the segment below head.
	stream(k *key, head es.Position) (run, error)
	// byID adds the places of the events whose id has that hash to found.
	byID(h uint64, found []uint32) ([]uint32, error)
	// frame returns where the frame lies that holds an event.
	frame(rel uint32) (int64, error)
}

// place is where a frame begins or an event lies, in few bytes.
type place struct {
	rel    uint32 // position, counted from the segment's first
	offset uint32 // of the frame in the file, in units of frameAlign
}

func (p place) at() int64 { return int64(p.offset) * frameAlign }

// key is the name of a stream, and what stands for it in files.
type key struct {
	name   es.Stream
	sum    [16]byte // of SHA-256
	summed bool
}

// digest is what stands for the name in files. It is computed when it is
// needed: the newest events are found by name.
func (k *key) digest() *[16]byte {
	if !k.summed {
		k.sum, k.summed = sumOf(k.name), true
	}
	return &k.sum
}

func sumOf(s es.Stream) [16]byte {
	var small [256]byte
	sum := sha256.Sum256(append(small[:0], s...))
	return [16]byte(sum[:16])
}

func hashOf(id es.ID) uint64 { return xxhash.Sum64(id[:]) }

// run is what one segment holds of one stream.
type run struct {
	file  *file
	first es.Revision // of the first of them
	count int
	leaf  es.Hash // of the last of them

	spots []place // in memory
	disk  *sealed // else there
	at    int     // and from that posting on
}

// spot returns where the i-th event of the run lies.
func (r *run) spot(i int, near *page) (place, error) {
	if r.disk == nil {
		return r.spots[i], nil
	}
	return r.disk.posting(r.at+i, near)
}

// memTable is the table of a segment that is being written. The writer alone
// changes it; it runs ahead of what is durable.
type memTable struct {
	mu     sync.Mutex // held for moments only
	lines  map[es.Stream]*line
	ids    ids
	frames []place // those with events, in order
}

// line is one stream.
type line struct {
	base  es.Revision // of the first event in this segment
	leaf  es.Hash     // of its last event
	spots []place     // by revision, from base on
}

func newMemTable() *memTable { return &memTable{lines: make(map[es.Stream]*line)} }

// next is the revision that the stream's next event gets.
func (l *line) next() es.Revision { return l.base + es.Revision(len(l.spots)) }

// put adds an event to a line of m.
func (m *memTable) put(l *line, id es.ID, at place, leaf es.Hash) {
	l.spots = append(l.spots, at)
	l.leaf = leaf
	m.ids.add(hashOf(id), at.rel)
}

func (m *memTable) stream(k *key, head es.Position) (run, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, ok := m.lines[k.name]
	if !ok {
		return run{}, nil
	}
	n := len(l.spots)
	for n > 0 && es.Position(l.spots[n-1].rel) >= head {
		n--
	}
	return run{first: l.base, count: n, leaf: l.leaf, spots: l.spots[:n:n]}, nil
}

func (m *memTable) byID(h uint64, found []uint32) ([]uint32, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ids.find(h, found), nil
}

func (m *memTable) frame(rel uint32) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := sort.Search(len(m.frames), func(i int) bool { return m.frames[i].rel > rel }) - 1
	if i < 0 {
		return 0, errIndex
	}
	return m.frames[i].at(), nil
}

// keyed is a line under what stands for its name.
type keyed struct {
	sum [16]byte
	*line
}

// sortedLines returns all streams that have events, by digest.
func (m *memTable) sortedLines() []keyed {
	out := make([]keyed, 0, len(m.lines))
	for s, l := range m.lines {
		if len(l.spots) > 0 {
			out = append(out, keyed{sumOf(s), l})
		}
	}
	slices.SortFunc(out, func(a, b keyed) int { return slices.Compare(a.sum[:], b.sum[:]) })
	return out
}
