package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/projections"
)

func newLedgerCommand() *cobra.Command {
	export := &cobra.Command{
		Use: "export --csv|--beancount", Short: "Write every posting of the books for accounting programs", Args: cobra.NoArgs,
		Long: `export writes the double-entry books: each fact about money with the accounts
that it debits and credits, in the order of the log. The postings of one fact
add up to zero, so the books balance at every position.

--csv has a line for each posting: position, time, fact, owner, platform, asset,
account, key, debit, credit. --beancount has a transaction for each fact; bean-check
reads it.`,
		Example: `  emet ledger export --csv > postings.csv
  emet ledger export --beancount --output books.beancount
  emet ledger export --csv --to 2026-01-31T23:59:59Z --id my-node`,
		RunE: reading(runLedgerExport),
	}
	export.Flags().Bool("csv", false, "comma-separated values")
	export.Flags().Bool("beancount", false, "plain-text accounting")
	export.Flags().StringP("output", "o", "-", "file to write, - = standard output")
	export.Flags().String("from", "", "only from this moment on (position or time)")
	export.Flags().String("to", "", "only up to this moment")
	export.Flags().String("id", "", "only this identity (id or alias)")
	return group("ledger", "The books, kept by double entry", "  emet ledger export --csv\n  emet money ledger --postings", export)
}

func runLedgerExport(cmd *cobra.Command, _ []string, r *node.Reading) (err error) {
	asCSV, _ := cmd.Flags().GetBool("csv")
	asBeans, _ := cmd.Flags().GetBool("beancount")
	if asCSV == asBeans {
		return usageError{errors.New("say which form to write: --csv or --beancount")}
	}
	rows, err := postingsOf(cmd, r)
	if err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	if path, _ := cmd.Flags().GetString("output"); path != "-" {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		w = f
	}
	name := namesOf(cmd.Context(), r)
	if asBeans {
		return projections.Beancount(w, rows, name)
	}
	return postingsCSV(w, rows, name)
}

// postingsOf reads the postings that the flags ask for.
func postingsOf(cmd *cobra.Command, r *node.Reading) ([]projections.PostingRow, error) {
	ref, _ := cmd.Flags().GetString("id")
	owner, err := resolve(cmd, r, ref)
	if err != nil {
		return nil, err
	}
	var from es.Position
	if text, _ := cmd.Flags().GetString("from"); text != "" {
		if from, err = firstFrom(cmd.Context(), r.Store, text); err != nil {
			return nil, fmt.Errorf("--from: %w", err)
		}
	}
	to := es.Position(1 << 62)
	if text, _ := cmd.Flags().GetString("to"); text != "" {
		m, err := momentOf(cmd.Context(), r.Store, text)
		if err != nil {
			return nil, fmt.Errorf("--to: %w", err)
		}
		to = m.Last
	}
	rows, err := r.Payment.Postings(cmd.Context(), owner, "", from, 0)
	for i, row := range rows {
		if row.Position > to {
			rows = rows[:i]
			break
		}
	}
	return rows, err
}

// namesOf finds the types of facts. Postings of one fact come together.
func namesOf(ctx context.Context, r *node.Reading) func(projections.PostingRow) string {
	last, name := es.Position(1<<62), ""
	return func(row projections.PostingRow) string {
		if row.Position != last {
			e, err := es.EventAt(ctx, r.Store, row.Position)
			last, name = row.Position, e.Type
			if err != nil {
				name = "unknown"
			}
		}
		return name
	}
}

func postingsCSV(w io.Writer, rows []projections.PostingRow, name func(projections.PostingRow) string) error {
	c := csv.NewWriter(w)
	if err := c.Write([]string{"position", "recorded", "fact", "owner", "platform", "asset", "account", "key", "debit", "credit"}); err != nil {
		return err
	}
	for _, r := range rows {
		err := c.Write([]string{
			fmt.Sprint(r.Position), r.Recorded.UTC().Format(time.RFC3339Nano), name(r), string(r.Owner), string(r.Platform), string(r.Asset),
			string(r.Account.Name), r.Account.Key, r.Debit.String(), r.Credit.String(),
		})
		if err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}
