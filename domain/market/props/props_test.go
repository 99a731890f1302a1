package props

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestNumbersOfOwnTexts(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"0.0": "0.0", "1.50": "1.5", "1e3": "1000.0", "5": "5", "-0": "-0.0", "-0.0": "-0.0", "6.9e-06": "6.9e-6", "0.0000014": "1.4e-6",
		"0.001": "0.001", "1795204882799": "1795204882799", "18446744073709551615": "18446744073709551615",
		"18446744073709551616": "1.8446744073709552e19", "1e15": "1000000000000000.0", "1e16": "1e16", "1.5e300": "1.5e300", "123456.789": "123456.789",
	} {
		got, err := Flatten([]byte(`{"n":` + in + `}`))
		if err != nil || got != `{"n":`+want+`}` {
			t.Errorf("%s: %s %v", in, got, err)
		}
	}
	if _, err := Flatten([]byte(`{"n":1e999}`)); !errors.Is(err, ErrNotJSON) {
		t.Error(err)
	}
}

func TestFloatsReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.Float64().Draw(t, "f")
		if math.IsInf(f, 0) || math.IsNaN(f) {
			return
		}
		text := FormatFloat(f)
		var back float64
		if err := json.Unmarshal([]byte(text), &back); err != nil || back != f || !strings.ContainsAny(text, ".e") {
			t.Fatalf("%v prints %s", f, text)
		}
	})
}

func TestFlatten(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`[]`:                           `{"":[]}`,
		`5`:                            `{"":5}`,
		`{"b":1,"a":{"c":[{"z":1}]}}`:  `{"a.c":[{"z":1}],"b":1}`,
		`{"a":"\u0041\u001f\/é<>&\r"}`: `{"a":"A\u001f/é<>&\r"}`,
		`{"a":null,"b":{"c":true}}`:    `{"a":null,"b.c":true}`,
	} {
		got, err := Flatten([]byte(in))
		if err != nil || got != want {
			t.Errorf("%s: %s %v", in, got, err)
		}
		if again, err := Flatten([]byte(got)); err != nil || again != got && in[0] == '{' {
			t.Errorf("%s is not flat: %s %v", got, again, err)
		}
	}
	for _, bad := range []string{"", "{", "{} {}", `{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}", "{\"a\":\"\xff\"}", strings.Repeat(" ", MaxBytes+1)} {
		if got, err := Flatten([]byte(bad)); err == nil {
			t.Errorf("%.20q: %s", bad, got)
		}
	}
}

// Foreign texts are kept as they are, key by key.
func TestFlatKeepsTexts(t *testing.T) {
	t.Parallel()
	const text = `{"a.b":[0.0, 1e3],"a.c?":120,"s":"payu","s.x":1.50}`
	f, err := ParseFlat(text)
	if err != nil || f.Text() != text {
		t.Errorf("%s %v", f.Text(), err)
	}
	if got := f.Expand(); got != `{"a":{"b":[0.0, 1e3],"c?":120},"s":{"@tag":"payu","x":1.50}}` {
		t.Error(got)
	}
	for pointer, want := range map[string]string{"/a/c?": "120", "/s": `"payu"`, "/a": `{"b":[0.0, 1e3],"c?":120}`} {
		if raw, ok := f.Pointer(pointer); !ok || string(raw) != want {
			t.Errorf("%s: %s", pointer, raw)
		}
	}
	if _, ok := f.Pointer("/nothing"); ok {
		t.Error("found nothing")
	}
	if n, ok := f.Int("a.c?"); !ok || n != 120 {
		t.Error(n, ok)
	}
	if _, ok := f.Int("s.x"); ok {
		t.Error("1.50 is an integer")
	}
	if n, ok := f.Numbers("a.b"); !ok || n[0] != "0.0" || n[1] != "1e3" {
		t.Error(n, ok)
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	nest := func(n int) string { return strings.Repeat("(!", n) + "()" + strings.Repeat(")", n) }
	if _, err := Parse(nest(MaxDepth)); err != nil {
		t.Error(err)
	}
	for _, bomb := range []string{
		nest(MaxDepth + 1), nest(15_000), "(&" + strings.Repeat("()", MaxNodes) + ")", strings.Repeat("(", MaxBytes), strings.Repeat("(&", 30_000),
		"(a=" + strings.Repeat("x", MaxBytes) + ")",
	} {
		if _, err := Parse(bomb); err == nil {
			t.Errorf("%.20q… was read", bomb)
		}
	}
}

func TestBombsEndUndefined(t *testing.T) {
	t.Parallel()
	start := time.Now()
	text := fmt.Sprintf(`{"l":[%s"x"],"s":%q}`, strings.Repeat(`"aaaaaaaaaaaaaaaa",`, 2500), strings.Repeat("a", 10_000))
	p, err := Compile(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{
		"(&" + strings.Repeat("(!(l=y))", 400) + ")",
		"(l=[" + strings.Repeat("a*b,", 2500) + "a*])",
		"(&" + strings.Repeat("(!(s="+strings.Repeat("a*", 100)+"b))", 300) + ")",
		"(s=a{1000}a{1000}a{1000}*)",
		"(s=" + strings.Repeat("a", MaxPattern) + "*)",
	} {
		e, err := Parse(c)
		if err != nil {
			t.Fatal(err)
		}
		if r := e.Eval(p); r.Truth != Undefined {
			t.Errorf("%.30q: %v", c, r.Truth)
		}
	}
	if d := time.Since(start); d > time.Minute {
		t.Errorf("took %v", d)
	}
}

func TestReduced(t *testing.T) {
	t.Parallel()
	p, err := Compile(`{"a":"b","n":5}`)
	if err != nil {
		t.Fatal(err)
	}
	for c, want := range map[string]string{
		"(&(a=b)(zz=1))":            "(zz=1)",
		"(&(zz=1)(a=b)(yy$v>=1.0))": "(&(zz=1)(yy$v>=1.0))",
		"(!(|(n=6)(zz=1)))":         "(!(zz=1))",
		"(|(q=*)(zz=1)(n=6))":       "(|(q=*)(zz=1))",
	} {
		e, err := Parse(c)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Eval(p).Reduced; got == nil || got.String() != want {
			t.Errorf("%s: %v, want %s", c, got, want)
		}
	}
}

// randomConstraint draws constraints over a few names and values.
func randomConstraint(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		kind := rapid.IntRange(0, 5).Draw(t, "kind")
		if depth == 0 || kind > 2 {
			name := rapid.SampledFrom([]string{"a", "n", "l", "zz", "yy"}).Draw(t, "name")
			op := rapid.SampledFrom([]string{"=", "=*", "<", ">="}).Draw(t, "op")
			if op == "=*" {
				return "(" + name + op + ")"
			}
			return "(" + name + op + rapid.SampledFrom([]string{"b", "5", "x", "4"}).Draw(t, "value") + ")"
		}
		if kind == 2 {
			return "(!" + randomConstraint(depth-1).Draw(t, "sub") + ")"
		}
		return "(" + "&|"[kind:kind+1] + strings.Join(rapid.SliceOfN(randomConstraint(depth-1), 0, 3).Draw(t, "subs"), "") + ")"
	})
}

// What remains of an undefined constraint gives the same final result over
// richer properties as the whole, as long as presence was not negated away.
func TestReducedGivesTheSameResult(t *testing.T) {
	t.Parallel()
	poor, err := Compile(`{"a":"b","n":5,"l":["x"]}`)
	if err != nil {
		t.Fatal(err)
	}
	rich, err := Compile(`{"a":"b","n":5,"l":["x"],"zz":"x","yy":5}`)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		c := randomConstraint(3).Draw(t, "constraint")
		e, err := Parse(c)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := Parse(e.String()); err != nil || back.Eval(poor).Truth != e.Eval(poor).Truth {
			t.Fatalf("%s printed as %s: %v", c, e, err)
		}
		r := e.Eval(poor)
		if (r.Truth == Undefined) != (r.Reduced != nil) {
			t.Fatalf("%s: %v but reduced %v", c, r.Truth, r.Reduced)
		}
		if strings.Contains(c, "=*") || r.Reduced == nil {
			return
		}
		if whole, rest := e.Eval(rich).Truth, r.Reduced.Eval(rich).Truth; whole != rest {
			t.Fatalf("%s is %v, its rest %s is %v", c, whole, r.Reduced, rest)
		}
	})
}

func FuzzConstraint(f *testing.F) {
	for _, s := range []string{"(&(a=b)(n>4))", "(!(a=*))", "(l=[x,y])", "(v$v>=1.0.0-rc.1+b)", "(t$t>2024-05-01t12:00:60z)", "(d$d=.5e3)", "((((", "(a=a{9}*[)"} {
		f.Add(s, `{"a":"b","n":5,"l":["x",[1]],"v":"1.0.0","t":"2024-05-01T12:00:00Z","d":"10"}`)
	}
	f.Fuzz(func(t *testing.T, c, text string) {
		e, err := Parse(c)
		if err != nil {
			return
		}
		p, err := Compile(text)
		if err != nil {
			return
		}
		r := e.Eval(p)
		if (r.Truth == Undefined) != (r.Reduced != nil) {
			t.Fatalf("%q over %q: %v, reduced %v", c, text, r.Truth, r.Reduced)
		}
	})
}

func FuzzFlatten(f *testing.F) {
	f.Add(`{"a":{"b":[1e3,"x\u0001"],"@tag":null},"a.b":{}}`)
	f.Fuzz(func(t *testing.T, text string) {
		flat, err := Flatten([]byte(text))
		if err != nil || strings.Contains(text, "@tag") {
			return
		}
		var v any
		if json.Unmarshal([]byte(flat), &v) != nil {
			t.Fatalf("%q flattens to %q", text, flat)
		}
		fl, err := ParseFlat(flat)
		if err == nil && fl.Text() != flat {
			t.Fatalf("%q is read as %q", flat, fl.Text())
		}
	})
}
