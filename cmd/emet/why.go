package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/api/control"
	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/projections/story"
)

func newWhyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "why <id>", Short: "Say how something came about and what it waits for", Args: cobra.ExactArgs(1),
		Long: `why takes the id (or its beginning) of an invoice, debit note, agreement,
proposal, allocation, activity, batch, order, payment or transaction. It shows
the facts about it and what led to them, each with its position, and then what
is open in its story: who must do what, since when, and what would move it.

emet log story shows the whole story.`,
		Example: "  emet why 1a2b3c4d\n  emet why 1a2b3c4d --json | jq '.waits[].for'",
		RunE:    readingLog(runWhy),
	}
	jsonFlag(cmd)
	return cmd
}

type waitJSON struct {
	Thing    string     `json:"thing"`
	ID       string     `json:"id"`
	Side     string     `json:"side,omitzero"`
	For      string     `json:"for"`
	Since    time.Time  `json:"since"`
	Position uint64     `json:"position"`
	Due      *time.Time `json:"due,omitzero"` // it ends by itself then
	Moves    string     `json:"moves"`
}

type whyJSON struct {
	ID         string     `json:"id"`
	Agreements []string   `json:"agreements"`
	Facts      []told     `json:"facts"`
	Waits      []waitJSON `json:"waits"`
}

func runWhy(cmd *cobra.Command, args []string, r *node.Reading) error {
	s, err := story.Of(cmd.Context(), r.Log, args[0])
	if err != nil {
		return err
	}
	out := whyJSON{ID: s.ID, Agreements: append([]string{}, s.Agreements...), Facts: tell(s.About()), Waits: []waitJSON{}}
	for _, w := range s.Waits() {
		out.Waits = append(out.Waits, waitJSON{
			Thing: w.Thing, ID: w.ID, Side: w.Side, For: w.For, Since: w.Since, Position: uint64(w.Position), Due: optional(w.Due), Moves: w.Moves,
		})
	}
	if asksJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), out)
	}
	w := cmd.OutOrStdout()
	newTree(out.Facts).print(w, false)
	out.printWaits(w, time.Now())
	return nil
}

// tell makes facts of a story readable.
func tell(facts []story.Fact) []told {
	out := make([]told, len(facts))
	for i, f := range facts {
		t := told{Fact: control.Show(f.Recorded), Caused: f.Caused, OffsetUS: f.Recorded.Recorded.Sub(facts[0].Recorded.Recorded).Microseconds()}
		if f.Parent != nil {
			p := uint64(*f.Parent)
			t.Parent = &p
		}
		t.Summary = summary(t.Fact)
		out[i] = t
	}
	return out
}

func (y whyJSON) printWaits(w io.Writer, now time.Time) {
	if len(y.Waits) == 0 {
		fmt.Fprintln(w, "\nNothing of this story is open.")
		return
	}
	fmt.Fprintln(w, "\nOpen:")
	for _, x := range y.Waits {
		side := ""
		if x.Side != "" {
			side = " [" + x.Side + "]"
		}
		text := fmt.Sprintf("%6d  %s %s%s waits for %s", x.Position, x.Thing, short(x.ID, 16), side, x.For)
		text += fmt.Sprintf("\n        since %s (%s)", when(x.Since), ago(now.Sub(x.Since)))
		if x.Due != nil {
			text += ", until " + when(*x.Due)
		}
		fmt.Fprintln(w, printable(text+"\n        moved by: "+x.Moves))
	}
}

// ago is a duration in words of one unit.
func ago(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "days"}, {time.Hour, "hours"}, {time.Minute, "minutes"}, {time.Second, "seconds"}} {
		if d >= 2*u.unit {
			return fmt.Sprintf("%d %s ago", d/u.unit, u.name)
		}
	}
	return "just now"
}
