package segment

import "sync"

// tail is the newest bytes of the segment that is written, in a ring. Those who
// follow the log read them from here: what was written past the page cache would
// have to come back from the disk.
type tail struct {
	mu       sync.RWMutex
	from, to int64 // in the segment; byte n is at n % tailBytes
	ring     []byte
}

const tailBytes = 1 << 20

// keep adds what was written at off, the end of the tail if it has one.
func (t *tail) keep(b []byte, off int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ring == nil {
		t.ring = make([]byte, tailBytes)
	}
	if off != t.to {
		t.from = off
	}
	t.to = off + int64(len(b))
	t.from = max(t.from, t.to-tailBytes)
	for n := max(len(b)-tailBytes, 0); n < len(b); {
		n += copy(t.ring[(off+int64(n))%tailBytes:], b[n:])
	}
}

// read fills b with what is at off, and with zeros after the end, if the tail
// reaches back so far.
func (t *tail) read(b []byte, off int64) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if off < t.from || off >= t.to {
		return false
	}
	known := b[:min(int64(len(b)), t.to-off)]
	for n := 0; n < len(known); {
		n += copy(known[n:], t.ring[(off+int64(n))%tailBytes:])
	}
	clear(b[len(known):])
	return true
}

// drop forgets everything: the segment is not written any more.
func (t *tail) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.from, t.to, t.ring = 0, 0, nil
}

// ReadAt reads from the file or, what was written last, from memory.
func (f *file) ReadAt(b []byte, off int64) (int, error) {
	if f.tail.read(b, off) {
		return len(b), nil
	}
	return f.File.ReadAt(b, off)
}
