package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/projections"
)

func newSQLCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "sql <question>", Short: "Ask the views in SQL", Args: cobra.ExactArgs(1),
		Long: `sql asks the SQLite files of the views, whether a node runs or not: market,
activity, payment and node. A table can be named with its file (payment.bills)
or without. docs/schema.md lists all tables; "emet sql --tables" shows them as
they are here.

Only questions can be asked: the files are open for reading. Times are
microseconds since 1970 (datetime(recorded / 1e6, 'unixepoch') shows one),
amounts are decimal texts.`,
		Example: `  emet sql "SELECT state, count(*) FROM agreements GROUP BY state"
  emet sql "SELECT id, amount, status FROM documents WHERE kind = 'invoice'" --json
  emet sql "SELECT * FROM payment.postings ORDER BY position" --csv > postings.csv
  emet sql --tables`,
		RunE: runSQL,
	}
	cmd.Args = func(c *cobra.Command, args []string) error {
		if tables, _ := c.Flags().GetBool("tables"); tables {
			return cobra.NoArgs(c, args)
		}
		if len(args) != 1 {
			return usageError{errors.New(`give one question in quotes, as emet sql "SELECT * FROM agreements"`)}
		}
		return nil
	}
	cmd.Flags().Bool("tables", false, "list the tables and their columns")
	cmd.Flags().Bool("csv", false, "the same as -o csv")
	outputFlags(cmd)
	return cmd
}

const listTables = `SELECT t.schema AS file, t.name AS "table", c.name AS "column", c.type FROM pragma_table_list t JOIN pragma_table_info(t.name, t.schema) c
	WHERE t.schema IN ('market', 'activity', 'payment', 'node') AND t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND t.name <> 'emet_view' ORDER BY t.schema, t.name, c.cid`

func runSQL(cmd *cobra.Command, args []string) error {
	question := listTables
	if len(args) > 0 {
		question = args[0]
	}
	// Reading brings the files up to date, or waits for the node that keeps them.
	return reading(func(cmd *cobra.Command, _ []string, r *node.Reading) (err error) {
		if r.Folded {
			return errors.New("the node that runs here is of another build and keeps its views in another form; ask with its own emet, or stop it")
		}
		t, err := projections.OpenTables(cmd.Context(), r.ViewDir)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, t.Close()) }()
		return ask(cmd, t, question)
	})(cmd, args)
}

func ask(cmd *cobra.Command, t *projections.Tables, question string) error {
	format, _ := cmd.Flags().GetString("output")
	if asksJSON(cmd) {
		format = "json"
	}
	if asCSV, _ := cmd.Flags().GetBool("csv"); asCSV {
		format = "csv"
	}
	l := listing{empty: "There are no such rows."}
	c := csv.NewWriter(cmd.OutOrStdout())
	err := t.Query(cmd.Context(), question, func(columns []string) error {
		l.header = columns
		if format == "csv" {
			return c.Write(columns)
		}
		return nil
	}, func(row []any) error {
		texts, cells := make([]string, len(row)), make([]any, len(row))
		for i, v := range row {
			texts[i] = cell(v)
			cells[i] = texts[i]
		}
		if format == "csv" {
			return c.Write(texts)
		}
		l.add(record{l.header, row}, cells...)
		return nil
	})
	switch {
	case errors.Is(err, projections.ErrOnlyReads), errors.Is(err, projections.ErrOneQuestion):
		return usageError{err}
	case err != nil:
		return usageError{fmt.Errorf("%w; emet sql --tables shows what there is", err)}
	case format == "csv":
		c.Flush()
		return c.Error()
	}
	if err := cmd.Flags().Set("output", format); err != nil {
		return err
	}
	return l.print(cmd)
}

// cell is a value for people.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []byte:
		return fmt.Sprintf("%x", v)
	}
	return fmt.Sprint(v)
}

// record is a row as JSON, its members in the order of the columns.
type record struct {
	columns []string
	values  []any
}

// MarshalJSON implements json.Marshaler.
func (r record) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	seen := map[string]int{}
	for i, name := range r.columns {
		if seen[name]++; seen[name] > 1 { // as joins have
			name = fmt.Sprintf("%s_%d", name, seen[name])
		}
		k, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		v := r.values[i]
		if raw, ok := v.([]byte); ok {
			v = fmt.Sprintf("%x", raw)
		}
		text, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(k)
		b.WriteByte(':')
		b.Write(text)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
