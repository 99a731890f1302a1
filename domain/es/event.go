package es

import (
	"crypto/sha1" //nolint:gosec // RFC 4122 version 5 is defined over SHA-1; it names events, it does not protect them
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

type (
	// A Position is a place in the whole log: dense, from 0. It is also the
	// index of the event's leaf in the Merkle tree.
	Position uint64
	// A Revision is a place in one stream, from 0. The negative values say what
	// a writer expects of a stream instead of naming a revision.
	Revision int64
	// A Stream is a consistency boundary, named "<category>-<id>". The category
	// has no '-'; the id is kept unaltered.
	Stream string
	// An ID names an event and is its idempotency key in the store.
	ID [16]byte
	// A Hash is a SHA-256 digest.
	Hash [32]byte
)

// Expected revisions with a meaning of their own.
const (
	Any          Revision = -2 // no expectation
	NoStream     Revision = -1 // the stream must not exist yet
	StreamExists Revision = -4 // the stream must exist, at any revision
)

// NewEvent is an event as its writer hands it in.
type NewEvent struct {
	ID   ID
	Type string // "<package>.<past_tense_snake>.v<N>"; names beginning with '$' belong to the store
	Data []byte // canonical JSON; sealed when Subject is set
	Meta []byte // canonical JSON, never sealed
	// Subject names the key that Data is sealed with, "" = not sealed.
	Subject string
}

// Event is an event as the log holds it.
type Event struct {
	NewEvent
	Stream   Stream
	Revision Revision
	Position Position
	// Recorded is UTC, whole microseconds, strictly increasing over the store.
	Recorded time.Time
	// Leaf is the RFC 6962 leaf hash of the event's header; PrevInStream is the
	// leaf of the stream's event before (zero for the first). Engines without
	// a ledger leave both zero.
	Leaf, PrevInStream Hash
}

// Write is what one Append adds to one stream.
type Write struct {
	Stream   Stream
	Expected Revision
	Events   []NewEvent
}

// Check is a condition on a stream that an Append does not write.
type Check struct {
	Stream   Stream
	Expected Revision
}

// Receipt says where an Append went. Heads holds the last revision of each
// write, in the order of the writes.
type Receipt struct {
	First, Last Position
	Recorded    time.Time // of the first event
	Heads       []Revision
}

// StreamOf joins a category and an id.
func StreamOf(category, id string) Stream { return Stream(category + "-" + id) }

// Category is the part before the first '-'.
func (s Stream) Category() string { c, _, _ := strings.Cut(string(s), "-"); return c }

// Key is the part after the first '-', the id as its writer spelled it.
func (s Stream) Key() string { _, id, _ := strings.Cut(string(s), "-"); return id }

// namespace of event ids, fixed for ever.
var namespace = ID{0x65, 0x6d, 0x65, 0x74, 0x2d, 0x6e, 0x4f, 0x64, 0x85, 0x2f, 0x65, 0x76, 0x65, 0x6e, 0x74, 0x31}

// FactName is a type without the version of its written form:
// "agreement.created" of "agreement.created.v1". Who reads facts of any age asks
// for names: old versions are decoded in their newest form. A type without a
// version is its own name.
func FactName(typ string) string {
	i := strings.LastIndexByte(typ, '.')
	if i < 0 || len(typ) < i+3 || typ[i+1] != 'v' {
		return typ
	}
	for _, c := range typ[i+2:] {
		if c < '0' || c > '9' {
			return typ
		}
	}
	return typ[:i]
}

// EventID derives the id of the index-th event that the command with key wrote
// to stream: UUIDv5(namespace, stream ‖ 0 ‖ key ‖ 0 ‖ index). The same command
// thus writes the same ids however often it is tried.
func EventID(stream Stream, key string, index int) ID {
	return NameID(namespace, fmt.Sprintf("%s\x00%s\x00%d", stream, key, index))
}

// NameID is the UUIDv5 of name in a namespace (RFC 4122 §4.3).
func NameID(space ID, name string) ID {
	h := sha1.New() //nolint:gosec // see the import
	h.Write(space[:])
	h.Write([]byte(name))
	var id ID
	copy(id[:], h.Sum(nil))
	id[6] = id[6]&0x0f | 0x50
	id[8] = id[8]&0x3f | 0x80
	return id
}

// String is the id in the usual form with dashes.
func (id ID) String() string {
	h := hex.EncodeToString(id[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// IsZero says whether the id was never set.
func (id ID) IsZero() bool { return id == ID{} }

// ParseID reads a UUID with or without dashes.
func ParseID(s string) (ID, error) {
	var id ID
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("event id %q: want 32 hexadecimal digits", s)
	}
	return ID(b), nil
}

// String is the digest in lower-case hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }
