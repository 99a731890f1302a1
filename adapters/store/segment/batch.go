package segment

import (
	"errors"
	"fmt"
	"path"
	"syscall"
	"unsafe"

	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

// batch is appends that become durable together: whole pages of the last
// segment, so that none has to be read for it, and those who wait for them.
type batch struct {
	segment  *file
	at       int64  // of buf in the segment: the beginning of a page
	buf      []byte // begins with a page in memory too
	lead     int    // bytes of buf that were written before
	requests []*request
	next     es.Position // after the batch
	tree     tree        // with it
}

// fresh says whether b holds frames that were not written.
func (b *batch) fresh() bool { return len(b.buf) > b.lead }

// keptBytes is how large a batch may be of which the memory is used again.
const keptBytes = 1 << 20

// begin empties b, which goes on where another ends.
func (b *batch) begin(before *batch) {
	from := len(before.buf) / pageBytes * pageBytes
	b.at, b.buf, b.requests = before.at+int64(from), b.buf[:0], b.requests[:0]
	if cap(b.buf) > keptBytes {
		b.buf = nil
	}
	b.reserve(pageBytes)
	b.buf = append(b.buf, before.buf[from:]...)
	b.lead = len(b.buf)
}

// restart empties b, which goes to the beginning of a segment, or on after lead.
func (b *batch) restart(at int64, lead []byte) {
	b.begin(&batch{at: at, buf: lead})
}

// reserve makes room for n more bytes and the rest of a page after them.
func (b *batch) reserve(n int) {
	if need := len(b.buf) + n + pageBytes; need > cap(b.buf) {
		b.buf = append(pageAligned(max(need, 2*cap(b.buf))), b.buf...)
	}
}

// pageAligned returns an empty slice with room for n bytes that begins with a page in
// memory.
func pageAligned(n int) []byte {
	p := make([]byte, n+pageBytes)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(p)))) & (pageBytes - 1) //nolint:gosec // only to look at the address
	return p[skip : skip : skip+n]
}

// fly is the goroutine that takes batches to the disk.
func (s *Store) fly() {
	for b := range s.sent {
		s.commit(b)
		s.landed <- struct{}{}
	}
}

// commit makes a batch durable, then visible, then answers it.
func (s *Store) commit(b *batch) {
	if b.fresh() && s.sync(b) == nil {
		fault(afterDurable)
		s.treeMu.Lock()
		s.tree, b.tree = b.tree, s.tree
		s.treeMu.Unlock()
		s.durable.Publish(b.next)
	}
	unknown := s.Failed()
	for i, r := range b.requests {
		if unknown != nil {
			r.receipt, r.err = es.Receipt{}, fmt.Errorf("%w: %w", es.ErrCommitUnknown, unknown)
		}
		r.finish()
		b.requests[i] = nil
	}
}

// sync writes a batch in one piece. An error is final: the kernel may have
// dropped the pages and would report success the next time.
func (s *Store) sync(b *batch) error {
	if err := s.Failed(); err != nil {
		return err // a gap must not be left in the log
	}
	fault(beforeWrite)
	whole := b.buf
	if rest := len(whole) % pageBytes; rest > 0 {
		whole = append(whole, zeroPage[:pageBytes-rest]...)
	}
	err := b.segment.put(whole, b.at)
	if err != nil {
		s.fail(fmt.Errorf("write %s: %w", b.segment.name, err))
		return err
	}
	b.segment.tail.keep(b.buf[b.lead:], b.at+int64(b.lead))
	return nil
}

var zeroPage [pageBytes]byte

func (s *Store) fail(err error) { s.failed.CompareAndSwap(nil, &failure{err}) }

// put writes whole pages and waits until they are on the disk: past the page
// cache where that is possible.
func (f *file) put(b []byte, off int64) error {
	if f.direct != nil {
		_, err := f.direct.WriteAt(b, off)
		if err == nil {
			return f.direct.SyncData()
		}
		if !errors.Is(err, syscall.EINVAL) {
			return err
		}
		_ = f.direct.Close() // it was opened, and yet cannot be written to in pages
		f.direct = nil
	}
	if _, err := f.WriteAt(b, off); err != nil {
		return err
	}
	return f.SyncData()
}

// bypass opens f past the page cache, if the file system can do that.
func (f *file) bypass(files vfs.FS, dir string) {
	if d, ok := files.(vfs.Director); ok {
		f.direct, _ = d.OpenDirect(path.Join(dir, f.name)) // else it is written as any file
	}
}

// finish ends what only a segment has that is written.
func (f *file) finish() error {
	f.tail.drop()
	if f.direct == nil {
		return nil
	}
	err := f.direct.Close()
	f.direct = nil
	return err
}
