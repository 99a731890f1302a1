package dto

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Money is an amount as a text. In requests it may also be a JSON number, of
// which the literal text counts ("1.10" stays 1.10 and never becomes a float).
type Money string

// UnmarshalJSON takes a text or a number. It does not check that the text is
// an amount.
func (m *Money) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*m = Money(s)
		return nil
	}
	var n json.Number
	if err := json.Unmarshal(b, &n); err != nil {
		return fmt.Errorf("amount: want a text or a number, got %.40s", b)
	}
	*m = Money(n.String())
	return nil
}

// Bytes is a byte string that is written as an array of numbers 0..255.
type Bytes []byte

// MarshalJSON writes the array.
func (b Bytes) MarshalJSON() ([]byte, error) {
	if b == nil {
		return []byte("null"), nil
	}
	out := []byte{'['}
	for i, v := range b {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendUint(out, uint64(v), 10)
	}
	return append(out, ']'), nil
}

// UnmarshalJSON reads the array.
func (b *Bytes) UnmarshalJSON(in []byte) error {
	var values []uint8
	var wide []uint16 // []uint8 would be read as base64
	if err := json.Unmarshal(in, &wide); err != nil {
		return fmt.Errorf("bytes: want an array of numbers: %w", err)
	}
	for _, v := range wide {
		if v > 255 {
			return fmt.Errorf("bytes: %d is not a byte", v)
		}
		values = append(values, uint8(v))
	}
	*b = values
	return nil
}
