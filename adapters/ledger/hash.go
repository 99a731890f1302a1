package ledger

import (
	"crypto/sha256"

	"github.com/emet-node/emet/domain/es"
)

func nodeHash(l, r *es.Hash) es.Hash {
	var b [65]byte
	b[0] = 1
	copy(b[1:], l[:])
	copy(b[33:], r[:])
	return sha256.Sum256(b[:])
}

// perfect is the root of a perfect tree over hashes, a power of two of them
// and at most a tile.
func perfect(hashes []es.Hash) es.Hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	var buf [tileWidth / 2]es.Hash
	row := buf[:len(hashes)/2]
	for i := range row {
		row[i] = nodeHash(&hashes[2*i], &hashes[2*i+1])
	}
	for len(row) > 1 {
		for i := range len(row) / 2 {
			row[i] = nodeHash(&row[2*i], &row[2*i+1])
		}
		row = row[:len(row)/2]
	}
	return row[0]
}

func join(hashes []es.Hash) []byte {
	b := make([]byte, 0, len(hashes)*sha256.Size)
	for i := range hashes {
		b = append(b, hashes[i][:]...)
	}
	return b
}

func split(b []byte) []es.Hash {
	out := make([]es.Hash, len(b)/sha256.Size)
	for i := range out {
		copy(out[i][:], b[i*sha256.Size:])
	}
	return out
}
