package segment

import (
	"hash/maphash"
	"sort"
	"sync"

	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

// index says where things are. It is derived from the log and kept in memory.
// The writer alone changes it; it runs ahead of what is durable, so readers
// look at positions below the watermark only.
type index struct {
	mu       sync.RWMutex
	lines    map[es.Stream]*line
	ids      map[uint64]es.Position // by a keyed hash of the id
	twins    map[es.ID]es.Position  // ids whose hash was taken
	seed     maphash.Seed
	segments []*file
}

// line is one stream.
type line struct {
	positions []es.Position // by revision
	leaf      es.Hash       // of its last event
}

// file is a segment with the places of its frames.
type file struct {
	vfs.File
	header
	name   string
	size   int64
	frames []place // those with events, in order
}

// place is where a frame begins, in few bytes.
type place struct {
	first  uint32 // position, counted from the segment's first
	offset uint32 // in units of frameAlign
}

func newIndex() *index {
	return &index{
		lines: make(map[es.Stream]*line), ids: make(map[uint64]es.Position),
		twins: make(map[es.ID]es.Position), seed: maphash.MakeSeed(),
	}
}

func (x *index) hash(id es.ID) uint64 { return maphash.Bytes(x.seed, id[:]) }

// line returns the stream's, a new one if need be.
func (x *index) line(stream []byte) *line {
	l, ok := x.lines[es.Stream(stream)]
	if !ok {
		l = &line{}
		x.lines[es.Stream(stream)] = l
	}
	return l
}

// put adds an event.
func (x *index) put(l *line, id es.ID, p es.Position, leaf es.Hash) {
	l.positions = append(l.positions, p)
	l.leaf = leaf
	h := x.hash(id)
	if _, taken := x.ids[h]; taken {
		x.twins[id] = p
		return
	}
	x.ids[h] = p
}

// placed notes where a frame lies in the last segment.
func (x *index) placed(first es.Position, off int64) {
	s := x.segments[len(x.segments)-1]
	s.frames = append(s.frames, place{uint32(first - s.First), uint32(off / frameAlign)})
}

// stream returns the positions of s below head.
func (x *index) stream(s es.Stream, head es.Position) []es.Position {
	x.mu.RLock()
	defer x.mu.RUnlock()
	l, ok := x.lines[s]
	if !ok {
		return nil
	}
	ps := l.positions
	for len(ps) > 0 && ps[len(ps)-1] >= head {
		ps = ps[:len(ps)-1]
	}
	return ps
}

// find returns the segment that holds p and the index of its frame there.
func (x *index) find(p es.Position) (segment *file, places []place, i int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	n := sort.Search(len(x.segments), func(i int) bool { return x.segments[i].First > p }) - 1
	segment = x.segments[n]
	places = segment.frames
	i = sort.Search(len(places), func(i int) bool { return segment.First+es.Position(places[i].first) > p }) - 1
	return segment, places, i
}

func (pl place) at() int64 { return int64(pl.offset) * frameAlign }
