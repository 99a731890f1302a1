package verifier

import "errors"

// item is a decoded piece of RLP: text, or a list. raw is as it was written.
type item struct {
	text []byte
	list []item
	is   bool // a list
	raw  []byte
}

var errRLP = errors.New("malformed RLP")

const maxDepth = 8

// decode reads one item that is all of b.
func decode(b []byte) (item, error) {
	i, rest, err := decodeFirst(b, 0)
	if err == nil && len(rest) > 0 {
		err = errRLP
	}
	return i, err
}

// decodeFirst reads the first item of b, in its shortest spelling.
func decodeFirst(b []byte, depth int) (i item, rest []byte, err error) {
	head, size, ok := prefix(b)
	if !ok || depth > maxDepth || len(b)-head < size {
		return i, nil, errRLP
	}
	body := b[head : head+size]
	i.raw, rest = b[:head+size], b[head+size:]
	if i.is = b[0] >= 0xc0; !i.is {
		if i.text = body; head > 0 && size == 1 && body[0] < 0x80 {
			return i, nil, errRLP
		}
		return i, rest, nil
	}
	for len(body) > 0 {
		var one item
		if one, body, err = decodeFirst(body, depth+1); err != nil {
			return i, nil, err
		}
		i.list = append(i.list, one)
	}
	return i, rest, nil
}

// prefix reads how many bytes come before the body of an item, and how many it
// has. A byte below 0x80 is a body without prefix.
func prefix(b []byte) (head, size int, ok bool) {
	if len(b) == 0 {
		return 0, 0, false
	}
	switch kind := b[0]; {
	case kind < 0x80:
		return 0, 1, true
	case kind >= 0xc0:
		size = int(kind) - 0xc0
	default:
		size = int(kind) - 0x80
	}
	if size <= 55 {
		return 1, size, true
	}
	head = 1 + size - 55
	if len(b) < head || b[1] == 0 || head > 5 {
		return 0, 0, false
	}
	size = 0
	for _, c := range b[1:head] {
		size = size<<8 | int(c)
	}
	return head, size, size > 55
}

// number reads a whole number without leading zeros.
func (i item) number() (n uint64, ok bool) {
	if i.is || len(i.text) > 8 || len(i.text) > 0 && i.text[0] == 0 {
		return 0, false
	}
	for _, b := range i.text {
		n = n<<8 | uint64(b)
	}
	return n, true
}

// encodeNumber is RLP of a whole number.
func encodeNumber(n uint64) []byte {
	if n > 0 && n < 0x80 {
		return []byte{byte(n)}
	}
	var digits []byte
	for ; n > 0; n >>= 8 {
		digits = append([]byte{byte(n)}, digits...)
	}
	return append([]byte{0x80 + byte(len(digits))}, digits...)
}
