package front

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/emet-node/emet/adapters/store/leaf"
	"github.com/emet-node/emet/domain/es"
)

// outline keeps in a file what a store knows in memory, so that a start reads
// the table from there on only. It is derived and may be deleted: what does not
// fit the table is made anew. Integers are little endian.
//
//	magic "EMETOUT1" · log id 16
//	chunks: length u32 · CRC-32C u32 · payload
//	payload: first position u64 · events uvarint · events · leaves · last recorded (µs) u64 · roots uvarint · roots 32 each
//	event: stream · id 16, where a stream is 0, length uvarint and name when it is new, else its number in the file, from 1
//	leaves: 32 bytes for each stream of the chunk in the order of its first event there: that of its last event there
type outline struct {
	path    string
	logID   [16]byte
	numbers map[es.Stream]uint64
	pending []Row // durable, and not in the file; without content
	end     int64 // of the file
	off     bool  // it cannot be written
}

const (
	outlineMagic = "EMETOUT1"
	outlineHead  = len(outlineMagic) + 16
	chunkRows    = 4096
	maxChunk     = 64 << 20
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

func newOutline(path string, logID [16]byte) *outline {
	return &outline{path: path, logID: logID, numbers: make(map[es.Stream]uint64), off: path == ""}
}

// load fills an empty index from the file, as far as that is whole. It returns
// the time of the last event.
func (o *outline) load(x *index) (recorded time.Time) {
	if o.off {
		return recorded
	}
	b, err := os.ReadFile(o.path)
	if err != nil || len(b) < outlineHead || string(b[:len(outlineMagic)]) != outlineMagic || [16]byte(b[len(outlineMagic):]) != o.logID {
		return recorded
	}
	o.end = int64(outlineHead)
	x.ids = make(map[es.ID]es.Position, (len(b)-outlineHead)/18)
	var streams []es.Stream
	for {
		rest := b[o.end:]
		if len(rest) < 8 || uint64(le.Uint32(rest)) > uint64(len(rest)-8) {
			return recorded
		}
		payload := rest[8 : 8+le.Uint32(rest)]
		if crc32.Checksum(payload, castagnoli) != le.Uint32(rest[4:]) {
			return recorded
		}
		c := &chunk{b: payload}
		if at := c.into(x, &streams); c.bad || len(c.b) > 0 {
			x.tree = leaf.Edge{Size: math.MaxUint64} // no file of ours: it is refused
			return time.Time{}
		} else if recorded = at; len(streams) > len(o.numbers) {
			for i := len(o.numbers); i < len(streams); i++ {
				o.numbers[streams[i]] = uint64(i) + 1
			}
		}
		o.end += 8 + int64(len(payload))
	}
}

// chunk is one that is read.
type chunk struct {
	b   []byte
	bad bool
}

func (c *chunk) take(n int) []byte {
	if c.bad || n < 0 || n > len(c.b) {
		c.bad = true
		return make([]byte, max(0, min(n, 64)))
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *chunk) number() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.bad = true
		return 0
	}
	c.b = c.b[n:]
	return v
}

// into adds what a chunk says.
func (c *chunk) into(x *index, streams *[]es.Stream) (recorded time.Time) {
	first, count := es.Position(le.Uint64(c.take(8))), c.number()
	if first != x.next || count > uint64(len(c.b)) {
		c.bad = true
	}
	var touched []*line
	seen := make(map[*line]bool)
	for range count {
		if c.bad {
			return recorded
		}
		var s es.Stream
		if n := c.number(); n == 0 {
			s = es.Stream(c.take(int(min(c.number(), es.MaxStreamNameSize+1))))
			*streams = append(*streams, s)
		} else if n <= uint64(len(*streams)) {
			s = (*streams)[n-1]
		} else {
			c.bad = true
			return recorded
		}
		l := x.lines[s]
		if l == nil {
			l = &line{}
			x.lines[s] = l
		}
		if !seen[l] {
			seen[l], touched = true, append(touched, l)
		}
		l.positions = append(l.positions, x.next)
		x.ids[es.ID(c.take(16))] = x.next
		x.next++
	}
	for _, l := range touched {
		l.leaf = es.Hash(c.take(32))
	}
	recorded = time.UnixMicro(int64(le.Uint64(c.take(8)))).UTC()
	roots := make([]es.Hash, min(c.number(), 64))
	for i := range roots {
		roots[i] = es.Hash(c.take(32))
	}
	ok := false
	if x.tree, ok = leaf.EdgeOf(uint64(x.next), roots); !ok {
		c.bad = true
	}
	return recorded
}

// sound says whether what was loaded is of this table: its last event is there.
func sound(ctx context.Context, t Table, x *index) (bool, error) {
	if uint64(x.next) != x.tree.Size {
		return false, nil
	}
	if x.next == 0 {
		return true, nil
	}
	last := x.next - 1
	for r, err := range t.At(ctx, []es.Position{last}) {
		if errors.Is(err, es.ErrCorrupt) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		l := x.lines[r.Stream]
		p, known := x.ids[r.ID]
		return known && p == last && l != nil && l.leaf == r.Leaf && l.positions[len(l.positions)-1] == last, nil
	}
	return false, nil
}

// note keeps what is durable now, and writes when that is much.
func (o *outline) note(rows []Row, x *index) {
	if o.off {
		return
	}
	for i := range rows {
		r := Row{Event: es.Event{Stream: rows[i].Stream, Position: rows[i].Position, Leaf: rows[i].Leaf, Recorded: rows[i].Recorded}}
		r.ID = rows[i].ID
		o.pending = append(o.pending, r)
	}
	if len(o.pending) >= chunkRows {
		o.write(x)
	}
}

// write adds a chunk. Nothing is synced and an error is the end of the file, not
// of the store: a chunk that is not whole is not read.
func (o *outline) write(x *index) {
	if o.off || len(o.pending) == 0 {
		return
	}
	b := o.encode(x)
	o.pending = o.pending[:0]
	if err := o.put(b); err != nil {
		o.off = true
	}
}

func (o *outline) encode(x *index) []byte {
	b := le.AppendUint64(nil, uint64(o.pending[0].Position))
	b = binary.AppendUvarint(b, uint64(len(o.pending)))
	at := make(map[es.Stream]int)
	var leaves []es.Hash
	for i := range o.pending {
		r := &o.pending[i]
		n := o.numbers[r.Stream]
		b = binary.AppendUvarint(b, n)
		if n == 0 {
			o.numbers[r.Stream] = uint64(len(o.numbers)) + 1
			b = append(binary.AppendUvarint(b, uint64(len(r.Stream))), r.Stream...)
		}
		b = append(b, r.ID[:]...)
		k, ok := at[r.Stream]
		if !ok {
			k = len(leaves)
			at[r.Stream], leaves = k, append(leaves, es.Hash{})
		}
		leaves[k] = r.Leaf
	}
	for _, h := range leaves {
		b = append(b, h[:]...)
	}
	b = le.AppendUint64(b, uint64(o.pending[len(o.pending)-1].Recorded.UnixMicro()))
	roots := x.tree.Roots()
	b = binary.AppendUvarint(b, uint64(len(roots)))
	for _, h := range roots {
		b = append(b, h[:]...)
	}
	return b
}

func (o *outline) put(payload []byte) (err error) {
	if len(payload) > maxChunk {
		return fmt.Errorf("a chunk of %d bytes", len(payload))
	}
	if o.end == 0 {
		if err := os.MkdirAll(filepath.Dir(o.path), 0o700); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(o.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var b bytes.Buffer
	if o.end == 0 {
		b.WriteString(outlineMagic)
		b.Write(o.logID[:])
	}
	var head [8]byte
	le.PutUint32(head[:], uint32(len(payload)))
	le.PutUint32(head[4:], crc32.Checksum(payload, castagnoli))
	b.Write(head[:])
	b.Write(payload)
	if err := f.Truncate(o.end); err != nil { // what follows was not whole
		return err
	}
	if _, err := f.WriteAt(b.Bytes(), o.end); err != nil {
		return err
	}
	o.end += int64(b.Len())
	return nil
}

// drop removes a file that does not fit.
func (o *outline) drop(readOnly bool) {
	o.numbers, o.end = make(map[es.Stream]uint64), 0
	if o.off || readOnly {
		return
	}
	if err := os.Remove(o.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.off = true
	}
}
