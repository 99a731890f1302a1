package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// listing is what a command that lists something prints: rows for people, the
// same rows as values for programs.
type listing struct {
	header []string
	rows   [][]entry
	values []any
	empty  string // said to people when there is nothing
}

// entry is one cell of a row: whole for programs, and as a table shows it.
type entry struct{ text, shown string }

// cut is an entry of which a table shows only the beginning.
func cut(text string, n int) entry { return entry{text, short(text, n)} }

// add appends a row and its value. Each cell is a string or an [entry].
func (l *listing) add(value any, cells ...any) {
	row := make([]entry, len(cells))
	for i, c := range cells {
		e, ok := c.(entry)
		if !ok {
			text := fmt.Sprint(c)
			e = entry{text, text}
		}
		row[i] = e
	}
	l.rows = append(l.rows, row)
	l.values = append(l.values, value)
}

// outputFlags gives a command -o and --json.
func outputFlags(cmd *cobra.Command) {
	cmd.Flags().StringP("output", "o", "table", "table, json, jsonl or csv")
	cmd.Flags().Bool("json", false, "the same as -o json (one object a line for logs)")
}

// print writes the listing as the command's flags ask.
func (l *listing) print(cmd *cobra.Command) error {
	format, _ := cmd.Flags().GetString("output")
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
		format = "json"
	}
	w := cmd.OutOrStdout()
	switch format {
	case "json":
		return printJSON(w, l.valuesOrEmpty())
	case "jsonl":
		return printLines(w, l.values)
	case "csv":
		return l.printCSV(w)
	case "table":
		return l.printTable(w)
	}
	return usageError{fmt.Errorf("output %q: want table, json, jsonl or csv", format)}
}

func (l *listing) valuesOrEmpty() []any {
	if l.values == nil {
		return []any{}
	}
	return l.values
}

func (l *listing) printCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	if err := c.Write(l.header); err != nil {
		return err
	}
	for _, r := range l.rows {
		line := make([]string, len(r))
		for i, c := range r {
			line[i] = c.text
		}
		if err := c.Write(line); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

func (l *listing) printTable(w io.Writer) error {
	if len(l.rows) == 0 && l.empty != "" {
		_, err := fmt.Fprintln(w, l.empty)
		return err
	}
	t := table.NewWriter()
	t.SetStyle(tableStyle())
	header := make(table.Row, len(l.header))
	for i, h := range l.header {
		header[i] = h
	}
	t.AppendHeader(header)
	for _, r := range l.rows {
		row := make(table.Row, len(r))
		for i, c := range r {
			row[i] = printable(c.shown)
		}
		t.AppendRow(row)
	}
	_, err := fmt.Fprintln(w, t.Render())
	return err
}

func tableStyle() table.Style {
	s := table.StyleLight
	s.Options = table.OptionsNoBordersAndSeparators
	s.Format.Header = text.FormatDefault
	if colours() {
		s.Color.Header = text.Colors{text.Bold}
	}
	return s
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func printLines(w io.Writer, values []any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, v := range values {
		if err := enc.Encode(v); err != nil {
			return err
		}
	}
	return nil
}

// colours says whether standard output is a terminal that wants them.
func colours() bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(os.Stdout.Fd()))
}

// printable strips control characters, since much of what is shown was
// written by strangers.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, s)
}

// numbered says how many there are: one of them, or some.
func numbered(n int, one, some string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + some
}

// short abbreviates an id, or words, for a table cell.
func short(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "…"
}
