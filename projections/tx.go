package projections

import (
	"database/sql"
	"errors"
	"fmt"
)

// Tx is what a view writes through: one transaction of its database. Rows are
// changed in memory and written when it ends, or when there are many.
type Tx struct {
	tx    *sql.Tx
	rows  *rows
	kept  *statements
	ready map[string]*sql.Stmt // of this transaction
	found map[string][2]string // whose money it is
	over  bool                 // it is committed
}

// get finds a row by its key, nil = there is none.
func (t *Tx) get(name string, key ...any) (*row, error) {
	tab := t.rows.tables[name]
	for i := range key {
		key[i] = plain(key[i])
	}
	b := make([]byte, 0, 96)
	for _, k := range key {
		b = appendKey(b, k)
	}
	return t.find(tab, b, key)
}

// find is get, of values that are plain.
func (t *Tx) find(tab *table, b []byte, key []any) (*row, error) {
	if r, ok := tab.cached(b); ok {
		if r.gone {
			return nil, nil
		}
		return r, nil
	}
	if tab.known != nil && !tab.known.has(b) {
		return nil, nil
	}
	v, since, err := t.read(tab, tab.load, key)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tab.name, err)
	}
	return t.rows.hold(tab, b, v, since), nil
}

func (t *Tx) read(tab *table, text string, args []any) (v []any, since int64, err error) {
	s, err := t.stmt(text)
	if err != nil {
		return nil, 0, err
	}
	v = make([]any, len(tab.columns))
	return v, since, s.QueryRow(args...).Scan(append(pointers(v), &since)...)
}

func pointers(v []any) []any {
	out := make([]any, len(v), len(v)+1)
	for i := range v {
		out[i] = &v[i]
	}
	return out
}

// group lists the rows whose keys begin with some columns, in no order. The
// table must be one of those that [groups] names.
func (t *Tx) group(name string, begins ...any) ([]*row, error) {
	tab := t.rows.tables[name]
	for i := range begins {
		begins[i] = plain(begins[i])
	}
	prefix := make([]byte, 0, 96)
	for _, p := range begins {
		prefix = appendKey(prefix, p)
	}
	var out []*row
	listed := make(map[*row]bool)
	add := func(r *row) {
		if !r.gone && !listed[r] {
			listed[r] = true
			out = append(out, r)
		}
	}
	if tab.known == nil || tab.known.has(prefix) {
		stored, err := t.readGroup(tab, begins)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, r := range stored {
			add(r)
		}
	}
	for _, r := range tab.fresh[string(prefix)] {
		add(r)
	}
	return out, nil
}

func (t *Tx) readGroup(tab *table, begins []any) (out []*row, err error) {
	s, err := t.stmt(tab.loadGroup)
	if err != nil {
		return nil, err
	}
	rows, err := s.Query(begins...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	for rows.Next() {
		v, since := make([]any, len(tab.columns)), int64(0)
		if err := rows.Scan(append(pointers(v), &since)...); err != nil {
			return nil, err
		}
		key := tab.keyOf(v, len(tab.key))
		r, ok := tab.cached(key)
		if !ok {
			r = t.rows.hold(tab, key, v, since)
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// insert writes a row of a key that is not there yet.
func (t *Tx) insert(name string, values ...any) error {
	tab := t.rows.tables[name]
	v := plainAll(values)
	key := tab.keyOf(v, len(tab.key))
	r, ok := tab.cached(key)
	switch {
	case !ok:
		t.rows.begin(tab, key, v)
	case r.gone:
		r.fill(v)
	default:
		return fmt.Errorf("%s has a row of that key: %q", name, key)
	}
	return nil
}

// insertNew is insert, unless there is such a row.
func (t *Tx) insertNew(name string, values ...any) error {
	return t.place(name, values, func(*row, []any) {})
}

// put is insert, or gives the row of that key these values.
func (t *Tx) put(name string, values ...any) error {
	return t.place(name, values, func(r *row, v []any) { r.fill(v) })
}

// merge is insert, or gives some columns of the row of that key these values.
func (t *Tx) merge(name string, columns []string, values ...any) error {
	return t.place(name, values, func(r *row, v []any) {
		for _, c := range columns {
			r.set(c, v[r.table.at(c)])
		}
	})
}

func (t *Tx) place(name string, values []any, there func(r *row, v []any)) error {
	tab := t.rows.tables[name]
	v := plainAll(values)
	b := tab.keyOf(v, len(tab.key))
	r, err := t.find(tab, b, tab.keyValues(v, nil))
	switch {
	case err != nil:
		return err
	case r != nil:
		there(r, v)
		return nil
	}
	if gone, ok := tab.cached(b); ok {
		gone.fill(v)
		return nil
	}
	t.rows.begin(tab, b, v)
	return nil
}

// update changes the row of a key, if there is one.
func (t *Tx) update(name string, change func(r *row), key ...any) error {
	r, err := t.get(name, key...)
	if r != nil {
		change(r)
	}
	return err
}

// remove deletes the row of a key, if there is one.
func (t *Tx) remove(name string, key ...any) error {
	return t.update(name, (*row).remove, key...)
}

func plainAll(values []any) []any {
	for i := range values {
		values[i] = plain(values[i])
	}
	return values
}

// query runs a question about the tables, with all that was written so far. Each
// table must be in [Tx.last].
func (t *Tx) query(text string, args ...any) (*sql.Rows, error) {
	if err := t.flush(); err != nil {
		return nil, err
	}
	s, err := t.stmt(text)
	if err != nil {
		return nil, err
	}
	return s.Query(args...)
}

// last is the condition that the rows of some tables are as they are now, where
// every version is kept. It belongs to what [Tx.query] asks.
func (t *Tx) last(tables ...string) (condition string) {
	if !t.rows.every {
		return ""
	}
	for _, name := range tables {
		condition += fmt.Sprintf(" AND %s.until = %d", name, endless)
	}
	return condition
}

// flush writes the rows that changed.
func (t *Tx) flush() error {
	for _, name := range t.rows.names {
		tab := t.rows.tables[name]
		if err := tab.flush(t, t.rows.every); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		tab.age(t.rows.kept)
	}
	t.rows.dirty = 0
	return nil
}

// exec runs a statement.
func (t *Tx) exec(text string, args ...any) error {
	s, err := t.stmt(text)
	if err != nil {
		return err
	}
	_, err = s.Exec(args...)
	return err
}

// commit makes what was written true.
func (t *Tx) commit() error {
	if err := t.flush(); err != nil {
		return err
	}
	err := t.tx.Commit()
	t.over = err == nil
	return err
}

// rollback undoes what was written, unless it was committed. SQLite may have
// done so by itself, as on a full disk; then the rows in memory are left.
func (t *Tx) rollback() {
	if !t.over {
		_ = t.tx.Rollback() // see above
		t.rows.reset()
	}
}

// statements are prepared for a database. They are made between transactions,
// which have the only connection to themselves.
type statements struct {
	db      *sql.DB
	made    map[string]*sql.Stmt
	missing []string
}

func newStatements(db *sql.DB) *statements {
	return &statements{db: db, made: make(map[string]*sql.Stmt)}
}

// begin opens a transaction.
func (s *statements) begin(x *rows) (*Tx, error) {
	for _, text := range s.missing {
		stmt, err := s.db.Prepare(text)
		if err != nil {
			return nil, err
		}
		s.made[text] = stmt
	}
	s.missing = s.missing[:0]
	tx, err := s.db.Begin()
	if err != nil {
		return nil, err
	}
	return &Tx{tx: tx, rows: x, kept: s, ready: make(map[string]*sql.Stmt), found: make(map[string][2]string)}, nil
}

func (t *Tx) stmt(text string) (*sql.Stmt, error) {
	if s, ok := t.ready[text]; ok {
		return s, nil
	}
	if s, ok := t.kept.made[text]; ok {
		t.ready[text] = t.tx.Stmt(s)
		return t.ready[text], nil
	}
	s, err := t.tx.Prepare(text)
	if err != nil {
		return nil, err
	}
	t.kept.missing = append(t.kept.missing, text)
	t.ready[text] = s
	return s, nil
}
