package dto

import (
	"encoding/json"
	"testing"
)

// What clients send in these fields is an error or comes back as the same.
func FuzzFields(f *testing.F) {
	for _, s := range []string{`"1.10"`, `1.10`, `[1,2,255]`, `"2026-01-31T12:00:00Z"`, `"2026-01-31 12:00:00 01:00"`, `null`, `[256]`, `-1e400`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		comesBack[Money](t, b)
		comesBack[Bytes](t, b)
		comesBack[Time](t, b)
		comesBack[NaiveTime](t, b)
	})
}

// comesBack fails when b is read as a T which is written in a way that is not
// read as the same.
func comesBack[T any](t *testing.T, b []byte) {
	t.Helper()
	var first, again T
	if json.Unmarshal(b, &first) != nil {
		return
	}
	text, err := json.Marshal(first)
	if err != nil {
		return // a year that RFC 3339 has no room for
	}
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatalf("%q is read as %v, written as %s and then refused: %v", b, first, text, err)
	}
	if last, _ := json.Marshal(again); string(last) != string(text) {
		t.Fatalf("%q is written as %s and then as %s", b, text, last)
	}
}
