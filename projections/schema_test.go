package projections_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/emet-node/emet/projections"
)

var (
	docTable  = regexp.MustCompile(`(?m)^### ([a-z]+\.[a-z_]+)$`)
	docColumn = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([A-Z]+) \\| (.+) \\|$")
)

// docs/schema.md lists each table and column that there is, with its type and
// a meaning, and nothing else.
func TestTheSchemaIsDocumented(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), filepath.Join(t.TempDir(), "views")
	wholeDeal(t, w)
	openAll(t, w, dir)
	tables, err := projections.OpenTables(t.Context(), dir)
	must(t, err)
	defer tables.Close() //nolint:errcheck // opened for reading
	var have []string
	err = tables.Query(t.Context(), `SELECT t.schema, t.name, c.name, c.type FROM pragma_table_list t JOIN pragma_table_info(t.name, t.schema) c
		WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND t.name <> 'emet_view' AND t.schema NOT IN ('main', 'temp') ORDER BY c.cid`,
		func([]string) error { return nil }, func(row []any) error {
			have = append(have, fmt.Sprintf("%s.%s %s %s", row[0], row[1], row[2], row[3]))
			return nil
		})
	must(t, err)
	page, err := os.ReadFile("../docs/schema.md")
	must(t, err)
	var documented []string
	parts := docTable.FindAllStringSubmatchIndex(string(page), -1)
	for i, p := range parts {
		end := len(page)
		if i+1 < len(parts) {
			end = parts[i+1][0]
		}
		for _, c := range docColumn.FindAllStringSubmatch(string(page[p[1]:end]), -1) {
			documented = append(documented, fmt.Sprintf("%s %s %s", page[p[2]:p[3]], c[1], c[2]))
		}
	}
	slices.Sort(have)
	slices.Sort(documented)
	for _, h := range have {
		if !slices.Contains(documented, h) {
			t.Errorf("docs/schema.md lacks %s", h)
		}
	}
	for _, d := range documented {
		if !slices.Contains(have, d) {
			t.Errorf("docs/schema.md has %s, which is not there", d)
		}
	}
	if len(have) < 200 {
		t.Errorf("%d columns only", len(have))
	}
}

func TestOnlyQuestionsAreAnswered(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), filepath.Join(t.TempDir(), "views")
	wholeDeal(t, w)
	openAll(t, w, dir)
	tables, err := projections.OpenTables(t.Context(), dir)
	must(t, err)
	defer tables.Close() //nolint:errcheck // opened for reading
	ask := func(q string) (rows int, err error) {
		err = tables.Query(t.Context(), q, func([]string) error { return nil }, func([]any) error { rows++; return nil })
		return rows, err
	}
	for _, q := range []string{
		"SELECT * FROM agreements", "SELECT a.id FROM market.agreements a JOIN payment.bills b ON b.agreement_id = a.id AND b.side = a.side",
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT * FROM n", "PRAGMA table_info(documents)", "EXPLAIN QUERY PLAN SELECT * FROM bills",
	} {
		if n, err := ask(q); err != nil || n == 0 {
			t.Errorf("%s: %d rows, %v", q, n, err)
		}
	}
	elsewhere := filepath.Join(t.TempDir(), "x.db")
	for _, q := range []string{
		"DELETE FROM documents", "UPDATE bills SET payer = ''", "INSERT INTO cycles SELECT * FROM cycles", "DROP TABLE bills", "CREATE TABLE x (a)", "CREATE TEMP TABLE x (a)",
		"ATTACH '" + elsewhere + "' AS x", "DETACH payment", "PRAGMA query_only = 0", "PRAGMA journal_mode = delete", "PRAGMA writable_schema = 1", "VACUUM", "VACUUM INTO '" + elsewhere + "'",
		"BEGIN; DELETE FROM bills; COMMIT", "SELECT 1; DELETE FROM bills", "REINDEX",
	} {
		if _, err := ask(q); err == nil {
			t.Errorf("%s was done", q)
		}
	}
	if _, err := ask("DELETE FROM documents"); err == nil || !strings.Contains(err.Error(), "only questions can be asked") {
		t.Errorf("the refusal says %v", err)
	}
	if n, err := ask("SELECT * FROM documents"); err != nil || n == 0 {
		t.Errorf("%d documents are left, %v", n, err)
	}
	if _, err := os.Stat(elsewhere); err == nil {
		t.Error("a file was written")
	}
}
