package segment

import (
	"errors"
	"fmt"
	"io"

	"github.com/emet-node/emet/domain/es"
)

// errRead says that the disk did not answer. It is never taken for damage.
var errRead = errors.New("cannot be read")

const readAhead = 128 << 10

// cursor walks over the frames of one segment.
type cursor struct {
	file io.ReaderAt
	salt [16]byte
	size int64
	off  int64 // of the next frame
	buf  []byte
	at   int64 // of buf in the file
	step int   // how much to read at a time
	address
}

// newCursor reads little at first, since a follower of the log needs no more,
// and then more and more.
func newCursor(f *file, off int64) *cursor {
	return &cursor{file: f, salt: f.Salt, size: f.size, off: off, step: 2 * pageBytes}
}

// view returns n bytes at off, fewer where the file ends.
func (c *cursor) view(off int64, n int) ([]byte, error) {
	n = int(min(int64(n), c.size-off))
	if b := c.held(off); len(b) >= n {
		return b[:n], nil
	}
	// Whole pages are copied faster than what lies across them.
	at := off &^ (pageBytes - 1)
	want := int(min(max(off-at+int64(n), int64(c.step)), c.size-at))
	c.step = min(2*c.step, readAhead)
	if cap(c.buf) < want {
		c.buf = make([]byte, want)
	}
	c.buf, c.at = c.buf[:want], at
	if got, err := c.file.ReadAt(c.buf, at); got < want && err != nil {
		c.buf = c.buf[:0]
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("%w at byte %d: %w", errRead, at, err)
	}
	return c.held(off)[:n], nil
}

// held is what the buffer has from off on.
func (c *cursor) held(off int64) []byte {
	if i := off - c.at; i >= 0 && i < int64(len(c.buf)) {
		return c.buf[i:]
	}
	return nil
}

// peek decodes the frame at off. The frame is valid until the next call.
func (c *cursor) peek(off int64) (f frame, err error) {
	if err := c.read(&f, off); err != nil {
		return frame{}, err
	}
	return f, nil
}

func (c *cursor) read(f *frame, off int64) error {
	room := c.size - off
	if room < frameCRCAt {
		return errEnd
	}
	b := c.held(off)
	if len(b) < frameCRCAt {
		var err error
		if b, err = c.view(off, frameCRCAt); err != nil {
			return err
		}
	}
	size, err := frameSize(b, room)
	if err != nil {
		return err
	}
	if int64(len(b)) < size {
		if b, err = c.view(off, int(size)); err != nil {
			return err
		}
	}
	return f.decode(b[:size], &c.salt, off, &c.address)
}

// next decodes the frame under the cursor and moves on. [errEnd] ends the data.
func (c *cursor) next() (f frame, err error) {
	if err := c.advance(&f); err != nil {
		return frame{}, err
	}
	return f, nil
}

// advance is next for those who read many frames. What f is after an error is
// void.
func (c *cursor) advance(f *frame) error {
	if err := c.read(f, c.off); err != nil {
		return err
	}
	c.off += f.Size
	return nil
}

// arrived says whether the frame under the cursor is whole by now: another
// process may have written it after it was looked at.
func (c *cursor) arrived() bool {
	c.buf = c.buf[:0]
	_, err := c.peek(c.off)
	return err == nil
}

// ahead is what lies after the last good frame.
type ahead struct {
	zero      bool        // nothing but zeros
	watermark es.Position // highest of all later frames that are whole
	found     bool        // there are such frames
	off       int64       // of the first of them
	first     es.Position
}

// lookAhead searches everything after the cursor for whole frames.
func (c *cursor) lookAhead() (a ahead, err error) {
	a.zero = true
	for off := c.off; off < c.size; {
		b, err := c.view(off, 4096)
		if err != nil {
			return a, err
		}
		if isZero(b) {
			off += int64(len(b))
			continue
		}
		a.zero = false
		step := int64(frameAlign)
		if len(b) >= frameHead && plausible(b) {
			f, err := c.peek(off)
			if errors.Is(err, errRead) {
				return a, err
			}
			if err == nil {
				if !a.found {
					a.found, a.off, a.first = true, off, f.First
				}
				a.watermark = max(a.watermark, f.Watermark)
				step = f.Size
			}
		}
		off += step
	}
	return a, nil
}

// plausible spares the checksum where no frame can be.
func plausible(b []byte) bool {
	return le.Uint32(b) >= frameHead-frameCRCAt && le.Uint32(b[16:]) <= es.MaxAppendEvents && le.Uint32(b[20:]) == 0
}
