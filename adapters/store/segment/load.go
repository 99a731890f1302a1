package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
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
	walk   walk   // after the last good frame
	before walk   // where the last segment begins
	end    int64  // of the data in the last segment
	last   int64  // where its last frame begins, 0 = there is none
	zero   bool   // nothing but zeros follows
	lead   []byte // what lies before end in its page
}

// clean says that all of it is known to be on the disk.
func (l *loaded) clean() bool { return l.zero && l.walk.watermark == l.walk.next }

func (l *loaded) close() {
	_ = l.index.close() // what was wrong before says more
}

// load reads the end of the log and the indexes of everything before it. A
// segment whose index is missing, or does not fit, is read from its beginning:
// every frame, chain and tree root is checked. With write it opens the files for
// writing, removes what an interrupted recovery has left behind and writes
// missing indexes.
func load(files vfs.FS, dir string, logID [16]byte, write bool, logger *slog.Logger) (*loaded, error) {
	l := &loaded{dir: dir, files: files, logID: logID, index: newIndex(files, dir, logger)}
	l.walk.before = l.head
	names, err := listSegments(files, dir)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, &Damage{File: segDir, What: "all segments are missing", FirstPosition: 1}
	}
	segments := make([]*file, len(names))
	for i, n := range names {
		if segments[i], err = openSegment(files, dir, n, write); err != nil {
			break
		}
	}
	for i := range segments {
		if err == nil {
			err = l.segment(segments, i, write)
		}
		if segments[i] != nil {
			l.index.add(segments[i])
		}
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// head is where a stream stands at the end of the segments that were read.
func (l *loaded) head(s es.Stream) (es.Revision, es.Hash, error) {
	r, err := l.index.end(l.index.all(), &key{name: s}, noEnd)
	return r.first + es.Revision(r.count), r.leaf, err
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
		if i > 0 { // to look up every stream would take longer than all the rest
			l.walk.before = nil
		}
		s.setTable(l.walk.table)
		return l.tail(s, c)
	}
	if l.indexed(s, all[i+1].header) {
		return nil
	}
	if err := l.sealed(s, c, all[i+1].header, write); err != nil {
		return err
	}
	return l.reindex(s, c.off, write)
}

// indexed uses the index of a sealed segment, if it fits between the segment
// and the next one.
func (l *loaded) indexed(s *file, next header) bool {
	x, err := l.index.openIndex(s)
	if err == nil {
		switch {
		case x.First+es.Position(x.events) != next.First, x.chain != next.Chain, x.tree.Root() != next.Root, x.end > s.size:
			err = fmt.Errorf("%w: it does not lead to the next segment", errIndex)
			_ = x.close() // it was for reading
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist): // the process ended before it was written
		l.index.logger.Info("a segment of the log is read again, since it has no index yet", "segment", s.name)
		return false
	case err != nil:
		l.index.logger.Warn("a segment of the log is read again, since its index cannot be used", "segment", s.name, "reason", err)
		return false
	}
	s.sum = x.summary
	s.setTable(x)
	l.walk.resume(&s.sum)
	return true
}

// reindex writes the index of a segment that was read. In memory stays only what
// would stay of a file, since there may be many.
func (l *loaded) reindex(s *file, end int64, write bool) error {
	s.sum = l.walk.summary(s.header, end)
	b := encodeIndex(l.walk.table, s.sum)
	l.walk.table = nil
	if write {
		x, err := l.index.keepIndex(s, b)
		if err == nil {
			s.setTable(x)
			return nil
		}
		l.index.logger.Warn("an index of the log cannot be written", "segment", s.name, "reason", err)
	}
	x, err := memoryIndex(s, b)
	if err == nil {
		s.setTable(x)
	}
	return err
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
		if err := l.walk.step(f, at); err != nil {
			c.off = at
			if errors.Is(err, errRead) {
				return err
			}
			return &Damage{What: err.Error(), Offset: at, FirstPosition: f.First, LastPosition: f.First + es.Position(max(f.Count, 1)) - 1}
		}
		l.last = at
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
			if rest.found { // what is damaged behind it is for Verify to tell
				acknowledged = max(rest.first, l.walk.next+1)
			}
			return &Damage{File: s.name, Offset: c.off, What: reason.Error(), FirstPosition: l.walk.next, LastPosition: acknowledged - 1}
		}
	}
}

// rehome copies the frames of the last segment that are not known to be on the
// disk to a new one, and cuts them off where they are. An error of fdatasync
// may have left them in the page cache alone.
func (l *loaded) rehome(size int64, created int64) error {
	old := l.index.last()
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
	h := header{LogID: l.logID, First: base.next, Salt: newSalt(), Chain: base.chain, Root: base.tree.Root(), Created: created}
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
	return sealFrame(b, at, salt, int64(at), &f, new(address))
}
