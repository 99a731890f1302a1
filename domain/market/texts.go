package market

import (
	"encoding/json"
	"unicode/utf8"
)

// CheckTexts bounds what one may publish or send as properties and
// constraints: size, number of keys, valid UTF-8, properties that are one JSON
// object. It fails with [ErrBadText]. Constraints are not parsed: a text that
// cannot be read never matches.
func CheckTexts(properties, constraints string) error {
	if n := len(properties) + len(constraints); n > MaxTextBytes {
		return Errorf(ErrBadText, "Properties and constraints are too long: %d bytes, at most %d.", n, MaxTextBytes)
	}
	if !utf8.ValidString(properties) || !utf8.ValidString(constraints) {
		return Errorf(ErrBadText, "Properties or constraints are not valid UTF-8.")
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(properties), &m); err != nil || m == nil {
		return Errorf(ErrBadText, "Properties are not a JSON object.")
	}
	if len(m) > MaxKeys {
		return Errorf(ErrBadText, "Too many properties: %d, at most %d.", len(m), MaxKeys)
	}
	return nil
}

// KeepRaw is what of a peer's message goes into a fact: all of it, or nothing
// when it is longer than [MaxRawBytes].
func KeepRaw(raw []byte) []byte {
	if len(raw) > MaxRawBytes {
		return nil
	}
	return raw
}
