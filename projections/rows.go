package projections

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"reflect"
	"slices"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
)

const (
	keptRows     = 512    // of a table in memory, while the log is followed
	keptRowsBulk = 2048   // while many facts are folded at once
	dirtyRows    = 16_384 // that are written at once then
)

// rows are those rows of a database that were touched lately. Views change
// them here; each goes to the file once a batch, however often it changed.
type rows struct {
	tables map[string]*table
	names  []string
	now    es.Position // of the fact that is applied
	every  bool        // every version is kept, not the last one only
	kept   int
	dirty  int
}

// row is one row, with what is to be written of it.
type row struct {
	of      *rows
	table   *table
	key     string
	v       []any // as SQLite gives them back
	stored  bool  // it, or this version of it, is in the file
	gone    bool
	queued  bool
	changed uint64      // columns, by bit, since it was stored
	since   es.Position // of the fact that made this version
}

// version is a row that was another later.
type version struct {
	key          string
	v            []any
	since, until es.Position
	stored       bool // and lacks its end only
}

// reset forgets everything that is in memory.
func (x *rows) reset() {
	for _, t := range x.tables {
		t.young, t.old, t.dirty, t.fresh, t.ended = make(map[string]*row), nil, nil, make(map[string][]*row), nil
	}
	x.dirty = 0
}

// cached finds a row in memory. It may be gone.
func (t *table) cached(key []byte) (*row, bool) {
	if r, ok := t.young[string(key)]; ok {
		return r, true
	}
	r, ok := t.old[string(key)]
	if ok {
		t.young[r.key] = r
	}
	return r, ok
}

// age lets go of the rows that were not touched for long. All are written.
func (t *table) age(kept int) {
	if len(t.young) > kept {
		t.old, t.young = t.young, make(map[string]*row, kept)
	}
}

// hold puts a row of the file into memory.
func (x *rows) hold(t *table, key []byte, v []any, since int64) *row {
	r := &row{of: x, table: t, key: string(key), v: v, stored: true, since: es.Position(since)} //nolint:gosec // never negative
	t.young[r.key] = r
	return r
}

// begin puts a new row into memory.
func (x *rows) begin(t *table, key []byte, v []any) *row {
	r := &row{of: x, table: t, key: string(key), v: v, since: x.now}
	t.young[r.key] = r
	r.queue()
	return r
}

// change notes that a row is about to be another.
func (r *row) change() {
	x := r.of
	if x.every && !r.gone && (r.stored || r.since != x.now) {
		end := version{key: r.key, v: r.v, since: r.since, until: x.now, stored: r.stored}
		r.v = slices.Clone(r.v)
		r.table.ended = append(r.table.ended, end)
		r.stored = false
		x.dirty++
	}
	r.since = x.now
	r.queue()
}

func (r *row) queue() {
	if r.queued {
		return
	}
	r.queued = true
	r.table.dirty = append(r.table.dirty, r)
	r.of.dirty++
	if !r.stored && r.table.grouped >= 0 {
		g := string(r.table.keyOf(r.v, r.table.grouped))
		r.table.fresh[g] = append(r.table.fresh[g], r)
	}
}

// set changes a column.
func (r *row) set(column string, to any) {
	i, to := r.table.at(column), plain(to)
	if same(r.v[i], to) {
		return
	}
	r.change()
	r.v[i] = to
	r.changed |= 1 << i
}

// remove deletes the row.
func (r *row) remove() {
	if r.gone {
		return
	}
	r.change()
	r.gone = true
}

// fill gives all columns new values.
func (r *row) fill(v []any) {
	r.change()
	r.v, r.gone, r.changed = v, false, 1<<len(v)-1
}

func (r *row) text(column string) string {
	s, _ := r.v[r.table.at(column)].(string)
	return s
}

func (r *row) int(column string) int64 {
	n, _ := r.v[r.table.at(column)].(int64)
	return n
}

func (r *row) time(column string) (t time.Time, err error) {
	return t, moment{&t}.Scan(r.v[r.table.at(column)])
}

func (r *row) amount(column string) (a money.Amount, err error) {
	return a, amount{&a}.Scan(r.v[r.table.at(column)])
}

// add adds to an amount.
func (r *row) add(column string, delta money.Amount) error {
	old, err := r.amount(column)
	if err != nil {
		return fmt.Errorf("%s.%s: %w", r.table.name, column, err)
	}
	r.set(column, old.Add(delta))
	return nil
}

func same(a, b any) bool {
	x, blob := a.([]byte)
	y, also := b.([]byte)
	if blob || also {
		return blob && also && (x == nil) == (y == nil) && slices.Equal(x, y)
	}
	return a == b
}

// plain is a value as SQLite gives it back: times are whole microseconds since
// 1970 (0 when unset), amounts and ids their text.
func plain(a any) any {
	switch a := a.(type) {
	case nil, string, int64:
		return a
	case time.Time:
		return micros(a)
	case money.Amount:
		return a.String()
	case identity.NodeID:
		return string(a)
	case identity.Side:
		return string(a)
	case int:
		return int64(a)
	case bool:
		if a {
			return int64(1)
		}
		return int64(0)
	case []byte:
		if a == nil {
			return nil
		}
		return a
	}
	v := reflect.ValueOf(a)
	switch {
	case v.Kind() == reflect.String:
		return v.String()
	case v.CanInt():
		return v.Int()
	case v.CanUint():
		return int64(v.Uint()) //nolint:gosec // chain ids, numbers of blocks and positions are far below 2^63
	}
	panic(fmt.Sprintf("a view writes a %T", a))
}

// appendKey appends a value so that keys are ordered as SQLite orders them.
func appendKey(b []byte, a any) []byte {
	switch a := a.(type) {
	case string:
		return append(append(b, a...), 0)
	case int64:
		return binary.BigEndian.AppendUint64(b, uint64(a)^1<<63) //nolint:gosec // the order is what counts
	}
	panic(fmt.Sprintf("a key with a %T", a))
}

// filter says of keys that they may be in a file, or that they are not.
type filter struct {
	bits []uint64
	seed maphash.Seed
}

const filterBits = 1 << 23

func newFilter() *filter {
	return &filter{bits: make([]uint64, filterBits/64), seed: maphash.MakeSeed()}
}

// spots are the bits of a key: a word and a mask each.
func (f *filter) spots(h uint64) (out [4][2]uint64) {
	for i := range out {
		bit := h % filterBits
		out[i] = [2]uint64{bit / 64, 1 << (bit % 64)}
		h = h>>16 | h<<48
	}
	return out
}

func (f *filter) add(key string) {
	for _, s := range f.spots(maphash.String(f.seed, key)) {
		f.bits[s[0]] |= s[1]
	}
}

func (f *filter) has(key []byte) bool {
	for _, s := range f.spots(maphash.Bytes(f.seed, key)) {
		if f.bits[s[0]]&s[1] == 0 {
			return false
		}
	}
	return true
}
