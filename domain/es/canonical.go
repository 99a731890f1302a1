package es

import (
	"bytes"
	"encoding/json"
)

// CanonicalJSON writes v in the canonical form of RFC 8785. It relies on v:
// struct fields declared in the alphabetical order of their JSON names, map
// keys in ASCII, no floats, integers below 2^53. A test holds every golden
// fact against a JCS library.
func CanonicalJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return unescapeSeparators(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// unescapeSeparators undoes the one thing in which encoding/json differs from
// RFC 8785: it writes U+2028 and U+2029 as escapes.
func unescapeSeparators(b []byte) []byte {
	if !bytes.Contains(b, []byte(`\u202`)) {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' {
			out = append(out, b[i])
			continue
		}
		if rest := b[i:]; bytes.HasPrefix(rest, []byte(`\u2028`)) || bytes.HasPrefix(rest, []byte(`\u2029`)) {
			out = append(out, 0xe2, 0x80, 0xa0|rest[5]&0x0f)
			i += 5
			continue
		}
		out = append(out, b[i], b[i+1]) // an escape of another kind, whole
		i++
	}
	return out
}
