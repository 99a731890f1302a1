// Package pricing computes what an activity costs under the linear model of
// the market: a price for each counter, and one for having begun.
package pricing

import (
	"errors"
	"fmt"

	"github.com/emet-node/emet/domain/money"
)

// ErrModel says that prices and usage do not belong together.
var ErrModel = errors.New("prices and usage do not belong together")

// Cost is coeffs[last] + Σ coeffs[i] × usage[i], computed exactly from the
// texts of the numbers and rounded half up to 1e-18. No usage at all counts as
// zeros, so that the price of having begun is due at once. Otherwise usage has
// one number less than coeffs, or it is [ErrModel]; so is a price below zero,
// for nobody is paid for buying. Usage below zero counts as zero: a counter of
// seconds can say that when the clock of its machine was set back, and it takes
// nothing off what the other counters cost.
func Cost(coeffs, usage []string) (money.Amount, error) {
	n := len(coeffs) - 1
	if n < 0 || len(usage) != 0 && len(usage) != n {
		return money.Amount{}, fmt.Errorf("%w: %d prices for %d counters", ErrModel, len(coeffs), len(usage))
	}
	sum, err := price(coeffs[n])
	if err != nil {
		return money.Amount{}, err
	}
	for i, u := range usage {
		per, err := price(coeffs[i])
		if err != nil {
			return money.Amount{}, err
		}
		used, err := money.ParseDecimal(u)
		if err != nil {
			return money.Amount{}, fmt.Errorf("%w: usage: %w", ErrModel, err)
		}
		if used.Sign() > 0 {
			sum = sum.Add(per.Mul(used))
		}
	}
	return sum.Round(), nil
}

func price(text string) (money.Decimal, error) {
	p, err := money.ParseDecimal(text)
	switch {
	case err != nil:
		return p, fmt.Errorf("%w: price: %w", ErrModel, err)
	case p.Sign() < 0:
		return p, fmt.Errorf("%w: price %s is below zero", ErrModel, p)
	}
	return p, nil
}
