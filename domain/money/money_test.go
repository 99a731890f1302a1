package money_test

import (
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/money"
)

func TestTextIsReadExactly(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"0": "0", "1": "1", "1.000": "1", "-0.50": "-0.5", ".5": "0.5", "5.": "5", "+2": "2", "00.10": "0.1",
		"1e-18": "0.000000000000000001", "1.5E3": "1500", "12e+0": "12", "-0": "0", "0e500": "0",
		"1.100000000000000":    "1.1",
		"1234567890.123456789": "1234567890.123456789",
		"9007199254740993":     "9007199254740993", // one more than a float can hold
	} {
		a, err := money.Parse(in)
		if err != nil || a.String() != want {
			t.Errorf("Parse(%q) = %s, %v; want %s", in, a, err, want)
		}
	}
}

func TestWhatIsNoNumberIsRefused(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", " 1", "1 ", "1,5", "0x10", "NaN", "Inf", "1e", "e5", "1e1.5", "--1", "1.2.3", ".", "+", "1_000", "1e513", "1e256", "1e-999999999999",
		"٣", strings.Repeat("9", 257),
	} {
		if a, err := money.Parse(in); !errors.Is(err, money.ErrSyntax) {
			t.Errorf("Parse(%q) = %s, %v; want ErrSyntax", in, a, err)
		}
	}
}

func TestFinerThanTheTokenIsToldApartAndPaidRoundedUp(t *testing.T) {
	t.Parallel()
	const text = "1.0000000000000000009"
	_, err := money.Parse(text)
	var fine *money.TooFine
	if !errors.As(err, &fine) || fine.Text != text {
		t.Fatalf("Parse: %v, want TooFine", err)
	}
	a, wasFine, err := money.ParseCeil(text)
	if err != nil || !wasFine || a.String() != "1.000000000000000001" {
		t.Fatalf("ParseCeil = %s, %v, %v", a, wasFine, err)
	}
	if a, wasFine, err = money.ParseCeil("-1.0000000000000000009"); err != nil || !wasFine || a.String() != "-1" {
		t.Fatalf("ParseCeil of a negative = %s, %v, %v", a, wasFine, err)
	}
}

func TestRoundingIsHalfUp(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"0.0000000000000000005":      "0.000000000000000001",
		"0.00000000000000000049999":  "0",
		"-0.0000000000000000005":     "-0.000000000000000001",
		"0.0000000000000000015":      "0.000000000000000002",
		"2":                          "2",
		"0.1234567890123456785":      "0.123456789012345679",
		"0.123456789012345678499999": "0.123456789012345678",
	} {
		if got := money.MustDecimal(in).Round().String(); got != want {
			t.Errorf("Round(%s) = %s, want %s", in, got, want)
		}
	}
}

func TestLinearPriceVectors(t *testing.T) {
	t.Parallel()
	cost := func(pairs ...string) string {
		sum := money.Decimal{}
		for i := 0; i < len(pairs); i += 2 {
			sum = sum.Add(money.MustDecimal(pairs[i]).Mul(money.MustDecimal(pairs[i+1])))
		}
		return sum.Round().String()
	}
	if got := cost("0.0001", "44.017951", "0.00005", "103.002864998"); got != "0.0095519383499" {
		t.Error(got)
	}
	if got := cost("0.002", "44.094619588", "0.008", "0"); got != "0.088189239176" {
		t.Error(got)
	}
	if got := cost("0.002", "24.141030488", "0.008", "0"); got != "0.048282060976" {
		t.Error(got)
	}
}

func TestJSONIsAStringAndNumbersAreReadByTheirText(t *testing.T) {
	t.Parallel()
	type doc struct {
		A money.Amount  `json:"a"`
		D money.Decimal `json:"d"`
	}
	var d doc
	if err := json.Unmarshal([]byte(`{"a":0.100000000000000001,"d":1e-20}`), &d); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(d)
	if err != nil || string(b) != `{"a":"0.100000000000000001","d":"0.00000000000000000001"}` {
		t.Fatalf("%s, %v", b, err)
	}
	for _, bad := range []string{`{"a":""}`, `{"a":true}`, `{"a":{}}`, `{"a":"1e-19"}`, `{"d":[]}`} {
		if err := json.Unmarshal([]byte(bad), &d); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func TestAmountsDoNotShareMemory(t *testing.T) {
	t.Parallel()
	n := big.NewInt(7)
	a := money.FromWei(n)
	n.SetInt64(8)
	a.Wei().SetInt64(9)
	if !a.Equal(money.FromWei(big.NewInt(7))) {
		t.Fatalf("amount changed to %s", a.WeiString())
	}
	var zero money.Amount
	if zero.String() != "0" || !zero.IsZero() || !zero.Add(a).Equal(a) || money.FromWei(nil).Sign() != 0 {
		t.Fatal("the zero value is not 0")
	}
}

func anyAmount(t *rapid.T, name string) money.Amount {
	n, ok := new(big.Int).SetString(rapid.StringMatching(`-?[0-9]{1,40}`).Draw(t, name), 10)
	if !ok {
		t.Fatal("generator")
	}
	return money.FromWei(n)
}

func TestAmountLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyAmount(t, "a"), anyAmount(t, "b")
		back, err := money.Parse(a.String())
		if err != nil || !back.Equal(a) {
			t.Fatalf("%s printed and read is %s, %v", a, back, err)
		}
		if !a.Add(b).Sub(b).Equal(a) || !a.Add(a.Neg()).IsZero() || a.Cmp(b) != a.Sub(b).Sign() {
			t.Fatal("arithmetic")
		}
		if m := a.Max(b); m.Less(a) || m.Less(b) || !a.Max(b).Add(a.Min(b)).Equal(a.Add(b)) {
			t.Fatal("max and min")
		}
		if s := a.String(); strings.ContainsAny(s, "eE") || strings.Contains(s, ".") && strings.HasSuffix(s, "0") || s == "-0" {
			t.Fatalf("not the shortest text: %q", s)
		}
	})
}

func TestDecimalLaws(t *testing.T) {
	t.Parallel()
	draw := func(t *rapid.T, name string) money.Decimal {
		return money.MustDecimal(rapid.StringMatching(`-?[0-9]{1,12}(\.[0-9]{1,30})?(e-?[0-9]{1,2})?`).Draw(t, name))
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := draw(t, "a"), draw(t, "b"), draw(t, "c")
		if !a.Mul(b.Add(c)).Equal(a.Mul(b).Add(a.Mul(c))) {
			t.Fatal("multiplication does not distribute")
		}
		if !money.MustDecimal(a.String()).Equal(a) {
			t.Fatal("print and read")
		}
		off := a.Round().Decimal().Sub(a)
		if off.Sign() < 0 {
			off = off.Neg()
		}
		if off.Cmp(money.MustDecimal("5e-19")) > 0 {
			t.Fatalf("rounding %s moved it by %s", a, off)
		}
		up := a.Ceil().Decimal().Sub(a)
		if up.Sign() < 0 || up.Cmp(money.MustDecimal("1e-18")) >= 0 {
			t.Fatalf("ceiling of %s is off by %s", a, up)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"0", "1.5", "-1e-18", "1e500", ".", "1.0000000000000000009", "NaN"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, fine, err := money.ParseCeil(s)
		if err != nil {
			return
		}
		back, err := money.Parse(a.String())
		if err != nil || !back.Equal(a) {
			t.Fatalf("%q became %s, which reads as %s, %v", s, a, back, err)
		}
		if _, err := money.Parse(s); (err != nil) != fine {
			t.Fatalf("%q: fine=%v, Parse says %v", s, fine, err)
		}
	})
}
