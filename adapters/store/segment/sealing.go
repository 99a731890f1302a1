package segment

import (
	"bytes"
	"errors"
	"fmt"
	"path"

	"github.com/emet-node/emet/domain/es"
)

// encodeIndex writes down the table of a segment that is sealed: the same
// bytes whenever it is done.
func encodeIndex(m *memTable, s summary) []byte {
	lines := m.sortedLines()
	s.frames, s.streams = uint64(len(m.frames)), uint64(len(lines))
	ids := m.ids.sorted()
	s.events = uint64(len(ids))
	lay := s.layout()
	b := make([]byte, lay.end*pageBytes)
	copy(b, s.encode())
	section := func(page uint64) []byte { return b[page*pageBytes:] }

	for i, f := range m.frames {
		putPlace(entry(section(lay.frames), uint64(i), placeBytes), f)
	}
	for i, id := range ids {
		e := entry(section(lay.ids), uint64(i), idBytes)
		le.PutUint64(e, id.hash)
		le.PutUint32(e[8:], id.rel())
		addTo(section(lay.idFilter), blocksFor(s.events), id.hash)
	}
	first := uint64(0)
	for i, l := range lines {
		e := entry(section(lay.streams), uint64(i), streamBytes)
		copy(e, l.sum[:])
		le.PutUint64(e[16:], uint64(l.base))
		le.PutUint32(e[24:], uint32(len(l.spots)))
		le.PutUint32(e[28:], uint32(first))
		copy(e[32:], l.leaf[:])
		addTo(section(lay.streamFilter), blocksFor(s.streams), le.Uint64(l.sum[8:]))
		for j, p := range l.spots {
			putPlace(entry(section(lay.postings), first+uint64(j), placeBytes), p)
		}
		first += uint64(len(l.spots))
	}
	fences := func(at, section, pages uint64, read func([]byte) uint64) {
		for i := range pages {
			le.PutUint64(entry(b[lay.fences*pageBytes:], at+i, fenceBytes), read(b[(section+i)*pageBytes:]))
		}
	}
	fences(0, lay.frames, lay.frameFences, func(b []byte) uint64 { return uint64(le.Uint32(b)) })
	fences(lay.frameFences, lay.ids, lay.idFences, le.Uint64)
	fences(lay.frameFences+lay.idFences, lay.streams, lay.streamFences, be.Uint64)
	for n := range lay.end {
		p := b[n*pageBytes:][:pageBytes]
		le.PutUint32(p[pagePayload:], pageSum(&s.Salt, n, p[:pagePayload]))
	}
	return b
}

func putPlace(b []byte, p place) {
	le.PutUint32(b, p.rel)
	le.PutUint32(b[4:], p.offset)
}

func indexName(first es.Position) string { return fmt.Sprintf("%020d%s", uint64(first), indexSuffix) }

// keepIndex writes the index of a segment beside it and opens it.
func (x *index) keepIndex(f *file, b []byte) (*sealed, error) {
	dir, name := path.Join(x.dir, segDir), indexName(f.First)
	out, err := x.files.Create(path.Join(dir, name+".tmp"))
	if err != nil {
		return nil, err
	}
	for off := 0; off < len(b) && err == nil; off += fillStep {
		if _, err = out.WriteAt(b[off:min(off+fillStep, len(b))], int64(off)); err == nil {
			err = out.SyncData() // in small steps, so that appends need not wait for a long one
		}
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = x.files.Rename(path.Join(dir, name+".tmp"), path.Join(dir, name))
	}
	if err == nil {
		err = x.files.SyncDir(dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", name, err), x.files.Remove(path.Join(dir, name+".tmp")))
	}
	return x.openIndex(f)
}

// openIndex opens the file of an index. That it is not there, or not what was
// written, is an errIndex.
func (x *index) openIndex(f *file) (*sealed, error) {
	name := path.Join(segDir, indexName(f.First))
	in, err := x.files.Open(path.Join(x.dir, name))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errIndex, err)
	}
	size, err := in.Size()
	if err == nil && size < pageBytes {
		err = fmt.Errorf("%w: it has %d bytes", errIndex, size)
	}
	var s *sealed
	if err == nil {
		s, err = openSealed(in, size, name, f.header)
	}
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	s.close = in.Close
	return s, nil
}

// memoryIndex is an index without a file.
func memoryIndex(f *file, b []byte) (*sealed, error) {
	s, err := openSealed(bytes.NewReader(b), int64(len(b)), indexName(f.First)+" in memory", f.header)
	if err == nil {
		s.close = func() error { return nil }
	}
	return s, err
}

// seal replaces the table in memory of a segment by a file. When that cannot be
// written, the table stays in memory.
func (x *index) seal(f *file) error {
	m, ok := f.table().(*memTable)
	if !ok {
		return nil
	}
	s, err := x.keepIndex(f, encodeIndex(m, f.sum))
	if err != nil {
		return err
	}
	f.setTable(s)
	return nil
}

// remake reads a sealed segment again because its index is damaged.
func (x *index) remake(f *file, broken table, reason error) (table, error) {
	x.remaking.Lock()
	defer x.remaking.Unlock()
	if t := f.table(); t != broken {
		return t, nil // another reader did it
	}
	x.logger.Warn("an index of the log is made anew", "segment", f.name, "reason", reason)
	m := newMemTable()
	next := f.First
	for c := newCursor(f, headerBytes); c.off < f.sum.end; {
		at := c.off
		fr, err := c.next()
		if err == nil {
			err = m.take(f.First, fr, at)
		}
		if err != nil {
			return nil, x.damaged(f, at, next, err)
		}
		next += es.Position(fr.Count)
	}
	f.setTable(m)
	wake(x.unsealed)
	return m, nil
}

func (x *index) damaged(f *file, off int64, p es.Position, reason error) error {
	if errors.Is(reason, errRead) {
		return fmt.Errorf("%s %w", f.name, reason)
	}
	return &Damage{File: f.name, Offset: off, FirstPosition: p, LastPosition: p, What: reason.Error()}
}

// take enters the events of a frame that was checked when it was written.
func (m *memTable) take(first es.Position, f frame, off int64) error {
	if f.Count == 0 {
		return nil
	}
	m.frames = append(m.frames, place{uint32(f.First - first), uint32(off / frameAlign)})
	rest := f.Events
	for range f.Count {
		e, after, err := cutEvent(rest)
		if err != nil {
			return err
		}
		l, ok := m.lines[es.Stream(e.stream)]
		if !ok {
			l = &line{base: e.revision}
			m.lines[es.Stream(e.stream)] = l
		}
		m.put(l, e.id, place{uint32(e.position - first), uint32(off / frameAlign)}, leafHash(e.header))
		rest = after
	}
	return nil
}

// sealAll writes the indexes of segments that were sealed until the store is
// closed, and then those that are left. One that cannot be written is tried
// again when the next segment is sealed.
func (s *Store) sealAll() {
	for open := true; open; {
		select {
		case <-s.stop:
			open = false
		case <-s.index.unsealed:
		}
		segments := s.index.all()
		for _, f := range segments[:len(segments)-1] {
			if s.Failed() != nil || !s.seal(f) {
				break
			}
		}
	}
}

// seal writes the index of a segment, unless the space is needed for the log itself.
func (s *Store) seal(f *file) bool {
	s.space.Lock()
	defer s.space.Unlock()
	if s.tight.Load() {
		return false
	}
	err := s.index.seal(f)
	if err != nil {
		s.options.Logger.Warn("an index of the log cannot be written", "segment", f.name, "reason", err)
	}
	return err == nil
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
