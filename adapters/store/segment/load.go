package segment

import (
	"errors"
	"fmt"
	"path"

	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

// loaded is a store as its files tell it.
type loaded struct {
	dir    string
	files  vfs.FS
	logID  [16]byte
	index  *index
	walk   walk  // after the last good frame
	before walk  // where the last segment begins
	end    int64 // of the data in the last segment
	last   int64 // where its last frame begins, 0 = there is none
	zero   bool  // nothing but zeros follows
}

// clean says that all of it is known to be on the disk.
func (l *loaded) clean() bool { return l.zero && l.walk.watermark == l.walk.next }

func (l *loaded) close() {
	for _, s := range l.index.segments {
		_ = s.Close()
	}
}

// load reads the whole log and checks every frame, chain and tree root. With
// write it opens the files for writing and removes what an interrupted
// recovery has left behind.
func load(files vfs.FS, dir string, logID [16]byte, write bool) (*loaded, error) {
	l := &loaded{dir: dir, files: files, logID: logID, index: newIndex()}
	names, err := listSegments(files, dir)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, &Damage{File: segDir, What: "all segments are missing", FirstPosition: 1}
	}
	for _, n := range names {
		s, err := openSegment(files, dir, n, write)
		if err != nil {
			l.close()
			return nil, err
		}
		l.index.segments = append(l.index.segments, s)
	}
	segments := l.index.segments
	for i := range segments {
		l.index.segments = segments[:i+1]
		if err := l.segment(segments, i, write); err != nil {
			l.index.segments = segments
			l.close()
			return nil, err
		}
	}
	return l, nil
}

func (l *loaded) segment(all []*file, i int, write bool) error {
	s := all[i]
	if s.LogID != l.logID {
		return &Damage{File: s.name, What: "belongs to another log", FirstPosition: s.First, LastPosition: s.First}
	}
	if err := l.walk.enter(s.header); err != nil {
		return &Damage{File: s.name, What: err.Error(), FirstPosition: l.walk.next, LastPosition: max(s.First, l.walk.next+1) - 1}
	}
	c := newCursor(s, headerBytes)
	if i == len(all)-1 {
		l.before = l.walk.clone()
		return l.tail(s, c)
	}
	return l.sealed(s, c, all[i+1].header, write)
}

// frames walks until the data ends, or until it stands where the next segment
// begins. The reason is never nil; [errEnd] is the good one.
func (l *loaded) frames(c *cursor, next *header) error {
	for {
		if next != nil && l.walk.next == next.First && l.walk.chain == next.Chain {
			return errEnd
		}
		at := c.off
		f, err := c.next()
		if err != nil {
			return err
		}
		if err := l.walk.step(f, l.index); err != nil {
			c.off = at
			return &Damage{What: err.Error(), Offset: at, FirstPosition: f.First, LastPosition: f.First + es.Position(max(f.Count, 1)) - 1}
		}
		l.last = at
		if f.Count > 0 {
			l.index.placed(f.First, at)
		}
	}
}

// asError turns the reason for which a walk ended into what the caller gets,
// nil when it may be a matter of the tail.
func (s *file) asError(reason error) error {
	var d *Damage
	switch {
	case errors.As(reason, &d):
		d.File = s.name
		return d
	case errors.Is(reason, errRead):
		return fmt.Errorf("%s %w", s.name, reason)
	}
	return nil
}

func (l *loaded) sealed(s *file, c *cursor, next header, write bool) error {
	reason := l.frames(c, &next)
	if err := s.asError(reason); err != nil {
		return err
	}
	if l.walk.next != next.First || l.walk.chain != next.Chain {
		return &Damage{File: s.name, Offset: c.off, What: reason.Error(), FirstPosition: l.walk.next, LastPosition: max(next.First, l.walk.next+1) - 1}
	}
	rest, err := c.lookAhead()
	if err != nil {
		return fmt.Errorf("%s %w", s.name, err)
	}
	if rest.zero || !write {
		return nil
	}
	// A recovery copied the rest to the next segment and was then interrupted.
	err = s.Truncate(c.off)
	if err == nil {
		err = s.Sync()
	}
	s.size = c.off
	return err
}

// tail reads the segment that is being written, the end of which may be torn.
func (l *loaded) tail(s *file, c *cursor) error {
	l.last = 0
	for {
		reason := l.frames(c, nil)
		if err := s.asError(reason); err != nil {
			return err
		}
		rest, err := c.lookAhead()
		if err != nil {
			return fmt.Errorf("%s %w", s.name, err)
		}
		l.end, l.zero = c.off, rest.zero
		acknowledged := max(rest.watermark, l.walk.watermark)
		if acknowledged <= l.walk.next {
			return nil
		}
		if !c.arrived() {
			return &Damage{File: s.name, Offset: c.off, What: reason.Error(), FirstPosition: l.walk.next, LastPosition: acknowledged - 1}
		}
	}
}

// rehome copies the frames of the last segment that are not known to be on the
// disk to a new one, and cuts them off where they are. An error of fdatasync
// may have left them in the page cache alone.
func (l *loaded) rehome(size int64, created int64) error {
	old := l.index.segments[len(l.index.segments)-1]
	w := l.before.clone()
	base, cut := w.clone(), int64(headerBytes)
	for c := newCursor(old, headerBytes); c.off < l.end; {
		f, err := c.next()
		if err == nil {
			err = w.follow(f)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", old.name, err)
		}
		if w.next > l.walk.watermark {
			break
		}
		if f.Count > 0 {
			base, cut = w.clone(), c.off
		}
	}
	h := header{LogID: l.logID, First: base.next, Salt: newSalt(), Chain: base.chain, Root: base.tree.root(), Created: created}
	if err := l.copyFrames(old, cut, h, size); err != nil {
		return err
	}
	if h.First == old.First {
		return nil // the new one took its name
	}
	if err := old.Truncate(cut); err != nil {
		return err
	}
	return old.Sync()
}

func (l *loaded) copyFrames(old *file, cut int64, h header, size int64) error {
	b, chain := make([]byte, headerBytes, headerBytes+l.end-cut+frameHead), h.Chain
	for c := newCursor(old, cut); c.off < l.end; {
		f, err := c.next()
		if err != nil {
			return fmt.Errorf("%s: %w", old.name, err)
		}
		if f.Count == 0 {
			continue
		}
		leaves, err := frameLeaves(f)
		if err != nil {
			return fmt.Errorf("%s: %w", old.name, err)
		}
		chain = link(chain, leaves)
		b = appendFrame(b, &h.Salt, frame{First: f.First, Count: f.Count, Watermark: h.First, Chain: chain, Events: f.Events})
	}
	name := path.Join(l.dir, segDir, nextName)
	size = max(size, roundUp(int64(len(b))+4*frameHead))
	f, err := fill(l.files, name, size)
	if err != nil {
		return err
	}
	if len(b) > headerBytes {
		_, err = f.WriteAt(b[headerBytes:], headerBytes)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil && len(b) > headerBytes { // now it is durable, and may say so
		n := len(b)
		b = appendFrame(b, &h.Salt, frame{First: l.walk.next, Watermark: l.walk.next, Chain: link(chain, nil)})
		_, err = f.WriteAt(b[n:], int64(n))
	}
	if err == nil {
		_, err = publish(l.files, l.dir, f, size, h)
	}
	return errors.Join(err, f.Close())
}

// appendFrame adds a whole frame to b, which holds a segment from its start.
func appendFrame(b []byte, salt *[16]byte, f frame) []byte {
	at := len(b)
	b = append(b, make([]byte, frameHead)...)
	b = append(b, f.Events...)
	return sealFrame(b, at, salt, int64(at), f)
}
