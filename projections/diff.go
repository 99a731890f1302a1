package projections

import (
	"context"
	"slices"
	"strings"
)

// Change is one thing that is another at two moments.
type Change struct {
	Kind   string // "agreement", "activity", "debit-note", "invoice", "allocation", "payment", "balance"
	ID     string
	Side   string // "R" or "P"; "" where there are no sides
	Field  string // "state", "status", "amount", "total", "committed", "paid"
	Before string // "" = it was not there
	After  string // "" = it is not there
}

// compared are the things that [Diff] looks at: an id, a side, what tells those
// of the same id apart, and fields, as texts.
var compared = []struct {
	kind   string
	group  func(*Past) *DB
	fields []string
	query  string
}{
	{"agreement", marketOfPast, []string{"state"}, `SELECT id, side, '', state FROM agreements`},
	{"activity", func(p *Past) *DB { return p.Activity.DB }, []string{"state"}, `SELECT id, side, '', state FROM activities`},
	{"debit-note", paymentOfPast, []string{"amount", "status"}, `SELECT id, side, agreement_id, amount, status FROM documents WHERE kind = 'note'`},
	{"invoice", paymentOfPast, []string{"amount", "status"}, `SELECT id, side, agreement_id, amount, status FROM documents WHERE kind = 'invoice'`},
	{"allocation", paymentOfPast, []string{"total", "committed", "paid", "closed"}, `SELECT id, '', '', total, committed, paid, closed FROM allocations`},
	{"payment", paymentOfPast, []string{"amount", "state"}, `SELECT id, side, payee, amount, state FROM payments`},
	{"balance", paymentOfPast, []string{"amount"}, `SELECT owner || ' ' || platform || ' ' || asset || ' ' || account || ' ' || key, '', '', amount FROM balances WHERE amount <> '0'`},
}

func marketOfPast(p *Past) *DB  { return p.Market.DB }
func paymentOfPast(p *Past) *DB { return p.Payment.DB }

// Diff lists what is another at two moments, by kind and id.
func Diff(ctx context.Context, before, after *Past) ([]Change, error) {
	var out []Change
	for _, c := range compared {
		a, err := things(ctx, c.group(before), c.query, len(c.fields))
		if err != nil {
			return nil, err
		}
		b, err := things(ctx, c.group(after), c.query, len(c.fields))
		if err != nil {
			return nil, err
		}
		keys := make([]string, 0, len(b))
		for k := range b {
			keys = append(keys, k)
		}
		for k := range a {
			if _, stays := b[k]; !stays {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		for _, k := range keys {
			id, rest, _ := strings.Cut(k, "\x00")
			side, _, _ := strings.Cut(rest, "\x00")
			for i, field := range c.fields {
				was, is := at(a[k], i), at(b[k], i)
				if was != is {
					out = append(out, Change{Kind: c.kind, ID: id, Side: side, Field: field, Before: was, After: is})
				}
			}
		}
	}
	return out, nil
}

func at(fields []string, i int) string {
	if i >= len(fields) {
		return ""
	}
	return fields[i]
}

// things reads rows of texts by what they are.
func things(ctx context.Context, db *DB, text string, fields int) (map[string][]string, error) {
	out := make(map[string][]string)
	_, err := query(ctx, db, func(s scanner) (none struct{}, err error) {
		row := make([]string, fields+3)
		into := make([]any, len(row))
		for i := range row {
			into[i] = &row[i]
		}
		err = s.Scan(into...)
		out[strings.Join(row[:3], "\x00")] = row[3:]
		return none, err
	}, text)
	return out, err
}
