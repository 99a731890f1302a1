package projections

import (
	"cmp"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/emet-node/emet/domain/es"
)

// endless is the end of a version that is the last one.
const endless = int64(1)<<62 - 1

// table is a table of a view, with the rows of it that are in memory.
type table struct {
	name    string
	columns []string
	types   []string
	column  map[string]int
	key     []int // columns of the primary key
	grouped int   // how many of them [Tx.group] is asked for, -1 = it is not

	young, old map[string]*row // the second are let go of next
	dirty      []*row
	fresh      map[string][]*row // of dirty: those that are not in the file, by group
	ended      []version
	buffer     []byte
	known      *filter // keys in the file; nil = ask it

	load, loadGroup, insert, insertMany, remove, end string
	updates                                          map[uint64]string
}

// many is how many rows one statement inserts.
const many = 24

// groups are the tables whose rows are asked for by the first columns of their
// key.
var groups = map[string]int{"totals": 2, "order_items": 1, "identities": 0}

// describe finds the tables of a database, by name, and the statements that
// make its indexes.
func describe(db *sql.DB) (tables []*table, indexes map[string]string, err error) {
	rows, err := db.Query(`SELECT m.name, c.name, c.type, c.pk FROM sqlite_master m JOIN pragma_table_info(m.name) c
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'emet_view' ORDER BY m.name, c.cid`)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var t *table
	var pk []int
	done := func() {
		if t != nil {
			slices.SortFunc(t.key, func(a, b int) int { return cmp.Compare(pk[a], pk[b]) })
			tables = append(tables, t)
		}
	}
	for rows.Next() {
		var name, column, typ string
		var place int
		if err := rows.Scan(&name, &column, &typ, &place); err != nil {
			return nil, nil, err
		}
		if t == nil || t.name != name {
			done()
			t, pk = &table{name: name, column: make(map[string]int), updates: make(map[uint64]string)}, nil
		}
		t.column[column] = len(t.columns)
		if place > 0 {
			t.key = append(t.key, len(t.columns))
		}
		t.columns, t.types, pk = append(t.columns, column), append(t.types, typ), append(pk, place)
	}
	done()
	if err := rows.Err(); err != nil {
		return nil, nil, err
	}
	indexes, err = indexesOf(db)
	return tables, indexes, err
}

func indexesOf(db *sql.DB) (map[string]string, error) {
	rows, err := db.Query(`SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL`)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	out := make(map[string]string)
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return nil, err
		}
		out[name] = text
	}
	return out, rows.Err()
}

// newRows are the rows of tables, none of them in memory. With every, each
// version of a row is one of its own.
func newRows(tables []*table, every bool) *rows {
	x := &rows{tables: make(map[string]*table, len(tables)), every: every, kept: keptRows}
	for _, t := range tables {
		t.phrase(every)
		x.tables[t.name] = t
		x.names = append(x.names, t.name)
	}
	x.reset()
	return x
}

// empty tells that the file holds no rows yet: what is not in memory and was
// not written is not there.
func (x *rows) empty() {
	x.kept = keptRowsBulk
	for _, t := range x.tables {
		t.known = newFilter()
	}
}

// phrase writes the statements of the table.
func (t *table) phrase(every bool) {
	t.grouped = -1
	if n, ok := groups[t.name]; ok {
		t.grouped = n
	}
	columns, where := t.list(t.columns), t.where(len(t.key))
	into, verb := columns, "INSERT"
	if every {
		into, verb = columns+", since, until", "INSERT OR REPLACE"
		last := fmt.Sprintf(" AND until = %d", endless)
		t.load = `SELECT ` + columns + `, since FROM ` + t.name + ` WHERE ` + where + last
		t.loadGroup = `SELECT ` + columns + `, since FROM ` + t.name + ` WHERE ` + t.where(max(t.grouped, 0)) + last
		t.end = `UPDATE ` + t.name + ` SET until = ? WHERE ` + where + ` AND since = ?`
	} else {
		t.load = `SELECT ` + columns + `, 0 FROM ` + t.name + ` WHERE ` + where
		t.loadGroup = `SELECT ` + columns + `, 0 FROM ` + t.name + ` WHERE ` + t.where(max(t.grouped, 0))
		t.remove = `DELETE FROM ` + t.name + ` WHERE ` + where
	}
	one := "(" + strings.Repeat("?, ", strings.Count(into, ",")) + "?)"
	t.insert = verb + ` INTO ` + t.name + ` (` + into + `) VALUES ` + one
	t.insertMany = t.insert + strings.Repeat(", "+one, many-1)
}

// list quotes names: some are words of SQL.
func (t *table) list(names []string) string {
	return `"` + strings.Join(names, `", "`) + `"`
}

func (t *table) where(columns int) string {
	parts := []string{"true"}
	for _, i := range t.key[:columns] {
		parts = append(parts, `"`+t.columns[i]+`" = ?`)
	}
	return strings.Join(parts, " AND ")
}

// update is the statement that writes some columns.
func (t *table) update(changed uint64) string {
	text, ok := t.updates[changed]
	if !ok {
		var sets []string
		for i, c := range t.columns {
			if changed&(1<<i) != 0 {
				sets = append(sets, `"`+c+`" = ?`)
			}
		}
		text = `UPDATE ` + t.name + ` SET ` + strings.Join(sets, ", ") + ` WHERE ` + t.where(len(t.key))
		t.updates[changed] = text
	}
	return text
}

// at is where a column is.
func (t *table) at(column string) int {
	i, ok := t.column[column]
	if !ok {
		panic("table " + t.name + " has no column " + column)
	}
	return i
}

// keyOf is the key of a row with values v, or the first columns of it. It is
// good until the next call.
func (t *table) keyOf(v []any, columns int) []byte {
	t.buffer = t.buffer[:0]
	for _, i := range t.key[:columns] {
		t.buffer = appendKey(t.buffer, v[i])
	}
	return t.buffer
}

func (t *table) keyValues(v []any, args []any) []any {
	for _, i := range t.key {
		args = append(args, v[i])
	}
	return args
}

// written is a row, or a version of one, that is new to the file.
type written struct {
	key string
	v   []any
}

// flush writes what changed. Rows go in the order of their keys, which keeps
// the pages that are written few.
func (t *table) flush(tx *Tx, every bool) error {
	if len(t.ended)+len(t.dirty) == 0 {
		return nil
	}
	fresh, err := t.flushEnded(tx)
	if err != nil {
		return err
	}
	for _, r := range t.dirty {
		r.queued = false
		switch {
		case !r.gone && !r.stored:
			v := r.v
			if every {
				v = r.versioned()
			}
			fresh = append(fresh, written{r.key, v})
			t.know(r)
			r.stored = true
		case every || r.gone && !r.stored: // a version that is stored is as it was
		case r.gone:
			if err := tx.exec(t.remove, t.keyValues(r.v, nil)...); err != nil {
				return err
			}
			r.stored = false
		default:
			if err := t.rewrite(tx, r); err != nil {
				return err
			}
		}
		r.changed = 0
	}
	clear(t.dirty)
	t.dirty = t.dirty[:0]
	clear(t.fresh)
	slices.SortStableFunc(fresh, func(a, b written) int { return strings.Compare(a.key, b.key) })
	return t.insertAll(tx, fresh)
}

func (r *row) versioned() []any {
	v := make([]any, 0, len(r.v)+2)
	return append(append(v, r.v...), int64(r.since), endless) //nolint:gosec // far below 2^63
}

// know notes the key of a row that is written.
func (t *table) know(r *row) {
	if t.known == nil {
		return
	}
	t.known.add(r.key)
	if t.grouped >= 0 {
		t.known.add(string(t.keyOf(r.v, t.grouped)))
	}
}

func (t *table) rewrite(tx *Tx, r *row) error {
	if r.changed == 0 {
		return nil
	}
	args := make([]any, 0, len(r.v)+len(t.key))
	for i := range r.v {
		if r.changed&(1<<i) != 0 {
			args = append(args, r.v[i])
		}
	}
	return tx.exec(t.update(r.changed), t.keyValues(r.v, args)...)
}

// flushEnded writes the ends of versions that are over, and returns those that
// are not in the file at all.
func (t *table) flushEnded(tx *Tx) (fresh []written, err error) {
	fresh = make([]written, 0, len(t.ended)+len(t.dirty))
	for _, e := range t.ended {
		if e.stored {
			args := append([]any{int64(e.until)}, t.keyValues(e.v, nil)...) //nolint:gosec // far below 2^63
			if err := tx.exec(t.end, append(args, int64(e.since))...); err != nil {
				return nil, err
			}
			continue
		}
		v := append(slices.Clone(e.v), int64(e.since), int64(e.until)) //nolint:gosec // far below 2^63
		fresh = append(fresh, written{e.key, v})
	}
	clear(t.ended)
	t.ended = t.ended[:0]
	return fresh, nil
}

func (t *table) insertAll(tx *Tx, all []written) error {
	args := make([]any, 0, many*(len(t.columns)+2))
	for len(all) >= many {
		args = args[:0]
		for _, w := range all[:many] {
			args = append(args, w.v...)
		}
		if err := tx.exec(t.insertMany, args...); err != nil {
			return err
		}
		all = all[many:]
	}
	for _, w := range all {
		if err := tx.exec(t.insert, w.v...); err != nil {
			return err
		}
	}
	return nil
}

// pastSchema is the schema of a table that keeps every version of its rows:
// one counts from after the fact at since until the fact at until.
func (t *table) pastSchema() string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE %s (", t.name)
	for i, c := range t.columns {
		fmt.Fprintf(&b, `"%s" %s, `, c, t.types[i])
	}
	keys := make([]string, len(t.key))
	for i, k := range t.key {
		keys[i] = t.columns[k]
	}
	fmt.Fprintf(&b, `since INTEGER NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (%s, since)) WITHOUT ROWID`, t.list(keys))
	return b.String()
}

// pastView is a view that shows the table as it was when the log had n events.
func (t *table) pastView(n es.Position) string {
	return fmt.Sprintf(`CREATE TEMP VIEW %s AS SELECT %s FROM main.%s WHERE since < %d AND until >= %d`, t.name, t.list(t.columns), t.name, n, n)
}
