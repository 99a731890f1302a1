package verify

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/emet-node/emet/domain/es"
)

// header is the leaf of an event, taken apart.
type header struct {
	position       uint64
	stream         string
	revision       uint64
	id             es.ID
	typ            string
	recorded       time.Time
	previous       es.Hash
	data, meta     []byte // commitments
	subject        string
	sealed         bool // content type
	version, flags byte
}

// reader takes fields off the front; after the first that is not there all are
// empty.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || len(r.b) < n {
		r.bad = true
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u64() uint64  { return binary.LittleEndian.Uint64(r.take(8)) }
func (r *reader) name() string { return string(r.take(int(binary.LittleEndian.Uint16(r.take(2))))) }

func parseHeader(b []byte) (header, error) {
	r := &reader{b: b}
	h := header{version: r.take(1)[0], position: r.u64(), stream: r.name(), revision: r.u64()}
	copy(h.id[:], r.take(16))
	h.typ = r.name()
	ns := r.u64()
	content := r.take(1)[0]
	h.flags = r.take(1)[0]
	copy(h.previous[:], r.take(32))
	h.data, h.meta = r.take(32), r.take(32)
	h.subject, h.sealed = r.name(), content == 2
	switch {
	case r.bad, len(r.b) != 0, ns > math.MaxInt64, h.revision > math.MaxInt64:
		return h, fmt.Errorf("%w: the header of the event does not add up", ErrMalformed)
	case h.version != 1, h.flags != 0, content != 1 && content != 2:
		return h, fmt.Errorf("%w: version %d, content %d, flags %d of the event are not known here", ErrMalformed, h.version, content, h.flags)
	}
	h.recorded = time.Unix(0, int64(ns)).UTC()
	return h, nil
}
