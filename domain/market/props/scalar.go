package props

import (
	"cmp"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// parseNumber reads a float64 the way the network's constraint values are
// read: decimals with an optional sign and exponent, ".5", "5.", and infinity
// and nan in any case. No hexadecimal, no underscores, no spaces; too large is
// infinite.
func parseNumber(s string) (float64, bool) {
	body := s[sign(s, 0):]
	switch strings.ToLower(body) {
	case "inf", "infinity", "nan":
		f, err := strconv.ParseFloat(s, 64)
		return f, err == nil
	}
	i := digits(body, 0)
	n := i
	if i < len(body) && body[i] == '.' {
		j := digits(body, i+1)
		n += j - i - 1
		i = j
	}
	if n == 0 {
		return 0, false
	}
	if i < len(body) && (body[i] == 'e' || body[i] == 'E') {
		from := sign(body, i+1)
		j := digits(body, from)
		if j == from {
			return 0, false
		}
		i = j
	}
	if i != len(body) {
		return 0, false
	}
	f, _ := strconv.ParseFloat(s, 64) // the one error left is the range, and then f is infinite
	return f, true
}

// version is a semantic version: strictly MAJOR.MINOR.PATCH[-pre][+build].
type version struct {
	core [3]uint64
	pre  []string
}

func parseVersion(s string) (v version, ok bool) {
	s = strings.TrimSpace(s)
	s, build, hasBuild := strings.Cut(s, "+")
	s, pre, hasPre := strings.Cut(s, "-")
	parts := strings.Split(s, ".")
	if len(parts) != 3 || hasBuild && !identifiers(build) || hasPre && !identifiers(pre) {
		return v, false
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 64)
		if err != nil || p[0] == '+' || len(p) > 1 && p[0] == '0' {
			return v, false
		}
		v.core[i] = n
	}
	if hasPre {
		v.pre = strings.Split(pre, ".")
	}
	return v, true
}

func identifiers(s string) bool {
	for id := range strings.SplitSeq(s, ".") {
		if id == "" || strings.Trim(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
			return false
		}
	}
	return true
}

// compare follows the precedence of semantic versions; build metadata does not count.
func (v version) compare(w version) int {
	for i := range v.core {
		if c := cmp.Compare(v.core[i], w.core[i]); c != 0 {
			return c
		}
	}
	switch {
	case len(v.pre) == 0 && len(w.pre) == 0:
		return 0
	case len(v.pre) == 0:
		return 1
	case len(w.pre) == 0:
		return -1
	}
	for i := range min(len(v.pre), len(w.pre)) {
		if c := comparePre(v.pre[i], w.pre[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(v.pre), len(w.pre))
}

func comparePre(a, b string) int {
	x, errA := strconv.ParseUint(a, 10, 64)
	y, errB := strconv.ParseUint(b, 10, 64)
	switch {
	case errA == nil && errB == nil:
		return cmp.Compare(x, y)
	case errA == nil:
		return -1
	case errB == nil:
		return 1
	}
	return cmp.Compare(a, b)
}

type decimal struct{ rat *big.Rat }

// parseDecimal reads decimal text of reasonable length and exponent exactly.
func parseDecimal(s string) (decimal, bool) {
	end := numberEnd(s)
	if strings.HasPrefix(s[sign(s, 0):], ".") {
		end = numberEnd("0"+s[sign(s, 0):]) - 1 + sign(s, 0)
	}
	if end != len(s) || end == 0 || len(s) > 256 {
		return decimal{}, false
	}
	if _, exp, ok := strings.Cut(strings.ToLower(s), "e"); ok {
		if n, err := strconv.Atoi(exp); err != nil || n > 1000 || n < -1000 {
			return decimal{}, false
		}
	}
	r, ok := new(big.Rat).SetString(s)
	return decimal{r}, ok
}

func (d decimal) compare(e decimal) int { return d.rat.Cmp(e.rat) }

type instant struct{ time.Time }

// parseTime reads RFC 3339 with a zone; lower-case letters and leap seconds
// are good.
func parseTime(s string) (instant, bool) {
	s = strings.ToUpper(s)
	leap := len(s) > 19 && s[17:19] == "60"
	if leap {
		s = s[:17] + "59" + s[19:]
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if leap {
		t = t.Add(time.Second)
	}
	return instant{t}, err == nil
}

func (t instant) compare(u instant) int { return t.Compare(u.Time) }
