package verifier

import (
	"encoding/json"
	"math/big"
	"testing"

	"github.com/emet-node/emet/domain/payment/pricing"
)

// What a node bills is what both verifiers compute.
func TestCostIsThatOfTheBills(t *testing.T) {
	t.Parallel()
	numbers := func(texts []string) (out []json.Number) {
		for _, x := range texts {
			out = append(out, json.Number(x))
		}
		return out
	}
	for _, c := range []struct {
		prices, usage []string
		ok            bool
	}{
		{[]string{"0.0001", "0.00005", "0.0"}, []string{"44.017951", "103.002864998"}, true},
		{[]string{"1e-18", "0.0"}, []string{"0.5"}, true},
		{[]string{"1", "2", "0.5"}, nil, true},
		{[]string{"1", "2", "0.5"}, []string{"-3600", "4"}, true},
		{[]string{"-0.0", "0"}, []string{"3"}, true},
		{[]string{"-1", "0"}, []string{"3"}, false},
		{[]string{"1", "-0.5"}, []string{"3"}, false},
		{[]string{"1", "-0.5"}, nil, false},
		{[]string{"1", "0"}, []string{"1", "2"}, false},
	} {
		billed, err := pricing.Cost(c.prices, c.usage)
		got, ok := cost(numbers(c.prices), numbers(c.usage))
		if ok != c.ok || (err == nil) != c.ok {
			t.Errorf("%v × %v: %v, billed %s, %v", c.prices, c.usage, got, billed, err)
			continue
		}
		if ok && new(big.Rat).SetFrac(got, places.Num()).Cmp(rat(t, billed.String())) != 0 {
			t.Errorf("%v × %v: %s e-18, billed %s", c.prices, c.usage, got, billed)
		}
	}
}

func rat(t *testing.T, s string) *big.Rat {
	t.Helper()
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		t.Fatalf("%q is no number", s)
	}
	return r
}
