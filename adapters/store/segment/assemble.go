package segment

import (
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

// maxEmpty is how many frames without events may follow each other. They
// belong to the chain but hold nothing, so those that are damaged are found by
// trying how many there must have been.
const maxEmpty = 64

// assembly puts a log together again from frames that are whole, wherever they
// lie. The chain tells which frame comes next: a frame that does not continue
// it is not of this log.
type assembly struct {
	next  es.Position
	chain es.Hash
	tree  tree
}

// fits says whether f comes next, and after how many frames without events.
func (a *assembly) fits(f frame) (leaves []es.Hash, empty int, ok bool) {
	if f.First != a.next {
		return nil, 0, false
	}
	rest, p := f.Events, f.First
	for range f.Count {
		e, after, err := cutEvent(rest)
		if err != nil || e.position != p || !e.committed() {
			return nil, 0, false
		}
		leaves, rest, p = append(leaves, leafHash(e.header)), after, p+1
	}
	if len(rest) != 0 {
		return nil, 0, false
	}
	chain := a.chain
	for ; empty <= maxEmpty; empty++ {
		if link(chain, leaves) == f.Chain {
			return leaves, empty, true
		}
		chain = link(chain, nil)
	}
	return nil, 0, false
}

func (a *assembly) add(f frame, leaves []es.Hash) {
	for _, leaf := range leaves {
		a.tree.Add(leaf)
	}
	a.next, a.chain = f.First+es.Position(f.Count), f.Chain
}

// reaches says after how many frames without events the chain is that one.
func (a *assembly) reaches(chain es.Hash) (empty int, ok bool) {
	c := a.chain
	for ; empty <= maxEmpty; empty++ {
		if c == chain {
			return empty, true
		}
		c = link(c, nil)
	}
	return 0, false
}

// frames reads all whole frames with events of some segments, in their order.
type frames struct {
	files     []*file
	c         *cursor
	cur       frame
	from      *file
	watermark es.Position       // highest that was claimed so far
	ends      map[*file]es.Hash // chain after the last whole frame
	done      bool
}

// seek moves on to the first frame at or after a position.
func (x *frames) seek(next es.Position) error {
	for !x.done && (x.from == nil || x.cur.First < next) {
		if err := x.advance(); err != nil {
			return err
		}
	}
	return nil
}

func (x *frames) advance() error {
	for len(x.files) > 0 {
		if x.c == nil {
			x.c = newCursor(x.files[0], headerBytes)
		}
		f, err := x.c.next()
		if err == nil {
			x.watermark = max(x.watermark, f.Watermark)
			if x.ends == nil {
				x.ends = make(map[*file]es.Hash)
			}
			x.ends[x.files[0]] = f.Chain
			if f.Count > 0 {
				x.cur, x.from = f, x.files[0]
				return nil
			}
			continue
		}
		if errors.Is(err, errRead) {
			return err
		}
		rest, err := x.c.lookAhead()
		if err != nil {
			return err
		}
		if rest.found {
			x.c.off = rest.off
			continue
		}
		x.files, x.c = x.files[1:], nil
	}
	x.done = true
	return nil
}

// continues returns the next frame of a, if it is here.
func (x *frames) continues(a *assembly) (leaves []es.Hash, empty int, ok bool, err error) {
	for {
		if err := x.seek(a.next); err != nil || x.done || x.cur.First > a.next {
			return nil, 0, false, err
		}
		if leaves, empty, ok = a.fits(x.cur); ok {
			return leaves, empty, true, nil
		}
		if err := x.advance(); err != nil { // a copy of it may follow
			return nil, 0, false, err
		}
	}
}

// broken is a segment of a damaged store.
type broken struct {
	name  string
	first es.Position
	file  *file // nil = nothing in it can be read
	head  bool  // its header is whole
}

// openBroken opens all segments as far as they can be read. A segment whose
// header is gone is read with the salt in its index.
func openBroken(files vfs.FS, dir string) (out []broken, err error) {
	names, err := listSegments(files, dir)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		first, err := strconv.ParseUint(strings.TrimSuffix(n, suffix), 10, 64)
		if err != nil {
			return out, err
		}
		b := broken{name: path.Join(segDir, n), first: es.Position(first), head: true}
		var d *Damage
		if b.file, err = openSegment(files, dir, n, false); errors.As(err, &d) {
			b.head = false
			b.file, err = openHeadless(files, dir, n, b.first)
		}
		if err != nil {
			return out, err
		}
		out = append(out, b)
	}
	return out, nil
}

func openHeadless(files vfs.FS, dir, name string, first es.Position) (*file, error) {
	x, err := vfs.ReadFile(files, path.Join(dir, segDir, indexName(first)))
	if err != nil || len(x) < headerUsed || le.Uint64(x[32:]) != uint64(first) {
		return nil, nil //nolint:nilerr,nilnil // then it cannot be read
	}
	f, err := files.Open(path.Join(dir, segDir, name))
	if err != nil {
		return nil, err
	}
	s := &file{File: f, name: path.Join(segDir, name), header: header{LogID: [16]byte(x[16:]), First: first, Salt: [16]byte(x[40:])}}
	s.size, err = f.Size()
	return s, err
}

// readable are the segments of which something can be read.
func readable(all []broken) (out []*file) {
	for _, b := range all {
		if b.file != nil {
			out = append(out, b.file)
		}
	}
	return out
}

func closeBroken(all []broken) {
	for _, b := range all {
		if b.file != nil {
			_ = b.file.Close() // it was for reading
		}
	}
}

// Span is events that follow each other, both ends included.
type Span struct {
	First es.Position `json:"first"`
	Last  es.Position `json:"last"`
}

// extend adds [first, last] to spans in order.
func extend(spans []Span, first, last es.Position) []Span {
	if n := len(spans); n > 0 && spans[n-1].Last+1 >= first {
		spans[n-1].Last = max(spans[n-1].Last, last)
		return spans
	}
	return append(spans, Span{first, last})
}

// without returns [first, end) less spans in order.
func without(first, end es.Position, spans []Span) (out []Span) {
	for _, s := range spans {
		if s.First > first && first < end {
			out = append(out, Span{first, min(s.First, end) - 1})
		}
		first = max(first, s.Last+1)
	}
	if first < end {
		out = append(out, Span{first, end - 1})
	}
	return slices.Clip(out)
}
