package money

import (
	"math/big"
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
