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
	var c uint64
	z[0], c = bits.Add64(z[0], x[0], 0)
	z[1], c = bits.Add64(z[1], x[1], c)
	z[2], c = bits.Add64(z[2], x[2], c)
	z[3], c = bits.Add64(z[3], x[3], c)
	return z.settle(c)
}

// settle takes p off a number of four words and a carry, once at most.
func (z field) settle(carry uint64) field {
	var y field
	var b uint64
	y[0], b = bits.Sub64(z[0], prime[0], 0)
	y[1], b = bits.Sub64(z[1], prime[1], b)
	y[2], b = bits.Sub64(z[2], prime[2], b)
	y[3], b = bits.Sub64(z[3], prime[3], b)
	if carry == 0 && b == 1 {
		return z
	}
	return y
}

func (z field) negated() field { return field{}.sub(z) }

func (z field) sub(x field) field {
	var b, c uint64
	z[0], b = bits.Sub64(z[0], x[0], 0)
	z[1], b = bits.Sub64(z[1], x[1], b)
	z[2], b = bits.Sub64(z[2], x[2], b)
	z[3], b = bits.Sub64(z[3], x[3], b)
	if b == 0 {
		return z
	}
	z[0], c = bits.Add64(z[0], prime[0], 0)
	z[1], c = bits.Add64(z[1], prime[1], c)
	z[2], c = bits.Add64(z[2], prime[2], c)
	z[3], _ = bits.Add64(z[3], prime[3], c)
	return z
}

func (z field) double() field { return z.add(z) }

// mac is a·b + sum + carry, which two words always hold.
func mac(a, b, sum, carry uint64) (low, high uint64) {
	high, low = bits.Mul64(a, b)
	var c uint64
	low, c = bits.Add64(low, sum, 0)
	high += c
	low, c = bits.Add64(low, carry, 0)
	return low, high + c
}

// mul multiplies: eight words, of which the upper four count c times.
func (z field) mul(x field) field {
	var w0, w1, w2, w3, w4, w5, w6, w7 uint64
	w0, w1 = mac(z[0], x[0], 0, 0)
	w1, w2 = mac(z[0], x[1], w1, 0)
	w2, w3 = mac(z[0], x[2], w2, 0)
	w3, w4 = mac(z[0], x[3], w3, 0)
	var k uint64
	w1, k = mac(z[1], x[0], w1, 0)
	w2, k = mac(z[1], x[1], w2, k)
	w3, k = mac(z[1], x[2], w3, k)
	w4, w5 = mac(z[1], x[3], w4, k)
	w2, k = mac(z[2], x[0], w2, 0)
	w3, k = mac(z[2], x[1], w3, k)
	w4, k = mac(z[2], x[2], w4, k)
	w5, w6 = mac(z[2], x[3], w5, k)
	w3, k = mac(z[3], x[0], w3, 0)
	w4, k = mac(z[3], x[1], w4, k)
	w5, k = mac(z[3], x[2], w5, k)
	w6, w7 = mac(z[3], x[3], w6, k)
	w0, k = mac(w4, fold, w0, 0)
	w1, k = mac(w5, fold, w1, k)
	w2, k = mac(w6, fold, w2, k)
	w3, k = mac(w7, fold, w3, k)
	high, low := bits.Mul64(k, fold)
	var c uint64
	w0, c = bits.Add64(w0, low, 0)
	w1, c = bits.Add64(w1, high, c)
	w2, c = bits.Add64(w2, 0, c)
	w3, c = bits.Add64(w3, 0, c)
	return field{w0, w1, w2, w3}.settle(c)
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
