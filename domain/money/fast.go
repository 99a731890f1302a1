package money

import (
	"math"
	"math/big"
	"strconv"
)

const weiPerToken = 1_000_000_000_000_000_000

// parseSmall reads plain decimals below 18 tokens or so, as nearly all are,
// without large numbers. ok is false for everything else.
func parseSmall[T string | []byte](s T) (a Amount, ok bool) {
	var n uint64
	digits, point := 0, -1
	for i := range len(s) {
		d := s[i] - '0'
		switch {
		case s[i] == '.' && point < 0:
			point = i
			continue
		case d > 9:
			return a, false
		}
		n = n*10 + uint64(d)
		digits++
	}
	fraction := 0
	if point >= 0 {
		fraction = digits - point
	}
	whole := digits - fraction
	switch {
	case whole == 0, whole > 2, whole == 2 && (s[0] > '1' || s[1] > '7'), fraction > places, point >= 0 && fraction == 0:
		return a, false
	}
	for range places - fraction {
		n *= 10
	}
	if n > math.MaxInt64 {
		return Amount{wei: new(big.Int).SetUint64(n)}, true
	}
	return Amount{small: int64(n)}, true
}

// smallString prints amounts that a word holds.
func (a Amount) smallString() (s string, ok bool) {
	n := uint64(a.small) //nolint:gosec // it is used when it is positive
	switch {
	case a.wei == nil && a.small < 0, a.wei != nil && !a.wei.IsUint64():
		return "", false
	case a.wei != nil:
		n = a.wei.Uint64()
	}
	whole, fraction := n/weiPerToken, n%weiPerToken
	if fraction == 0 {
		return strconv.FormatUint(whole, 10), true
	}
	var buf [48]byte
	b := strconv.AppendUint(buf[:0], whole, 10)
	b = append(b, '.')
	digits := strconv.AppendUint(buf[24:24], fraction, 10)
	for range places - len(digits) {
		b = append(b, '0')
	}
	b = append(b, digits...)
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	return string(b), true
}
