package verifier

import (
	"bytes"
	"errors"
)

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

func decodeFirst(b []byte, depth int) (i item, rest []byte, err error) {
	if len(b) == 0 || depth > maxDepth {
		return i, nil, errRLP
	}
	kind := b[0]
	if kind < 0x80 {
		return item{text: b[:1], raw: b[:1]}, b[1:], nil
	}
	offset := byte(0x80)
	if i.is = kind >= 0xc0; i.is {
		offset = 0xc0
	}
	head, size := 1, int(kind-offset)
	if size > 55 {
		n := size - 55
		if len(b) < 1+n || b[1] == 0 || n > 4 {
			return i, nil, errRLP
		}
		head, size = 1+n, 0
		for _, c := range b[1:head] {
			size = size<<8 | int(c)
		}
		if size <= 55 {
			return i, nil, errRLP
		}
	}
	if len(b)-head < size {
		return i, nil, errRLP
	}
	body := b[head : head+size]
	i.raw, rest = b[:head+size], b[head+size:]
	if !i.is {
		if i.text = body; size == 1 && body[0] < 0x80 {
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

// lookup walks down a Merkle-Patricia trie; nodes are those on the way and no
// others.
func lookup(root, key []byte, nodes [][]byte) ([]byte, bool) {
	path := make([]byte, 0, 2*len(key))
	for _, b := range key {
		path = append(path, b>>4, b&15)
	}
	want := item{text: root}
	for {
		var node item
		switch {
		case want.is:
			node = want
		case len(want.text) == 32 && len(nodes) > 0 && bytes.Equal(keccak(nodes[0]), want.text):
			var err error
			if node, err = decode(nodes[0]); err != nil {
				return nil, false
			}
			nodes = nodes[1:]
		default:
			return nil, false
		}
		switch len(node.list) {
		case 17:
			if len(path) == 0 {
				return node.list[16].text, len(node.list[16].text) > 0 && len(nodes) == 0
			}
			want, path = node.list[path[0]], path[1:]
		case 2:
			part, leaf, ok := compact(node.list[0].text)
			if !ok || !bytes.HasPrefix(path, part) {
				return nil, false
			}
			path = path[len(part):]
			if leaf {
				return node.list[1].text, len(path) == 0 && len(nodes) == 0
			}
			want = node.list[1]
		default:
			return nil, false
		}
	}
}

// compact reads a hex-prefix path.
func compact(b []byte) (path []byte, leaf, ok bool) {
	if len(b) == 0 || b[0]>>4 > 3 {
		return nil, false, false
	}
	if b[0]>>4&1 == 1 {
		path = append(path, b[0]&15)
	} else if b[0]&15 != 0 {
		return nil, false, false
	}
	for _, c := range b[1:] {
		path = append(path, c>>4, c&15)
	}
	return path, b[0]>>5&1 == 1, true
}

// carried is a transaction in a block.
type carried struct {
	chain     uint64
	block     [32]byte
	tx        []byte // hash
	succeeded bool
	logs      []entry
}

type entry struct {
	contract, data []byte
	topics         [][]byte
}

// open checks that header, tries and index belong together.
func (t transfer) open() (c carried, ok bool) {
	header, err := decode(t.Header)
	if err != nil || len(header.list) < 15 || len(header.list[4].text) != 32 || len(header.list[5].text) != 32 || len(header.list[8].text) > 32 {
		return c, false
	}
	key := encodeNumber(t.Index)
	tx, ok1 := lookup(header.list[4].text, key, t.Transaction)
	receipt, ok2 := lookup(header.list[5].text, key, t.Receipt)
	if !ok1 || !ok2 {
		return c, false
	}
	c.chain, c.block, c.tx = t.Chain, [32]byte(keccak(t.Header)), keccak(tx)
	return c, c.read(receipt)
}

// read takes a receipt apart: status, gas, bloom and logs, behind a type byte
// unless it is of the first kind.
func (c *carried) read(b []byte) bool {
	if len(b) > 0 && b[0] < 0x80 {
		if b[0] < 1 || b[0] > 4 {
			return false
		}
		b = b[1:]
	}
	r, err := decode(b)
	if err != nil || len(r.list) != 4 || len(r.list[2].text) != 256 || !r.list[3].is {
		return false
	}
	c.succeeded = bytes.Equal(r.list[0].text, []byte{1})
	for _, l := range r.list[3].list {
		if len(l.list) != 3 || len(l.list[0].text) != 20 || !l.list[1].is || l.list[2].is {
			return false
		}
		e := entry{contract: l.list[0].text, data: l.list[2].text}
		for _, topic := range l.list[1].list {
			if len(topic.text) != 32 {
				return false
			}
			e.topics = append(e.topics, topic.text)
		}
		c.logs = append(c.logs, e)
	}
	return true
}
