package money

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// Limits of what is read, so that a short text cannot become a huge number.
const (
	maxText     = 256
	maxExponent = 512
)

// ErrSyntax says that a text is not a decimal number that is read here.
var ErrSyntax = errors.New("not a decimal number")

// Decimal is an exact decimal number: prices, coefficients, usage. It is
// immutable and its zero value is 0.
type Decimal struct {
	digits *big.Int // nil = 0
	scale  int      // the number is digits × 10^-scale; never negative
}

// ParseDecimal reads "12", "-0.5", ".5", "1e-9", "1.25E+3". Numbers that are
// longer than 256 characters, as given or written out without an exponent, are
// refused with [ErrSyntax], like everything that is not a number.
func ParseDecimal(s string) (Decimal, error) {
	bad := func(why string) (Decimal, error) {
		return Decimal{}, fmt.Errorf("%q: %w: %s", clip(s), ErrSyntax, why)
	}
	if s == "" || len(s) > maxText {
		return bad("want 1 to 256 characters")
	}
	mantissa, exponent, hasExponent := cutAny(s, "eE")
	exp := 0
	if hasExponent {
		e, err := strconv.Atoi(exponent)
		if err != nil || e > maxExponent || e < -maxExponent {
			return bad("exponent must be a whole number within ±512")
		}
		exp = e
	}
	digits, scale, ok := readMantissa(mantissa)
	if !ok {
		return bad("want digits with at most one point")
	}
	if scale -= exp; scale < 0 {
		digits.Mul(digits, pow10(-scale))
		scale = 0
	}
	d := normal(digits, scale)
	if len(d.String()) > maxText {
		return bad("written out it is longer than 256 characters")
	}
	return d, nil
}

func readMantissa(s string) (digits *big.Int, scale int, ok bool) {
	sign := ""
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign, s = s[:1], s[1:]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	all := whole + fraction
	if all == "" || strings.Trim(all, "0123456789") != "" {
		return nil, 0, false
	}
	digits, ok = new(big.Int).SetString(sign+all, 10)
	return digits, len(fraction), ok
}

// MustDecimal is ParseDecimal for constants and tests. It panics on bad text.
func MustDecimal(s string) Decimal {
	d, err := ParseDecimal(s)
	if err != nil {
		panic(err)
	}
	return d
}

// Add is d + x.
func (d Decimal) Add(x Decimal) Decimal {
	scale := max(d.scale, x.scale)
	return normal(new(big.Int).Add(d.at(scale), x.at(scale)), scale)
}

// Neg is -d.
func (d Decimal) Neg() Decimal { return Decimal{digits: new(big.Int).Neg(d.int()), scale: d.scale} }

// Sub is d - x.
func (d Decimal) Sub(x Decimal) Decimal { return d.Add(x.Neg()) }

// Mul is d × x, exactly.
func (d Decimal) Mul(x Decimal) Decimal {
	return normal(new(big.Int).Mul(d.int(), x.int()), d.scale+x.scale)
}

// Cmp is -1, 0 or 1 as d is less than, equal to or greater than x.
func (d Decimal) Cmp(x Decimal) int {
	scale := max(d.scale, x.scale)
	return d.at(scale).Cmp(x.at(scale))
}

// Equal says whether the numbers are the same ("1" and "1.000" are).
func (d Decimal) Equal(x Decimal) bool { return d.Cmp(x) == 0 }

// Sign is -1, 0 or 1.
func (d Decimal) Sign() int { return d.int().Sign() }

// IsZero says whether d is 0.
func (d Decimal) IsZero() bool { return d.Sign() == 0 }

// Round is the nearest Amount; halves go away from zero.
func (d Decimal) Round() Amount {
	q, r := d.split()
	if r.Abs(r).Lsh(r, 1).Cmp(d.unit()) >= 0 && d.scale > places {
		q.Add(q, big.NewInt(int64(d.Sign())))
	}
	return amountOf(q)
}

// Ceil is the smallest Amount that is not less than d.
func (d Decimal) Ceil() Amount {
	q, r := d.split()
	if r.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	return amountOf(q)
}

// Amount is d as an Amount, or [*TooFine] when d is finer than 1e-18.
func (d Decimal) Amount() (Amount, error) {
	q, r := d.split()
	if r.Sign() != 0 {
		return Amount{}, &TooFine{Text: d.String()}
	}
	return amountOf(q), nil
}

// split is d in units of 1e-18, toward zero, and what is left in units of
// 10^-scale.
func (d Decimal) split() (q, r *big.Int) {
	if d.scale <= places {
		return d.at(places), new(big.Int)
	}
	return new(big.Int).QuoRem(d.int(), d.unit(), new(big.Int))
}

// unit is how many of d's digits make 1e-18 (1 when d is not finer).
func (d Decimal) unit() *big.Int { return pow10(max(0, d.scale-places)) }

// at is a fresh copy of d's digits at a scale that is not smaller than d's own.
func (d Decimal) at(scale int) *big.Int {
	return new(big.Int).Mul(d.int(), pow10(scale-d.scale))
}

func (d Decimal) int() *big.Int {
	if d.digits == nil {
		return new(big.Int)
	}
	return d.digits
}

// String prints the shortest text without an exponent.
func (d Decimal) String() string {
	n := normal(new(big.Int).Set(d.int()), d.scale)
	return plain(n.int(), n.scale)
}

// MarshalText writes what String prints.
func (d Decimal) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalJSON reads a JSON string or the literal text of a JSON number.
func (d *Decimal) UnmarshalJSON(b []byte) error {
	v, err := ParseDecimal(string(unquote(b)))
	if err != nil {
		return err
	}
	*d = v
	return nil
}

// normal drops zeros at the end of the fraction. It may keep digits.
func normal(digits *big.Int, scale int) Decimal {
	if digits.Sign() == 0 {
		return Decimal{}
	}
	ten, r := big.NewInt(10), new(big.Int)
	for scale > 0 {
		q, _ := new(big.Int).QuoRem(digits, ten, r)
		if r.Sign() != 0 {
			break
		}
		digits, scale = q, scale-1
	}
	return Decimal{digits: digits, scale: scale}
}

// plain prints digits × 10^-scale; digits must not end in a zero of the fraction.
func plain(digits *big.Int, scale int) string {
	if scale == 0 {
		return digits.String()
	}
	s := new(big.Int).Abs(digits).String()
	if pad := scale + 1 - len(s); pad > 0 {
		s = strings.Repeat("0", pad) + s
	}
	s = s[:len(s)-scale] + "." + s[len(s)-scale:]
	if digits.Sign() < 0 {
		return "-" + s
	}
	return s
}

func pow10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

func cutAny(s, chars string) (before, after string, found bool) {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

func unquote(b []byte) []byte {
	if len(b) >= 2 && b[0] == '"' && b[len(b)-1] == '"' {
		return b[1 : len(b)-1]
	}
	return b
}
