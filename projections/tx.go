package projections

import "database/sql"

// Tx is what a view writes through: one transaction of its database.
// Statements are prepared once for all transactions.
type Tx struct {
	tx    *sql.Tx
	kept  *statements
	ready map[string]*sql.Stmt // of this transaction
	// late are rows that are written when the transaction ends, by table and
	// key: many facts change the same ones.
	late  map[string]lateRow
	order []string
	found map[string][2]string // whose money it is
}

// lateRow is a row that is read once and written once in a transaction.
type lateRow interface{ write(t *Tx) error }

// row returns the late row of a key, which load makes the first time.
func (t *Tx) row(key string, load func() (lateRow, error)) (lateRow, error) {
	if r, ok := t.late[key]; ok {
		return r, nil
	}
	r, err := load()
	if err != nil {
		return nil, err
	}
	t.late[key] = r
	t.order = append(t.order, key)
	return r, nil
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
func (s *statements) begin() (*Tx, error) {
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
	return &Tx{tx: tx, kept: s, ready: make(map[string]*sql.Stmt), late: make(map[string]lateRow), found: make(map[string][2]string)}, nil
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

// Exec runs a statement that returns no rows.
func (t *Tx) Exec(text string, args ...any) (sql.Result, error) {
	s, err := t.stmt(text)
	if err != nil {
		return nil, err
	}
	return s.Exec(args...)
}

// Query runs a statement that returns rows.
func (t *Tx) Query(text string, args ...any) (*sql.Rows, error) {
	s, err := t.stmt(text)
	if err != nil {
		return nil, err
	}
	return s.Query(args...)
}

// QueryRow runs a statement that returns at most one row.
func (t *Tx) QueryRow(text string, args ...any) *sql.Row {
	s, err := t.stmt(text)
	if err != nil {
		return t.tx.QueryRow(text, args...) // which tells
	}
	return s.QueryRow(args...)
}

// Commit makes what was written true.
func (t *Tx) Commit() error {
	for _, key := range t.order {
		if err := t.late[key].write(t); err != nil {
			return err
		}
	}
	return t.tx.Commit()
}

// Rollback undoes what was written; after Commit it does nothing.
func (t *Tx) Rollback() error { return t.tx.Rollback() }
