package segment

import "math/bits"

// ids finds events by the hash of their id: an open-addressed table that an event
// enters with one look at memory, since such a hash is as good as random. A slot
// is chosen by the first bits, so that the table is nearly in order. Several
// events may have the same hash.
type ids struct {
	slots []idPlace // a power of two
	shift int       // of a hash, to its slot
	count int
}

// idPlace is the hash of an id and which event of the segment has it.
type idPlace struct {
	hash uint64
	next uint32 // the event after it in the segment; 0 = the slot is free
}

func (p idPlace) rel() uint32 { return p.next - 1 }

const fewIDs = 64

// add enters an event. rel is less than the largest number there is.
func (t *ids) add(hash uint64, rel uint32) {
	if 4*t.count >= 3*len(t.slots) {
		t.grow()
	}
	t.count++
	t.enter(idPlace{hash, rel + 1})
}

func (t *ids) enter(p idPlace) {
	for i := p.hash >> t.shift; ; i++ {
		if s := &t.slots[i&uint64(len(t.slots)-1)]; s.next == 0 {
			*s = p
			return
		}
	}
}

func (t *ids) grow() {
	old := t.slots
	t.slots = make([]idPlace, max(2*len(old), fewIDs))
	t.shift = 64 - bits.TrailingZeros(uint(len(t.slots)))
	for _, p := range old {
		if p.next != 0 {
			t.enter(p)
		}
	}
}

// has says whether an event has that hash.
func (t *ids) has(hash uint64) bool {
	for p := range t.from(hash) {
		if p.hash == hash {
			return true
		}
	}
	return false
}

// find adds the events that have that hash to found.
func (t *ids) find(hash uint64, found []uint32) []uint32 {
	for p := range t.from(hash) {
		if p.hash == hash {
			found = append(found, p.rel())
		}
	}
	return found
}

// from yields what lies where a hash belongs, up to the next free slot.
func (t *ids) from(hash uint64) func(yield func(idPlace) bool) {
	return func(yield func(idPlace) bool) {
		if t.count == 0 {
			return
		}
		for i := hash >> t.shift; ; i++ {
			if p := t.slots[i&uint64(len(t.slots)-1)]; p.next == 0 || !yield(p) {
				return
			}
		}
	}
}

// sorted returns all of them by hash, those with the same hash by event.
func (t *ids) sorted() []idPlace {
	out := make([]idPlace, 0, t.count)
	for _, p := range t.slots {
		if p.next == 0 {
			continue
		}
		i := len(out)
		out = append(out, p)
		for ; i > 0 && p.before(out[i-1]); i-- { // a few steps: they are nearly in order
			out[i] = out[i-1]
		}
		out[i] = p
	}
	return out
}

func (p idPlace) before(q idPlace) bool {
	return p.hash < q.hash || p.hash == q.hash && p.next < q.next
}
