package props

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

func lines(t *testing.T, name string) [][]byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	s := bufio.NewScanner(bytes.NewReader(b))
	for s.Scan() {
		out = append(out, slices.Clone(s.Bytes()))
	}
	if len(out) == 0 {
		t.Fatalf("%s is empty", name)
	}
	return out
}

type vector struct {
	C, P, R    string
	Unresolved []string `json:"un"`
}

func outcome(c string, p Properties) (string, []string) {
	e, err := Parse(c)
	switch {
	case errors.Is(err, ErrReference):
		return "BE", nil
	case err != nil:
		return "PE", nil
	}
	r := e.Eval(p)
	return r.Truth.String()[:1], r.Unresolved
}

func check(t *testing.T, v vector, p Properties) {
	t.Helper()
	got, un := outcome(v.C, p)
	if got != v.R {
		t.Errorf("%q: %s, want %s", v.C, got, v.R)
	}
	if (v.R == "U" || v.Unresolved != nil) && !slices.Equal(un, v.Unresolved) {
		t.Errorf("%q: unresolved %q, want %q", v.C, un, v.Unresolved)
	}
}

func TestVectorsAB(t *testing.T) {
	t.Parallel()
	for _, set := range []string{"a", "b"} {
		text, err := os.ReadFile("testdata/" + set + ".properties.json")
		if err != nil {
			t.Fatal(err)
		}
		p, err := Compile(string(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lines(t, set+".jsonl") {
			var v vector
			if err := json.Unmarshal(l, &v); err != nil {
				t.Fatalf("%s: %v", l, err)
			}
			check(t, v, p)
		}
	}
}

func TestVectorsC(t *testing.T) {
	t.Parallel()
	for _, l := range lines(t, "c.jsonl") {
		var v vector
		if err := json.Unmarshal(l, &v); err != nil {
			t.Fatalf("%s: %v", l, err)
		}
		p := make(Properties)
		p.addLine(v.P)
		check(t, v, p)
	}
}

func TestVectorsD(t *testing.T) {
	t.Parallel()
	for _, l := range lines(t, "d.jsonl") {
		var v struct {
			DP, OP json.RawMessage
			DC, OC string
			R      string
			Offer  []string `json:"offer_mismatch"`
			Demand []string `json:"demand_mismatch"`
		}
		if err := json.Unmarshal(l, &v); err != nil {
			t.Fatalf("%s: %v", l, err)
		}
		demand, err := CompileSide(string(v.DP), v.DC)
		if strings.HasPrefix(v.R, "error") {
			if err == nil {
				t.Errorf("%s: read", l)
			}
			continue
		}
		offer, err2 := CompileSide(string(v.OP), v.OC)
		if err != nil || err2 != nil {
			t.Fatalf("%s: %v %v", l, err, err2)
		}
		o := Match(demand, offer)
		want := map[string]Truth{"Yes": True, "No": False, "Undefined": Undefined}[v.R]
		if o.Truth != want || !slices.Equal(o.OfferMismatch, v.Offer) || !slices.Equal(o.DemandMismatch, v.Demand) {
			t.Errorf("%s: %v %q %q", l, o.Truth, o.OfferMismatch, o.DemandMismatch)
		}
	}
}

func TestVectorsE(t *testing.T) {
	t.Parallel()
	for _, l := range lines(t, "e.jsonl") {
		var v struct{ In, Out json.RawMessage }
		if err := json.Unmarshal(l, &v); err != nil {
			t.Fatalf("%s: %v", l, err)
		}
		if string(v.Out) == `"error"` {
			if got, err := Flatten(nil); err == nil {
				t.Errorf("flattened nothing to %s", got)
			}
			continue
		}
		var want []string
		if err := json.Unmarshal(v.Out, &want); err != nil {
			t.Fatal(err)
		}
		text, err := Flatten(v.In)
		if err != nil {
			t.Fatal(err)
		}
		f, err := ParseFlat(text)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for k, raw := range f {
			got = append(got, k+"="+string(raw))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", v.In, got, want)
		}
	}
}
