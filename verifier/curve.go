package verifier

import (
	"encoding/hex"
	"errors"
	"math/big"

	"golang.org/x/crypto/sha3"
)

// point is one of y² = x³ + 7 in Jacobian coordinates; z = 0 is the neutral one.
type point struct{ x, y, z field }

var (
	order, _  = new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
	halfOrder = new(big.Int).Rsh(order, 1)
	base      = mustPoint("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
		"483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8")
)

func mustPoint(x, y string) point {
	bx, _ := hex.DecodeString(x)
	by, _ := hex.DecodeString(y)
	px, _ := fieldOf(bx)
	py, _ := fieldOf(by)
	return point{px, py, field{1}}
}

func (p point) double() point {
	if p.z.zero() || p.y.zero() {
		return point{}
	}
	a, b := p.x.square(), p.y.square()
	c := b.square()
	d := p.x.add(b).square().sub(a).sub(c).double()
	e := a.double().add(a)
	f := e.square()
	x := f.sub(d.double())
	y := e.mul(d.sub(x)).sub(c.double().double().double())
	return point{x, y, p.y.mul(p.z).double()}
}

func (p point) add(q point) point {
	switch {
	case p.z.zero():
		return q
	case q.z.zero():
		return p
	}
	pz, qz := p.z.square(), q.z.square()
	u1, u2 := p.x.mul(qz), q.x.mul(pz)
	s1, s2 := p.y.mul(qz).mul(q.z), q.y.mul(pz).mul(p.z)
	h, r := u2.sub(u1), s2.sub(s1)
	if h.zero() {
		if r.zero() {
			return p.double()
		}
		return point{}
	}
	hh := h.square()
	hhh, v := h.mul(hh), u1.mul(hh)
	x := r.square().sub(hhh).sub(v.double())
	y := r.mul(v.sub(x)).sub(s1.mul(hhh))
	return point{x, y, p.z.mul(q.z).mul(h)}
}

// sum is a·p + b·q.
func sum(a *big.Int, p point, b *big.Int, q point) point {
	both := p.add(q)
	var out point
	for i := max(a.BitLen(), b.BitLen()) - 1; i >= 0; i-- {
		out = out.double()
		switch a.Bit(i) + 2*b.Bit(i) {
		case 1:
			out = out.add(p)
		case 2:
			out = out.add(q)
		case 3:
			out = out.add(both)
		}
	}
	return out
}

var errSignature = errors.New("the signature is malformed")

// signer returns the address of who signed a digest with r‖s‖v; s must be low.
func signer(digest [32]byte, rsv []byte) (string, error) {
	if len(rsv) != 65 || rsv[64] > 1 {
		return "", errSignature
	}
	r, s := new(big.Int).SetBytes(rsv[:32]), new(big.Int).SetBytes(rsv[32:64])
	if r.Sign() == 0 || s.Sign() == 0 || r.Cmp(order) >= 0 || s.Cmp(halfOrder) > 0 {
		return "", errSignature
	}
	x, ok := fieldOf(rsv[:32])
	y, square := x.square().mul(x).add(field{7}).root()
	if !ok || !square {
		return "", errSignature
	}
	if y[0]&1 != uint64(rsv[64]) {
		y = y.negated()
	}
	inverse := new(big.Int).ModInverse(r, order)
	z := new(big.Int).SetBytes(digest[:])
	u1 := z.Mul(z, inverse).Neg(z).Mod(z, order)
	u2 := s.Mul(s, inverse).Mod(s, order)
	q := sum(u1, base, u2, point{x, y, field{1}})
	if q.z.zero() {
		return "", errSignature
	}
	iz := q.z.inverse()
	iz2 := iz.square()
	qx, qy := q.x.mul(iz2).bytes(), q.y.mul(iz2).mul(iz).bytes()
	return address(keccak(qx[:], qy[:])), nil
}

// address is the last 20 bytes of a hash, as a node id.
func address(hash []byte) string { return "0x" + hex.EncodeToString(hash[12:]) }

func keccak(parts ...[]byte) []byte {
	h := sha3.NewLegacyKeccak256()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}
