package pricing_test

import (
	"errors"
	"testing"

	"github.com/emet-node/emet/domain/payment/pricing"
)

func TestLinearCost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		coeffs, usage []string
		want          string
	}{
		{[]string{"0.0001", "0.00005", "0.0"}, []string{"44.017951", "103.002864998"}, "0.0095519383499"},
		{[]string{"0.002", "0.008", "0"}, []string{"44.094619588", "0"}, "0.088189239176"},
		{[]string{"0.002", "0.008", "0"}, []string{"24.141030488", "0"}, "0.048282060976"},
		{[]string{"1", "2", "0.5"}, nil, "0.5"},
		{[]string{"1e-18", "0.0"}, []string{"0.5"}, "0.000000000000000001"}, // half up
		{[]string{"1e-18", "0.0"}, []string{"0.49"}, "0"},
		{[]string{"2.777777777777778e-05", "0"}, []string{"3600"}, "0.1000000000000000080"},
	} {
		got, err := pricing.Cost(c.coeffs, c.usage)
		if want := trim(c.want); err != nil || got.String() != want {
			t.Errorf("Cost(%v, %v) = %s, %v; want %s", c.coeffs, c.usage, got, err, want)
		}
	}
}

func trim(s string) string {
	for len(s) > 1 && s[len(s)-1] == '0' {
		s = s[:len(s)-1]
	}
	return s
}

func TestPricesMustFitTheUsage(t *testing.T) {
	t.Parallel()
	for _, c := range [][2][]string{
		{nil, nil},
		{{"1", "2"}, {"1", "2"}},
		{{"1", "2", "3"}, {"1"}},
		{{"x"}, nil},
		{{"1", "y", "0"}, {"1", "1"}},
		{{"1", "0"}, {"NaN"}},
		{{"1", "0"}, {"0x10"}},
		{{"1", "0"}, {"1e999999999"}},
		{{"1", "0"}, {""}},
		{{"1", "0"}, {"1/2"}},
		{{"-1", "0"}, {"1"}},
		{{"1", "-0.5"}, {"1"}},
		{{"1", "-1e-18"}, nil},
	} {
		if got, err := pricing.Cost(c[0], c[1]); !errors.Is(err, pricing.ErrModel) {
			t.Errorf("Cost(%v, %v) = %s, %v", c[0], c[1], got, err)
		}
	}
}

// The clock of an exe-unit was set back: its seconds are below zero.
func TestUsageBelowZeroCostsNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		coeffs, usage []string
		want          string
	}{
		{[]string{"1", "0"}, []string{"-3600"}, "0"},
		{[]string{"1", "2", "0.5"}, []string{"-3600", "4"}, "8.5"}, // and takes nothing off the rest
		{[]string{"1", "2", "0"}, []string{"-0.0", "1e-1"}, "0.2"},
		{[]string{"-0", "-0.0"}, []string{"5"}, "0"}, // zero with a sign is zero
	} {
		if got, err := pricing.Cost(c.coeffs, c.usage); err != nil || got.String() != c.want {
			t.Errorf("Cost(%v, %v) = %s, %v; want %s", c.coeffs, c.usage, got, err, c.want)
		}
	}
}
