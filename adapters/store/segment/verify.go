package segment

import (
	"bytes"
	"errors"
	"fmt"
	"path"

	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

// Report is what [Verify] found.
type Report struct {
	Segments int
	Frames   int
	Events   uint64
	Bytes    int64   // of the segments
	Root     es.Hash // of the tree over all events, when there is no damage
	// Unfinished counts bytes after the last frame that belong to an append
	// which was never acknowledged. The next start discards them.
	Unfinished int64
	Damage     []Damage
	// WrongIndexes are files of indexes that do not say what their segments
	// hold. No event is lost with them: they may be deleted and are made anew.
	WrongIndexes []string
}

// Verify reads a whole store and checks every checksum, chain, leaf, payload,
// padding and position. It changes nothing and needs no lock: of a store that
// a daemon has open it checks what was there at this moment.
func Verify(dir string) (Report, error) { return VerifyFS(vfs.OS{}, dir) }

// VerifyFS is [Verify] on another file system.
func VerifyFS(files vfs.FS, dir string) (Report, error) {
	v := &verifier{walk: walk{deep: true}, heads: make(map[[16]byte]standing)}
	v.walk.before = v.head
	id, err := readIdentity(files, dir)
	if err := v.take(err); err != nil {
		return v.report, fmt.Errorf("verify store %s: %w", dir, err)
	}
	v.logID, v.anyLog = id, err != nil
	names, err := listSegments(files, dir)
	if err == nil && len(names) == 0 {
		err = &Damage{File: segDir, What: "all segments are missing", FirstPosition: 1}
	}
	if err := v.take(err); err != nil {
		return v.report, fmt.Errorf("verify store %s: %w", dir, err)
	}
	for i, n := range names {
		if err := v.segment(files, dir, n, i == len(names)-1); err != nil {
			return v.report, fmt.Errorf("verify %s: %w", n, err)
		}
	}
	if v.broken != nil {
		v.report.Damage = append(v.report.Damage, *v.broken)
	}
	v.report.Events = uint64(v.walk.next)
	if len(v.report.Damage) == 0 {
		v.report.Root = v.walk.tree.Root()
	}
	return v.report, nil
}

type verifier struct {
	report Report
	heads  map[[16]byte]standing // of all streams, before the segment in hand
	walk   walk
	logID  [16]byte
	anyLog bool    // STORE cannot say which
	broken *Damage // the end of the segment before
	lost   bool    // the walk lost its way: chain and tree are not known any more
}

// standing is where a stream stands.
type standing struct {
	next es.Revision
	leaf es.Hash
}

func (v *verifier) head(s es.Stream) (es.Revision, es.Hash, error) {
	at := v.heads[sumOf(s)]
	return at.next, at.leaf, nil
}

// leave ends a segment, which ends at a byte, and compares its index.
func (v *verifier) leave(files vfs.FS, dir string, s *file, end int64) {
	if v.lost || v.broken != nil {
		return
	}
	for _, l := range v.walk.table.sortedLines() {
		v.heads[l.sum] = standing{l.next(), l.leaf}
	}
	name := path.Join(segDir, indexName(s.First))
	got, err := vfs.ReadFile(files, path.Join(dir, name))
	if err == nil && !bytes.Equal(got, encodeIndex(v.walk.table, v.walk.summary(s.header, end))) {
		v.report.WrongIndexes = append(v.report.WrongIndexes, name)
	}
}

// take notes damage and passes other errors on.
func (v *verifier) take(err error) error {
	var d *Damage
	if errors.As(err, &d) {
		v.report.Damage = append(v.report.Damage, *d)
		return nil
	}
	return err
}

func (v *verifier) segment(files vfs.FS, dir, name string, last bool) error {
	s, err := openSegment(files, dir, name, false)
	if err != nil {
		return v.take(err)
	}
	defer s.Close() //nolint:errcheck // opened for reading
	v.report.Segments++
	v.report.Bytes += s.size
	if s.LogID != v.logID && !v.anyLog {
		v.damage(s, 0, s.First, s.First, "belongs to another log")
	}
	v.enter(s)
	c := newCursor(s, headerBytes)
	for {
		reason := v.frames(s, c)
		if errors.Is(reason, errRead) {
			return reason
		}
		onward, err := v.gap(s, c, reason, last)
		if err == nil && !onward && !last {
			v.leave(files, dir, s, c.off)
		}
		if err != nil || !onward {
			return err
		}
	}
}

// enter checks that s continues the segment before, whose end may be broken.
func (v *verifier) enter(s *file) {
	if d := v.broken; d != nil {
		d.LastPosition = max(s.First, d.FirstPosition) - 1
		v.report.Damage, v.broken = append(v.report.Damage, *d), nil
		if s.First != v.walk.next || s.Chain != v.walk.chain {
			v.resume(s.First, s.Chain)
		}
		v.walk.begin(s.First)
		return
	}
	if err := v.walk.enter(s.header); err != nil {
		if !v.lost {
			v.damage(s, 0, v.walk.next, max(s.First, v.walk.next+1)-1, err.Error())
		}
		v.resume(s.First, s.Chain)
		v.walk.begin(s.First)
	}
}

// frames checks frames until one is not whole.
func (v *verifier) frames(s *file, c *cursor) error {
	for {
		at := c.off
		f, err := c.next()
		if err != nil {
			return err
		}
		v.report.Frames++
		if v.lost {
			v.resume(f.First+es.Position(f.Count), f.Chain)
			continue
		}
		if err := v.walk.step(f, at); err != nil {
			v.damage(s, at, f.First, f.First+es.Position(max(f.Count, 1))-1, err.Error())
			v.resume(f.First+es.Position(f.Count), f.Chain)
		}
	}
}

// resume goes on after damage. What depends on the whole past is not checked
// from here on.
func (v *verifier) resume(next es.Position, chain es.Hash) {
	v.lost = true
	v.walk.next, v.walk.chain = next, chain
}

// gap looks at what follows the last whole frame and says whether there is more.
func (v *verifier) gap(s *file, c *cursor, reason error, last bool) (onward bool, err error) {
	rest, err := c.lookAhead()
	if err != nil || rest.zero {
		return false, err
	}
	acknowledged := max(rest.watermark, v.walk.watermark)
	switch {
	case last && acknowledged <= v.walk.next:
		v.report.Unfinished = s.size - c.off
		return false, nil
	case last && c.arrived():
		return true, nil
	case rest.found:
		v.damage(s, c.off, v.walk.next, max(rest.first, v.walk.next+1)-1, reason.Error())
		v.resume(rest.first, v.walk.chain)
		c.off = rest.off
		return true, nil
	case !last: // how much is lost, the next segment tells
		v.broken = &Damage{File: s.name, Offset: c.off, FirstPosition: v.walk.next, What: reason.Error()}
		return false, nil
	}
	v.damage(s, c.off, v.walk.next, max(acknowledged, v.walk.next)-1, reason.Error())
	return false, nil
}

func (v *verifier) damage(s *file, off int64, first, last es.Position, what string) {
	v.report.Damage = append(v.report.Damage, Damage{File: s.name, Offset: off, FirstPosition: first, LastPosition: last, What: what})
}
