package verifier

import "bytes"

// lookup walks down a Merkle-Patricia trie; nodes are those on the way and no
// others.
func lookup(root, key []byte, nodes [][]byte) ([]byte, bool) {
	path := make([]byte, 0, 2*len(key))
	for _, b := range key {
		path = append(path, b>>4, b&15)
	}
	want := item{text: root}
	for {
		node, rest, ok := follow(want, nodes)
		if !ok {
			return nil, false
		}
		nodes = rest
		switch len(node.list) {
		case 17:
			if len(path) == 0 {
				value := node.list[16].text
				return value, len(value) > 0 && len(nodes) == 0
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

// follow finds the node that is wanted: it stands there itself, or it is the
// first of those given and the hash of it stands there.
func follow(want item, nodes [][]byte) (node item, rest [][]byte, ok bool) {
	if want.is {
		return want, nodes, true
	}
	if len(want.text) != 32 || len(nodes) == 0 || !bytes.Equal(keccak(nodes[0]), want.text) {
		return node, nil, false
	}
	node, err := decode(nodes[0])
	return node, nodes[1:], err == nil
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

// entry is a log of a receipt.
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
		e, ok := readEntry(l)
		if !ok {
			return false
		}
		c.logs = append(c.logs, e)
	}
	return true
}

// readEntry reads a log of a receipt: contract, topics and data.
func readEntry(l item) (e entry, ok bool) {
	if len(l.list) != 3 || len(l.list[0].text) != 20 || !l.list[1].is || l.list[2].is {
		return e, false
	}
	e.contract, e.data = l.list[0].text, l.list[2].text
	for _, topic := range l.list[1].list {
		if len(topic.text) != 32 {
			return e, false
		}
		e.topics = append(e.topics, topic.text)
	}
	return e, true
}
