package segment

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"github.com/emet-node/emet/domain/es"
)

const (
	eventVersion = 1
	saltBytes    = 16
	// fixedHeader is what a header weighs without stream, type and subject.
	fixedHeader = 1 + 8 + 2 + 8 + 16 + 2 + 8 + 1 + 1 + 32 + 32 + 32 + 2

	contentJSON  = 1
	contentBytes = 2 // sealed data is no JSON
)

// slot says where in an encoded event the writer must still fill in what only
// it knows: position, revision, time and previous leaf.
type slot struct {
	head       int // offset of the header
	size       int // of the header
	revisionAt int
	recordedAt int
	previousAt int
}

// encodeEvent appends e to b with those fields blank.
func encodeEvent(b []byte, stream es.Stream, e *es.NewEvent) ([]byte, slot) {
	size := fixedHeader + len(stream) + len(e.Type) + len(e.Subject)
	b = binary.AppendUvarint(b, uint64(size))
	s := slot{head: len(b), size: size}
	content := byte(contentJSON)
	if e.Subject != "" {
		content = contentBytes
	}
	var salts [2 * saltBytes]byte
	freshSalts(&salts)

	b = append(b, eventVersion, 0, 0, 0, 0, 0, 0, 0, 0)
	b = appendName(b, string(stream))
	s.revisionAt = len(b)
	b = append(b, zeros[:8]...)
	b = append(b, e.ID[:]...)
	b = appendName(b, e.Type)
	s.recordedAt = len(b)
	b = append(b, zeros[:8]...)
	b = append(b, content, 0)
	s.previousAt = len(b)
	b = append(b, zeros[:3*32]...)
	b = appendName(b, e.Subject)
	b = appendSalted(b, s.previousAt+32, salts[:saltBytes], e.Data)
	b = appendSalted(b, s.previousAt+64, salts[saltBytes:], e.Meta)
	return b, s
}

var zeros [256]byte

// fill completes the header and returns its leaf hash.
func (s slot) fill(b []byte, p es.Position, r es.Revision, recorded time.Time, previous *es.Hash) es.Hash {
	le.PutUint64(b[s.head+1:], uint64(p))
	le.PutUint64(b[s.revisionAt:], uint64(r))
	le.PutUint64(b[s.recordedAt:], uint64(recorded.UnixNano()))
	copy(b[s.previousAt:], previous[:])
	return hashAfter(0, b, s.head, s.head+s.size)
}

// hashAfter is SHA-256(first ‖ b[from:to]). It borrows the byte before, so that
// nothing is copied.
func hashAfter(first byte, b []byte, from, to int) es.Hash {
	kept := b[from-1]
	b[from-1] = first
	h := sha256.Sum256(b[from-1 : to])
	b[from-1] = kept
	return h
}

func appendName(b []byte, s string) []byte {
	return append(le.AppendUint16(b, uint16(len(s))), s...)
}

// appendSalted appends a payload, and puts what commits to it at an offset
// before.
func appendSalted(b []byte, commitment int, salt, content []byte) []byte {
	b = binary.AppendUvarint(b, uint64(saltBytes+len(content)))
	from := len(b)
	b = append(append(b, salt...), content...)
	h := hashAfter(2, b, from, len(b))
	copy(b[commitment:], h[:])
	return b
}

// leafHash is RFC 6962's hash of a leaf.
func leafHash(header []byte) es.Hash {
	var small [512]byte
	return sha256.Sum256(append(append(small[:0], 0), header...))
}

// saltPool spares events a system call each.
var saltPool = sync.Pool{New: func() any { return &salts{} }}

type salts struct {
	fresh []byte
	buf   [4096]byte
}

func freshSalts(out *[2 * saltBytes]byte) {
	p := saltPool.Get().(*salts) //nolint:forcetypeassert // the pool holds nothing else
	defer saltPool.Put(p)
	if len(p.fresh) == 0 {
		_, _ = rand.Read(p.buf[:]) // never fails
		p.fresh = p.buf[:]
	}
	n := copy(out[:], p.fresh)
	clear(p.fresh[:n]) // a salt must not be found in memory beside the next event
	p.fresh = p.fresh[n:]
}

var errEvent = errors.New("event is not well formed")

// stored is an event as it lies in a frame. Its slices are views of the frame.
type stored struct {
	header           []byte
	position         es.Position
	stream           []byte
	revision         es.Revision
	id               es.ID
	typ              []byte
	recorded         int64 // unix ns
	previous         es.Hash
	dataCommitment   []byte
	metaCommitment   []byte
	subject          []byte
	dataSalted, meta []byte // with their salts
}

// cutEvent decodes the first event in b and returns the rest.
func cutEvent(b []byte) (e stored, rest []byte, err error) {
	rest, err = e.cut(b)
	return e, rest, err
}

// cut decodes the first event in b into e and returns the rest.
func (e *stored) cut(b []byte) (rest []byte, err error) {
	if e.header, b, err = cutBlock(b); err != nil {
		return nil, err
	}
	if e.dataSalted, b, err = cutBlock(b); err != nil {
		return nil, err
	}
	if e.meta, b, err = cutBlock(b); err != nil {
		return nil, err
	}
	if len(e.dataSalted) < saltBytes || len(e.meta) < saltBytes {
		return nil, fmt.Errorf("%w: no salt", errEvent)
	}
	return b, e.decodeHeader()
}

func cutBlock(b []byte) (block, rest []byte, err error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, nil, fmt.Errorf("%w: a length leads out of the frame", errEvent)
	}
	return b[w : w+int(n) : w+int(n)], b[w+int(n):], nil
}

func (e *stored) decodeHeader() error {
	b := e.header
	if len(b) < fixedHeader || b[0] != eventVersion {
		return fmt.Errorf("%w: header of %d bytes", errEvent, len(b))
	}
	// What is between the names has a fixed size, so it is enough to look at
	// the lengths of the names.
	stream := 11
	revision := stream + int(le.Uint16(b[9:]))
	if revision+26 > len(b) {
		return e.doesNotAddUp()
	}
	typ := revision + 26
	recorded := typ + int(le.Uint16(b[typ-2:]))
	if recorded+108 > len(b) {
		return e.doesNotAddUp()
	}
	subject := recorded + 108
	if subject+int(le.Uint16(b[subject-2:])) != len(b) {
		return e.doesNotAddUp()
	}
	e.position = es.Position(le.Uint64(b[1:]))
	e.stream = b[stream:revision]
	e.revision = es.Revision(le.Uint64(b[revision:]))
	e.id = es.ID(b[revision+8:])
	e.typ = b[typ:recorded]
	e.recorded = int64(le.Uint64(b[recorded:]))
	e.previous = es.Hash(b[recorded+10:])
	e.dataCommitment, e.metaCommitment = b[recorded+42:recorded+74], b[recorded+74:recorded+106]
	e.subject = b[subject:]
	return nil
}

func (e *stored) doesNotAddUp() error {
	return fmt.Errorf("%w: header of %d bytes does not add up", errEvent, len(e.header))
}

// matches says whether f lets e pass. The names are not copied: nothing that
// looks at them keeps them.
func (e *stored) matches(f *es.Filter) bool {
	return f.Match(es.Stream(unsafe.String(unsafe.SliceData(e.stream), len(e.stream))), unsafe.String(unsafe.SliceData(e.typ), len(e.typ))) //nolint:gosec // see above
}

// committed says whether the payloads are those that the header commits to.
func (e *stored) committed() bool {
	same := func(commitment, salted []byte) bool {
		h := sha256.Sum256(append([]byte{2}, salted...))
		return string(h[:]) == string(commitment)
	}
	return same(e.dataCommitment, e.dataSalted) && same(e.metaCommitment, e.meta)
}

// event copies e out of its frame.
func (e *stored) event() es.Event {
	payload := make([]byte, 0, len(e.dataSalted)+len(e.meta)-2*saltBytes)
	payload = append(payload, e.dataSalted[saltBytes:]...)
	n := len(payload)
	payload = append(payload, e.meta[saltBytes:]...)
	return es.Event{
		NewEvent: es.NewEvent{ID: e.id, Type: string(e.typ), Data: payload[:n:n], Meta: payload[n:], Subject: string(e.subject)},
		Stream:   es.Stream(e.stream), Revision: e.revision, Position: e.position,
		Recorded: time.Unix(0, e.recorded).UTC(), Leaf: leafHash(e.header), PrevInStream: e.previous,
	}
}
