package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/projections"
)

func newDiffCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "diff --from <position|time> [--to <position|time>]", Short: "Show what changed between two moments", Args: cobra.NoArgs,
		Long: `diff shows which agreements, activities, bills, budgets, payments and balances
were another at the second moment than at the first. A moment is a position
(42: as it was after fact 42) or a time; "now" is the end of the log.`,
		Example: `  emet diff --from 42
  emet diff --from 2026-01-02T00:00:00Z --to 2026-01-03T00:00:00Z
  emet diff --from 42 --to 99 --json | jq '.changes[] | select(.kind == "invoice")'`,
		RunE: reading(runDiff),
	}
	cmd.Flags().String("from", "", "the first moment")
	cmd.Flags().String("to", "now", "the second moment")
	cmd.Flags().StringSlice("only", nil, "only these kinds: agreement, activity, debit-note, invoice, allocation, payment, balance")
	outputFlags(cmd)
	return cmd
}

type changeJSON struct {
	Kind   string  `json:"kind"`
	ID     string  `json:"id"`
	Side   string  `json:"side,omitzero"`
	Field  string  `json:"field"`
	Before *string `json:"before"` // null = it was not there
	After  *string `json:"after"`
}

type momentJSON struct {
	Position uint64 `json:"position"`
	Recorded string `json:"recorded"`
}

type diffJSON struct {
	From    momentJSON   `json:"from"`
	To      momentJSON   `json:"to"`
	Facts   uint64       `json:"facts"` // in between
	Changes []changeJSON `json:"changes"`
}

func runDiff(cmd *cobra.Command, _ []string, r *node.Reading) error {
	ctx := cmd.Context()
	var moments [2]es.Moment
	for i, flag := range []string{"from", "to"} {
		text, _ := cmd.Flags().GetString(flag)
		if text == "" {
			return usageError{errors.New("--from: say since when, by a position or a time; emet log list shows positions")}
		}
		var err error
		if moments[i], err = momentOf(ctx, r.Store, text); err != nil {
			return fmt.Errorf("--%s: %w", flag, err)
		}
	}
	from, to := moments[0], moments[1]
	if to.Last < from.Last {
		return usageError{fmt.Errorf("--to (%d) is before --from (%d)", to.Last, from.Last)}
	}
	before, after := r.Past(from), r.Past(to)
	changes, err := projections.Diff(ctx, before, after)
	if err := errors.Join(err, before.Close(), after.Close()); err != nil {
		return err
	}
	only, _ := cmd.Flags().GetStringSlice("only")
	out := diffJSON{From: shownMoment(from), To: shownMoment(to), Facts: uint64(to.Last - from.Last), Changes: []changeJSON{}}
	l := listing{header: []string{"What", "Id", "Side", "Field", "Before", "After"}}
	for _, c := range changes {
		if len(only) > 0 && !contains(only, c.Kind) {
			continue
		}
		v := changeJSON{Kind: c.Kind, ID: c.ID, Side: c.Side, Field: c.Field, Before: orNone(c.Before), After: orNone(c.After)}
		out.Changes = append(out.Changes, v)
		l.add(v, c.Kind, shownThing(c), c.Side, c.Field, c.Before, c.After)
	}
	if format, _ := cmd.Flags().GetString("output"); asksJSON(cmd) || format == "json" {
		return printJSON(cmd.OutOrStdout(), out)
	}
	l.empty = fmt.Sprintf("Nothing of it changed by the %d facts from %d to %d.", out.Facts, from.Last, to.Last)
	return l.print(cmd)
}

func shownMoment(m es.Moment) momentJSON {
	return momentJSON{Position: uint64(m.Last), Recorded: m.Recorded.UTC().Format("2006-01-02T15:04:05.000000Z")}
}

func orNone(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// shownThing is an id for people; balances are named by owner and account.
func shownThing(c projections.Change) string {
	if c.Kind != "balance" {
		return short(c.ID, 16)
	}
	parts := strings.Fields(c.ID)
	for i := range parts {
		parts[i] = short(parts[i], 18)
	}
	return strings.Join(parts, " ")
}
