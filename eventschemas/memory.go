package eventschemas

import (
	"hash/maphash"
	"sync"
)

// memory keeps texts that were read lately. Facts say the same things again
// and again: the ids of their deal, the terms of an offer in every negotiation
// about it. What is remembered is neither scanned nor copied once more, and
// the states that facts are folded into share it. It holds 5 MiB at most. The
// nil memory remembers nothing.
type memory struct {
	seed   maphash.Seed
	shorts [4096]string
	longs  [128][2]remembered // newest first
}

// remembered is a long text and how it was written.
type remembered struct{ raw, text string }

const (
	shortest = 64 // bytes from which on a text is long
	longest  = 8 << 10
	opening  = 24 // bytes that a long text is looked up by
)

var memories = sync.Pool{New: func() any { return &memory{seed: maphash.MakeSeed()} }}

// short is string(text).
func (m *memory) short(text []byte) string {
	if m == nil || len(text) < 2 { // those take no memory
		return string(text)
	}
	slot := &m.shorts[maphash.Bytes(m.seed, text)%uint64(len(m.shorts))]
	if *slot != string(text) {
		*slot = string(text)
	}
	return *slot
}

func (m *memory) place(begin []byte) *[2]remembered {
	return &m.longs[maphash.Bytes(m.seed, begin)%uint64(len(m.longs))]
}

// long looks for a text that b begins with, up to its closing quote, and
// returns how long it is there. What precedes a quote that ends a text once
// ends it always.
func (m *memory) long(b []byte) (text string, n int) {
	if m == nil || len(b) < opening {
		return "", 0
	}
	place := m.place(b[:opening])
	for i := range place {
		r := &place[i]
		if n := len(r.raw); n > 0 && n < len(b) && b[n] == '"' && string(b[:n]) == r.raw {
			text = r.text
			if i > 0 {
				place[0], place[1] = place[1], place[0]
			}
			return text, n
		}
	}
	return "", 0
}

// keep remembers a long text.
func (m *memory) keep(raw, text string) {
	if m == nil || len(raw) < opening || len(raw) > longest {
		return
	}
	place := m.place([]byte(raw[:opening]))
	place[1], place[0] = place[0], remembered{raw, text}
}
