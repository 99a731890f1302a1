package verifier

import (
	"encoding/binary"
	"math/bits"
)

// field is a number modulo the prime of secp256k1, p = 2²⁵⁶ − c, in four words,
// the lowest first, always below p.
type field [4]uint64

// fold is c.
const fold = 0x1000003d1

var prime = field{^uint64(fold) + 1, ^uint64(0), ^uint64(0), ^uint64(0)}

// fieldOf reads 32 bytes, big-endian; ok is false for p and above.
func fieldOf(b []byte) (z field, ok bool) {
	for i := range z {
		z[3-i] = binary.BigEndian.Uint64(b[8*i:])
	}
	return z, z.less(prime)
}

func (z field) bytes() (b [32]byte) {
	for i := range z {
		binary.BigEndian.PutUint64(b[8*i:], z[3-i])
	}
	return b
}

func (z field) less(x field) bool {
	for i := 3; i >= 0; i-- {
		if z[i] != x[i] {
			return z[i] < x[i]
		}
	}
	return false
}

func (z field) zero() bool { return z == field{} }

func (z field) add(x field) field {
	var carry uint64
	for i := range z {
		z[i], carry = bits.Add64(z[i], x[i], carry)
	}
	return z.settle(carry)
}

// settle takes p off a number of four words and a carry, once at most.
func (z field) settle(carry uint64) field {
	if carry == 0 && z.less(prime) {
		return z
	}
	var borrow uint64
	for i := range z {
		z[i], borrow = bits.Sub64(z[i], prime[i], borrow)
	}
	return z
}

func (z field) negated() field {
	if z.zero() {
		return z
	}
	var out field
	var borrow uint64
	for i := range z {
		out[i], borrow = bits.Sub64(prime[i], z[i], borrow)
	}
	return out
}

func (z field) sub(x field) field { return z.add(x.negated()) }

func (z field) double() field { return z.add(z) }

// mul multiplies: eight words, of which the upper four count c times.
func (z field) mul(x field) field {
	var w [8]uint64
	for i := range z {
		var carry uint64
		for j := range x {
			hi, lo := bits.Mul64(z[i], x[j])
			var c uint64
			lo, c = bits.Add64(lo, w[i+j], 0)
			hi += c
			lo, c = bits.Add64(lo, carry, 0)
			w[i+j], carry = lo, hi+c
		}
		w[i+4] = carry
	}
	var over uint64
	low := field(w[:4])
	for i := range low {
		hi, lo := bits.Mul64(w[i+4], fold)
		var c uint64
		lo, c = bits.Add64(lo, over, 0)
		hi += c
		low[i], c = bits.Add64(low[i], lo, 0)
		over = hi + c
	}
	hi, lo := bits.Mul64(over, fold)
	var c uint64
	low[0], c = bits.Add64(low[0], lo, 0)
	low[1], c = bits.Add64(low[1], hi, c)
	low[2], c = bits.Add64(low[2], 0, c)
	low[3], c = bits.Add64(low[3], 0, c)
	return low.settle(c)
}

func (z field) square() field { return z.mul(z) }

// power raises to an exponent, big-endian.
func (z field) power(exponent [32]byte) field {
	out := field{1}
	for _, b := range exponent {
		for bit := 7; bit >= 0; bit-- {
			out = out.square()
			if b>>bit&1 == 1 {
				out = out.mul(z)
			}
		}
	}
	return out
}

func (z field) inverse() field {
	return z.power(prime.sub2().bytes())
}

// sub2 is p − 2, for which no borrow is needed.
func (z field) sub2() field { z[0] -= 2; return z }

// root is a square root, if there is one.
func (z field) root() (field, bool) {
	e := prime // (p + 1) / 4
	e[0]++
	for i := range e {
		e[i] >>= 2
		if i < 3 {
			e[i] |= prime[i+1] << 62
		}
	}
	r := z.power(e.bytes())
	return r, r.square() == z
}
