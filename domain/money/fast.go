package money

import (
	"math/big"
	"strconv"
	"strings"
)

const weiPerToken = 1_000_000_000_000_000_000

// parseSmall reads plain decimals below 18 tokens or so, as nearly all are,
// without large numbers. ok is false for everything else.
func parseSmall(s string) (a Amount, ok bool) {
	whole, fraction, point := strings.Cut(s, ".")
	if len(whole) == 0 || len(whole) > 2 || point && len(fraction) == 0 || len(fraction) > places {
		return a, false
	}
	var n uint64
	for _, part := range [2]string{whole, fraction} {
		for i := range len(part) {
			d := part[i] - '0'
			if d > 9 {
				return a, false
			}
			n = n*10 + uint64(d)
		}
	}
	if len(whole) == 2 && whole > "17" {
		return a, false
	}
	for range places - len(fraction) {
		n *= 10
	}
	return Amount{wei: new(big.Int).SetUint64(n)}, true
}

// smallString prints amounts that a word holds.
func (a Amount) smallString() (s string, ok bool) {
	if a.wei == nil {
		return "0", true
	}
	if !a.wei.IsUint64() {
		return "", false
	}
	n := a.wei.Uint64()
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
