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
// one number less than coeffs, or it is [ErrModel].
func Cost(coeffs, usage []string) (money.Amount, error) {
	n := len(coeffs) - 1
	if n < 0 || len(usage) != 0 && len(usage) != n {
		return money.Amount{}, fmt.Errorf("%w: %d prices for %d counters", ErrModel, len(coeffs), len(usage))
	}
	sum, err := money.ParseDecimal(coeffs[n])
	if err != nil {
		return money.Amount{}, fmt.Errorf("%w: price: %w", ErrModel, err)
	}
	for i, u := range usage {
		price, err := money.ParseDecimal(coeffs[i])
		if err != nil {
			return money.Amount{}, fmt.Errorf("%w: price: %w", ErrModel, err)
		}
		used, err := money.ParseDecimal(u)
		if err != nil {
			return money.Amount{}, fmt.Errorf("%w: usage: %w", ErrModel, err)
		}
		sum = sum.Add(price.Mul(used))
	}
	return sum.Round(), nil
}
