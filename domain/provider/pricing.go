package provider

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// Errors of prices.
var (
	ErrNumber = errors.New("not a decimal number")
	ErrPrices = errors.New("prices do not fit the usage vector")
)

var weiPerGLM = new(big.Int).Exp(big.NewInt(10), big.NewInt(18), nil)

// Cost is what usage costs under a linear price: the sum of usage[i] ·
// coeffs[i], plus the last coefficient, in units of 1e-18 GLM, rounded half
// up. All numbers are decimal texts and the sum is exact before it is rounded.
// It fails with [ErrNumber] (also for negative numbers) or [ErrPrices].
func Cost(coeffs, usage []string) (*big.Int, error) {
	if len(coeffs) != len(usage)+1 {
		return nil, fmt.Errorf("%w: %d coefficients for %d counters", ErrPrices, len(coeffs), len(usage))
	}
	sum, err := decimal(coeffs[len(usage)])
	if err != nil {
		return nil, err
	}
	for i, u := range usage {
		x, err := decimal(u)
		if err != nil {
			return nil, err
		}
		c, err := decimal(coeffs[i])
		if err != nil {
			return nil, err
		}
		sum.Add(sum, x.Mul(x, c))
	}
	sum.Mul(sum, new(big.Rat).SetInt(weiPerGLM))
	return halfUp(sum), nil
}

// halfUp rounds a number that is not negative.
func halfUp(r *big.Rat) *big.Int {
	n := new(big.Int).Lsh(r.Num(), 1)
	n.Add(n, r.Denom())
	return n.Quo(n, new(big.Int).Lsh(r.Denom(), 1))
}

// decimal reads a number that is not negative, within reasonable bounds.
func decimal(s string) (*big.Rat, error) {
	mantissa, exponent, hasExp := strings.Cut(strings.ToLower(s), "e")
	exp := 0
	var err error
	if hasExp {
		exp, err = strconv.Atoi(exponent)
	}
	if err != nil || exp > 400 || exp < -400 || len(mantissa) > 128 || mantissa == "" || strings.Trim(mantissa, "0123456789.") != "" {
		return nil, fmt.Errorf("%w: %q", ErrNumber, s)
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrNumber, s)
	}
	return r, nil
}
