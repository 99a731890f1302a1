package money

import (
	"math"
	"math/big"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// The short ways say what the long ones say.
func TestTheShortWaysOfAmounts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.StringMatching(`[0-9]{1,3}(\.[0-9]{1,19})?`), rapid.StringMatching(`-?[0-9]{0,3}\.?[0-9]{0,4}(e[0-9])?`), rapid.Just("17.999999999999999999"), rapid.Just("18.446744073709551615"), rapid.Just("0.000000000000000001"),
		).Draw(t, "text")
		if short, ok := parseSmall(text); ok {
			d, err := ParseDecimal(text)
			if err != nil {
				t.Fatalf("%q is read as %s and is none: %v", text, short, err)
			}
			if long, err := d.Amount(); err != nil || !short.Equal(long) {
				t.Fatalf("%q is read as %s, it is %s, %v", text, short, long, err)
			}
		}
		n := new(big.Int).SetUint64(rapid.Uint64().Draw(t, "wei"))
		n.Mul(n, big.NewInt(rapid.Int64Range(-2, 3).Draw(t, "times")))
		a := FromWei(n)
		if short, ok := a.smallString(); ok && short != a.Decimal().String() {
			t.Fatalf("%s wei is printed as %s, it is %s", n, short, a.Decimal())
		}
		if a.String() != a.Decimal().String() {
			t.Fatalf("%s wei: %s", n, a)
		}
	})
}

// Numbers that a word holds and those that it does not make the same sums, and
// a number has one form, so that states can be compared.
func TestAmountsAroundTheEndsOfAWord(t *testing.T) {
	t.Parallel()
	number := rapid.Custom(func(t *rapid.T) *big.Int {
		n := big.NewInt(rapid.OneOf(rapid.Just(int64(0)), rapid.Just(int64(math.MaxInt64)), rapid.Just(int64(math.MinInt64)), rapid.Int64()).Draw(t, "base"))
		return n.Add(n, big.NewInt(rapid.Int64Range(-2, 2).Draw(t, "more")))
	})
	rapid.Check(t, func(t *rapid.T) {
		x, y := number.Draw(t, "x"), number.Draw(t, "y")
		a, b := FromWei(x), FromWei(y)
		for what, got := range map[string][2]any{
			"sum":        {a.Add(b), FromWei(new(big.Int).Add(x, y))},
			"difference": {a.Sub(b), FromWei(new(big.Int).Sub(x, y))},
			"negative":   {a.Neg(), FromWei(new(big.Int).Neg(x))},
			"total":      {a.Add(b).Add(a), FromWei(new(big.Int).Add(new(big.Int).Add(x, y), x))},
			"order":      {a.Cmp(b), x.Cmp(y)},
			"sign":       {a.Sign(), x.Sign()},
			"text":       {a.WeiString(), x.String()},
			"copy":       {a.Wei().Cmp(x), 0},
			"parsed":     {MustParse(a.String()), a},
		} {
			if !reflect.DeepEqual(got[0], got[1]) {
				t.Fatalf("%s of %s and %s: %v, want %v", what, x, y, got[0], got[1])
			}
		}
	})
}
