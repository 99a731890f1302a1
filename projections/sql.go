package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modernc.org/sqlite"

	"github.com/emet-node/emet/projections/dsn"
)

// Groups are the names of the view files, and of the schemas in which
// [OpenTables] shows them.
var Groups = []string{"market", "activity", "payment", "node"}

// Tables are the files of all groups in one read-only connection: each is a
// schema named like its group, and a table can be named without it.
type Tables struct {
	db   *sql.DB
	conn *sql.Conn
}

// ErrOnlyReads says that a statement was more than a question.
var ErrOnlyReads = errors.New("only questions can be asked: SELECT, WITH, EXPLAIN and PRAGMA table_info(…); the tables follow from the log and are never changed by hand")

// ErrOneQuestion says that a text is not one statement: of several, SQLite would
// answer the last.
var ErrOneQuestion = errors.New("ask one question at a time")

// questions are what a statement may do.
var questions = []sqlite.AuthorizerActionCode{sqlite.AuthRead, sqlite.AuthSelect, sqlite.AuthFunction, sqlite.AuthRecursive}

// pragmas that only tell.
var pragmas = []string{"table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "database_list", "foreign_key_list", "function_list", "compile_options"}

// OpenTables opens the view files in dir for questions, whether a process
// keeps them or not. Writing is refused by SQLite itself: the files are open
// read-only.
func OpenTables(ctx context.Context, dir string) (t *Tables, err error) {
	t = &Tables{}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if t.db, err = sql.Open("sqlite", ":memory:"); err != nil {
		return nil, err
	}
	opened := t
	defer func() {
		if err != nil { // t is nil then
			err = errors.Join(err, opened.Close())
		}
	}()
	if t.conn, err = t.db.Conn(ctx); err != nil {
		return nil, err
	}
	for _, g := range Groups {
		path := filepath.Join(dir, g+".db")
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("view %s: %w", g, err)
		}
		if _, err := t.conn.ExecContext(ctx, `ATTACH ? AS `+g, dsn.File(path, "mode=ro")); err != nil {
			return nil, fmt.Errorf("view %s: %w", g, err)
		}
	}
	if _, err := t.conn.ExecContext(ctx, `PRAGMA query_only = 1; PRAGMA busy_timeout = 5000`); err != nil {
		return nil, err
	}
	return t, t.conn.Raw(func(c any) error { return c.(sqlite.AuthorizerRegisterer).RegisterAuthorizer(mayAsk) }) //nolint:forcetypeassert // the only driver there is
}

func mayAsk(action sqlite.AuthorizerActionCode, arg1, arg2, _, _ string) sqlite.AuthorizerReturnCode {
	if slices.Contains(questions, action) || action == sqlite.AuthPragma && slices.Contains(pragmas, strings.ToLower(arg1)) {
		return sqlite.AuthorizerOK
	}
	_ = arg2
	return sqlite.AuthorizerDeny
}

// Query runs a question and gives its columns, then each row, to the callers.
func (t *Tables) Query(ctx context.Context, text string, head func(columns []string) error, each func(row []any) error) error {
	if questionsIn(text) != 1 {
		return ErrOneQuestion
	}
	rows, err := t.conn.QueryContext(ctx, text)
	if err != nil {
		return sqlError(err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	if err := head(columns); err != nil {
		return err
	}
	for rows.Next() {
		row := make([]any, len(columns))
		into := make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if err := each(row); err != nil {
			return err
		}
	}
	return sqlError(rows.Err())
}

// questionsIn counts the statements of a text that say something.
func questionsIn(text string) (n int) {
	for begun := false; len(text) > 0; {
		skip, says := 1, true
		switch c := text[0]; {
		case strings.HasPrefix(text, "--"):
			skip, says = until(text, "\n", 2), false
		case strings.HasPrefix(text, "/*"):
			skip, says = until(text, "*/", 2), false
		case c == '[':
			skip = until(text, "]", 1)
		case c == '\'', c == '"', c == '`': // doubled inside, it is two texts side by side
			skip = until(text, text[:1], 1)
		case c == ';':
			begun, says = false, false
		case strings.ContainsRune(" \t\r\n\f", rune(c)):
			says = false
		}
		if says && !begun {
			begun = true
			n++
		}
		text = text[skip:]
	}
	return n
}

// until is how long a piece of a text is up to and with its end, which is
// looked for after its beginning.
func until(text, end string, begin int) int {
	if i := strings.Index(text[begin:], end); i >= 0 {
		return begin + i + len(end)
	}
	return len(text)
}

// sqlError says what SQLite said, and what may be asked when it was more than
// a question.
func sqlError(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	const auth, readOnly = 23, 8 // SQLITE_AUTH, SQLITE_READONLY
	if code := e.Code() & 0xff; code == auth || code == readOnly {
		return fmt.Errorf("%w (%w)", ErrOnlyReads, err)
	}
	return err
}

// Close ends reading.
func (t *Tables) Close() error {
	var errs []error
	if t.conn != nil {
		errs = append(errs, t.conn.Close())
	}
	return errors.Join(append(errs, t.db.Close())...)
}
