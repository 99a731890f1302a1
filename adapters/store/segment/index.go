package segment

import (
	"errors"
	"log/slog"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

// index says where things are. It is derived from the log: a table in memory for
// the last segment, files for all others.
type index struct {
	files    vfs.FS
	dir      string
	logger   *slog.Logger
	segments atomic.Pointer[[]*file]
	remaking sync.Mutex
	unsealed chan struct{} // there may be segments without a file for their index
}

// file is a segment.
type file struct {
	vfs.File
	header
	name string
	size int64
	sum  summary // once it is sealed
	tab  atomic.Pointer[holder]

	direct vfs.File // past the page cache, while it is written; nil = that cannot be done
	tail   tail     // while it is written
}

type holder struct{ table }

func (f *file) table() table { return f.tab.Load().table }

func (f *file) setTable(t table) { f.tab.Store(&holder{t}) }

func newIndex(files vfs.FS, dir string, logger *slog.Logger) *index {
	x := &index{files: files, dir: dir, logger: logger, unsealed: make(chan struct{}, 1)}
	x.segments.Store(new([]*file))
	return x
}

// all returns the segments in order. The last is the one that is written.
func (x *index) all() []*file { return *x.segments.Load() }

func (x *index) last() *file {
	s := x.all()
	return s[len(s)-1]
}

func (x *index) add(f *file) {
	old := x.all()
	s := append(old[:len(old):len(old)], f)
	x.segments.Store(&s)
}

func (x *index) close() (err error) {
	for _, f := range x.all() {
		if h := f.tab.Load(); h != nil {
			if s, ok := h.table.(*sealed); ok {
				err = errors.Join(err, s.close())
			}
		}
		err = errors.Join(err, f.finish(), f.Close())
	}
	return err
}

// ask puts a question to the table of a segment. If it is a file, and damaged,
// the answer comes from the segment itself.
func ask[T any](x *index, f *file, question func(table) (T, error)) (T, error) {
	for {
		t := f.table()
		answer, err := question(t)
		if !errors.Is(err, errIndex) {
			return answer, err
		}
		if _, ok := t.(*memTable); ok {
			return answer, err
		}
		if _, err = x.remake(f, t, err); err != nil {
			return answer, err
		}
	}
}

// runs returns the runs of a stream below head, in order.
func (x *index) runs(k *key, head es.Position) (out []run, err error) {
	segments := x.all()
	for i := len(segments) - 1; i >= 0; i-- {
		r, err := x.runIn(segments[i], k, head)
		if err != nil {
			return nil, err
		}
		if r.count == 0 {
			continue
		}
		out = append(out, r)
		if r.first == 0 {
			break
		}
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out, nil
}

func (x *index) runIn(f *file, k *key, head es.Position) (run, error) {
	if head <= f.First {
		return run{}, nil
	}
	r, err := ask(x, f, func(t table) (run, error) { return t.stream(k, head-f.First) })
	r.file = f
	return r, err
}

// end returns the newest run of a stream below head, that of count 0 when there
// is none.
func (x *index) end(segments []*file, k *key, head es.Position) (r run, err error) {
	for i := len(segments) - 1; i >= 0 && err == nil && r.count == 0; i-- {
		r, err = x.runIn(segments[i], k, head)
	}
	return r, err
}

// byID returns the positions in some segments of events whose id may be that.
func (x *index) byID(segments []*file, h uint64) (found []es.Position, err error) {
	for _, f := range segments {
		if s, ok := f.table().(*sealed); ok && !s.mayHoldID(h) {
			continue
		}
		rels, err := ask(x, f, func(t table) ([]uint32, error) { return t.byID(h, nil) })
		if err != nil {
			return nil, err
		}
		for _, rel := range rels {
			found = append(found, f.First+es.Position(rel))
		}
	}
	return found, nil
}

// find returns the segment that holds p and where its frame lies there.
func (x *index) find(p es.Position) (segment *file, off int64, err error) {
	segments := x.all()
	n := sort.Search(len(segments), func(i int) bool { return segments[i].First > p }) - 1
	segment = segments[n]
	off, err = ask(x, segment, func(t table) (int64, error) { return t.frame(uint32(p - segment.First)) })
	return segment, off, err
}

// lineOf returns the line of a stream in the table of the last segment, a new one
// if need be. Only the writer calls it.
func (x *index) lineOf(s es.Stream) (*line, error) {
	segments := x.all()
	m := segments[len(segments)-1].table().(*memTable) //nolint:forcetypeassert // that of the last always is
	if l, ok := m.lines[s]; ok {
		return l, nil
	}
	l := &line{}
	if before := segments[:len(segments)-1]; len(before) > 0 {
		r, err := x.end(before, &key{name: s}, noEnd)
		if err != nil {
			return nil, err
		}
		if r.count > 0 {
			l.base, l.leaf = r.first+es.Revision(r.count), r.leaf
		}
	}
	m.mu.Lock()
	m.lines[s] = l
	m.mu.Unlock()
	return l, nil
}
