package onchain

import (
	"encoding/binary"
	"math/bits"
)

// Keccak256 is the digest that chains use. It is not SHA3-256: that one pads
// otherwise and signs Golem's payment documents. The standard library has
// only SHA-3, so the permutation is written out here (Keccak team, "Keccak
// specifications summary").
func Keccak256(data []byte) Hash {
	const rate = 136
	var s [25]uint64
	for len(data) >= rate {
		absorb(&s, data[:rate])
		data = data[rate:]
	}
	last := make([]byte, rate)
	copy(last, data)
	last[len(data)] ^= 0x01
	last[rate-1] ^= 0x80
	absorb(&s, last)

	var out Hash
	for i := range 4 {
		binary.LittleEndian.PutUint64(out[8*i:], s[i])
	}
	return out
}

func absorb(s *[25]uint64, block []byte) {
	for i := range len(block) / 8 {
		s[i] ^= binary.LittleEndian.Uint64(block[8*i:])
	}
	permute(s)
}

func permute(s *[25]uint64) {
	for _, rc := range roundConstants {
		theta(s)
		rhoPi(s)
		chi(s)
		s[0] ^= rc
	}
}

func theta(s *[25]uint64) {
	var c [5]uint64
	for x := range 5 {
		c[x] = s[x] ^ s[x+5] ^ s[x+10] ^ s[x+15] ^ s[x+20]
	}
	for i := range s {
		s[i] ^= c[(i+4)%5] ^ bits.RotateLeft64(c[(i+1)%5], 1)
	}
}

// rhoPi walks all lanes but the first along one cycle, turning each by the
// next triangular number.
func rhoPi(s *[25]uint64) {
	x, y, carried := 1, 0, s[1]
	for t := range 24 {
		x, y = y, (2*x+3*y)%5
		carried, s[x+5*y] = s[x+5*y], bits.RotateLeft64(carried, (t+1)*(t+2)/2)
	}
}

func chi(s *[25]uint64) {
	for y := 0; y < 25; y += 5 {
		row := [5]uint64(s[y : y+5])
		for x := range 5 {
			s[y+x] = row[x] ^ (^row[(x+1)%5] & row[(x+2)%5])
		}
	}
}

var roundConstants = [24]uint64{
	0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000,
	0x000000000000808b, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009,
	0x000000000000008a, 0x0000000000000088, 0x0000000080008009, 0x000000008000000a,
	0x000000008000808b, 0x800000000000008b, 0x8000000000008089, 0x8000000000008003,
	0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a,
	0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
}
