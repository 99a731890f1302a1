package money

import (
	"cmp"
	"fmt"
	"math/big"
)

const places = 18 // of an Amount after the point

// Amount is a whole number of 1e-18 of a token. It is immutable and its zero
// value is 0. Compare amounts with Equal or Cmp: == compares identities.
//
// In JSON it is a string, the shortest decimal text without an exponent.
type Amount struct {
	small int64    // the number, unless wei has it
	wei   *big.Int // a number that no int64 holds, else nil
}

// amountOf is n, which the Amount keeps.
func amountOf(n *big.Int) Amount {
	if n.IsInt64() {
		return Amount{small: n.Int64()}
	}
	return Amount{wei: n}
}

// TooFine says that a number has digits below 1e-18, which no token of ours
// can express. The text can be kept, and [ParseCeil] gives what to pay for it.
type TooFine struct{ Text string }

func (e *TooFine) Error() string {
	return fmt.Sprintf("%q is finer than 1e-18, the smallest unit of the token; round it to 18 places", clip(e.Text))
}

// Parse reads a decimal text, plain or with an exponent, exactly. It returns
// [ErrSyntax] for what is no number and [*TooFine] for what cannot be exact.
func Parse(s string) (Amount, error) {
	if a, ok := parseSmall(s); ok {
		return a, nil
	}
	d, err := ParseDecimal(s)
	if err != nil {
		return Amount{}, err
	}
	a, err := d.Amount()
	if err != nil {
		return Amount{}, &TooFine{Text: s}
	}
	return a, nil
}

// ParseCeil is Parse, but a number finer than 1e-18 becomes the next larger
// Amount. fine tells whether that was so.
func ParseCeil(s string) (a Amount, fine bool, err error) {
	d, err := ParseDecimal(s)
	if err != nil {
		return Amount{}, false, err
	}
	if a, err = d.Amount(); err == nil {
		return a, false, nil
	}
	return d.Ceil(), true, nil
}

// MustParse is Parse for constants and tests. It panics on bad text.
func MustParse(s string) Amount {
	a, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return a
}

// FromWei copies a number of 1e-18. nil is 0.
func FromWei(n *big.Int) Amount {
	if n == nil {
		return Amount{}
	}
	return amountOf(new(big.Int).Set(n))
}

// Wei is a copy of the number of 1e-18.
func (a Amount) Wei() *big.Int { return new(big.Int).Set(a.int()) }

func (a Amount) int() *big.Int {
	if a.wei == nil {
		return big.NewInt(a.small)
	}
	return a.wei
}

// Add is a + x.
func (a Amount) Add(x Amount) Amount {
	if sum := a.small + x.small; a.wei == nil && x.wei == nil && (sum > a.small) == (x.small > 0) {
		return Amount{small: sum}
	}
	return amountOf(new(big.Int).Add(a.int(), x.int()))
}

// Sub is a - x. It may be negative.
func (a Amount) Sub(x Amount) Amount {
	if rest := a.small - x.small; a.wei == nil && x.wei == nil && (rest < a.small) == (x.small > 0) {
		return Amount{small: rest}
	}
	return amountOf(new(big.Int).Sub(a.int(), x.int()))
}

// Neg is -a.
func (a Amount) Neg() Amount { return Amount{}.Sub(a) }

// Sign is -1, 0 or 1.
func (a Amount) Sign() int { return a.Cmp(Amount{}) }

// IsZero says whether a is 0.
func (a Amount) IsZero() bool { return a.Sign() == 0 }

// Cmp is -1, 0 or 1 as a is less than, equal to or greater than x.
func (a Amount) Cmp(x Amount) int {
	if a.wei == nil && x.wei == nil {
		return cmp.Compare(a.small, x.small)
	}
	return a.int().Cmp(x.int())
}

// Equal says whether the amounts are the same.
func (a Amount) Equal(x Amount) bool { return a.Cmp(x) == 0 }

// Less says whether a is less than x.
func (a Amount) Less(x Amount) bool { return a.Cmp(x) < 0 }

// Max is the larger of a and x.
func (a Amount) Max(x Amount) Amount {
	if a.Less(x) {
		return x
	}
	return a
}

// Min is the smaller of a and x.
func (a Amount) Min(x Amount) Amount {
	if x.Less(a) {
		return x
	}
	return a
}

// Decimal is a as a Decimal.
func (a Amount) Decimal() Decimal { return normal(a.Wei(), places) }

// String prints the shortest text without an exponent: "0", "1.5", "-0.000001".
func (a Amount) String() string {
	if s, ok := a.smallString(); ok {
		return s
	}
	return a.Decimal().String()
}

// WeiString prints the number of 1e-18, as chains want it.
func (a Amount) WeiString() string { return a.int().String() }

// MarshalJSON writes the text as a JSON string.
func (a Amount) MarshalJSON() ([]byte, error) { return []byte(`"` + a.String() + `"`), nil }

// UnmarshalJSON reads a JSON string or the literal text of a JSON number. It
// fails as [Parse] does. As everywhere in JSON, null changes nothing.
func (a *Amount) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	b = unquote(b)
	if v, ok := parseSmall(b); ok {
		*a = v
		return nil
	}
	v, err := Parse(string(b))
	if err != nil {
		return fmt.Errorf("amount: %w", err)
	}
	*a = v
	return nil
}
