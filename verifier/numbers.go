package verifier

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

var number = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,6})?$`)

// decimal reads an exact number within bounds.
func decimal(s string) (*big.Rat, bool) {
	if len(s) > 256 || !number.MatchString(s) {
		return nil, false
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		if e, err := strconv.Atoi(s[i+1:]); err != nil || e > 512 || e < -512 {
			return nil, false
		}
	}
	return new(big.Rat).SetString(s)
}

var places = new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(18), nil))

// amount reads a number of 10⁻¹⁸.
func amount(s string) (*big.Int, bool) {
	r, ok := decimal(s)
	if !ok {
		return nil, false
	}
	r.Mul(r, places)
	return r.Num(), r.IsInt()
}
