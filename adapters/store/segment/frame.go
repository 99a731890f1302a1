package segment

import (
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/emet-node/emet/domain/es"
)

const (
	frameHead  = 64      // bytes before the events
	frameAlign = 8       // frames begin and end on multiples
	frameCRCAt = 8       // where the body begins, of which length and CRC speak
	maxFrame   = 1 << 30 // no frame is larger, whatever its length says
)

// errEnd says that no frame begins here: the data of the segment ends.
var errEnd = errors.New("end of data")

// frame is one append as it lies in a segment.
type frame struct {
	First     es.Position
	Count     int
	Watermark es.Position
	Chain     es.Hash
	Events    []byte // a view of the buffer it was decoded from
	Size      int64  // on disk, padding included
}

func padded(n int) int { return (n + frameAlign - 1) &^ (frameAlign - 1) }

// sealFrame fills in the head of the frame that begins at index at of buf and
// has its events in place, and returns buf with the frame's padding. The frame
// goes to off in the segment. The address is there to be overwritten.
func sealFrame(buf []byte, at int, salt *[16]byte, off int64, f *frame, p *address) []byte {
	b := buf[at:]
	body := len(b) - frameCRCAt
	le.PutUint32(b, uint32(body))
	le.PutUint64(b[8:], uint64(f.First))
	le.PutUint32(b[16:], uint32(f.Count))
	le.PutUint32(b[20:], 0) // flags and reserved
	le.PutUint64(b[24:], uint64(f.Watermark))
	copy(b[32:], f.Chain[:])
	le.PutUint32(b[4:], p.frameCRC(salt, off, b))
	var zeros [frameAlign]byte
	return append(buf, zeros[:padded(len(b))-len(b)]...)
}

// address is where a frame was written: salt of its segment, offset and length.
// It is handed around since what a checksum is made of goes to the heap.
type address [28]byte

// frameCRC covers the frame in b and the place it was written to.
func (p *address) frameCRC(salt *[16]byte, off int64, b []byte) uint32 {
	copy(p[:], salt[:])
	le.PutUint64(p[16:], uint64(off))
	copy(p[24:], b[:4])
	return crc32.Update(crc32.Update(0, castagnoli, p[:]), castagnoli, b[frameCRCAt:])
}

// frameSize reads from the first word of a frame how long it is on disk.
func frameSize(word []byte, room int64) (int64, error) {
	body := int64(le.Uint32(word))
	switch size := int64(padded(int(body) + frameCRCAt)); {
	case body == 0:
		return 0, errEnd
	case body < frameHead-frameCRCAt || body > maxFrame:
		return 0, fmt.Errorf("frame length %d is impossible", body)
	case size > room:
		return 0, fmt.Errorf("frame of %d bytes in the last %d of the segment", size, room)
	default:
		return size, nil
	}
}

// decodeFrame reads the frame that fills b and lies at off.
func decodeFrame(b []byte, salt *[16]byte, off int64) (f frame, err error) {
	size, err := frameSize(b, int64(len(b)))
	if err != nil {
		return frame{}, err
	}
	if err := f.decode(b[:size], salt, off, new(address)); err != nil {
		return frame{}, err
	}
	return f, nil
}

// decode reads the frame that is b, padding and all, and lies at off. What f
// is after an error is void.
func (f *frame) decode(b []byte, salt *[16]byte, off int64, p *address) error {
	end := frameCRCAt + int(le.Uint32(b))
	f.First, f.Count, f.Watermark = es.Position(le.Uint64(b[8:])), int(le.Uint32(b[16:])), es.Position(le.Uint64(b[24:]))
	f.Chain, f.Events, f.Size = es.Hash(b[32:]), b[frameHead:end], int64(len(b))
	switch {
	case le.Uint32(b[4:]) != p.frameCRC(salt, off, b[:end]):
		return errors.New("frame checksum is wrong")
	case !isZero(b[end:]):
		return errors.New("frame padding is not zero")
	case le.Uint32(b[20:]) != 0:
		return errors.New("frame flags are not known to this build")
	}
	return nil
}
