package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/emet-node/emet/domain/es"
)

const (
	magic         = "EMETLOG1"
	formatVersion = 1
	headerBytes   = 4096
	headerUsed    = 132
	suffix        = ".elog"
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
	be         = binary.BigEndian
)

// header is the first page of a segment: where it belongs.
type header struct {
	LogID   [16]byte
	First   es.Position
	Salt    [16]byte // binds frames to this file
	Chain   es.Hash  // of the last frame before
	Root    es.Hash  // of the tree over all events before
	Created int64    // unix ns
}

func (h header) encode() []byte {
	b := make([]byte, headerBytes)
	copy(b, magic)
	le.PutUint16(b[8:], formatVersion)
	le.PutUint16(b[10:], headerBytes)
	copy(b[16:], h.LogID[:])
	le.PutUint64(b[32:], uint64(h.First))
	copy(b[40:], h.Salt[:])
	copy(b[56:], h.Chain[:])
	copy(b[88:], h.Root[:])
	le.PutUint64(b[120:], uint64(h.Created))
	le.PutUint32(b[128:], crc32.Checksum(b[:128], castagnoli))
	return b
}

func decodeHeader(b []byte) (h header, err error) {
	switch {
	case len(b) < headerBytes:
		return h, fmt.Errorf("header has %d bytes, want %d", len(b), headerBytes)
	case string(b[:8]) != magic:
		return h, errors.New("not a segment of an event log")
	case le.Uint32(b[128:]) != crc32.Checksum(b[:128], castagnoli):
		return h, errors.New("header checksum is wrong")
	case le.Uint16(b[8:]) != formatVersion || le.Uint16(b[10:]) != headerBytes || le.Uint32(b[12:]) != 0:
		return h, fmt.Errorf("format version %d is not known to this build", le.Uint16(b[8:]))
	case !isZero(b[headerUsed:headerBytes]):
		return h, errors.New("header padding is not zero")
	}
	copy(h.LogID[:], b[16:])
	h.First = es.Position(le.Uint64(b[32:]))
	copy(h.Salt[:], b[40:])
	copy(h.Chain[:], b[56:])
	copy(h.Root[:], b[88:])
	h.Created = int64(le.Uint64(b[120:]))
	return h, nil
}

func isZero(b []byte) bool {
	for len(b) >= 8 {
		if le.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
