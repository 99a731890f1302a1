package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/api/control"
	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/projections/story"
)

func newStoryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "story <id>", Short: "Show the causal chain of a deal, from demand to settlement", Args: cobra.ExactArgs(1),
		Long: `story gathers all facts that belong together: budget, demand, negotiation,
agreement, activity, batches, usage, bills, settlement, transaction and payment,
of both sides if both are in this log. It takes the id of any of these, or the
beginning of one.

Each line has the position, the time since the beginning, what happened, and
"← n": fact n caused it. "~ n" says that it followed n, with no cause recorded,
as what a client asks for. A chain goes on straight below; what branches off
from it is indented.`,
		Example: "  emet log story 1a2b3c4d\n  emet log story 1a2b3c4d --flat\n  emet log story 1a2b3c4d --json | jq '.facts[].type'",
		RunE:    readingLog(runStory),
	}
	cmd.Flags().Bool("flat", false, "in the order of the log, without indentation")
	jsonFlag(cmd)
	return cmd
}

// told is a fact of a story as programs read it.
type told struct {
	control.Fact
	Parent   *uint64 `json:"parent,omitzero"` // position of the fact that it hangs on
	Caused   bool    `json:"caused"`          // that one is its recorded cause
	OffsetUS int64   `json:"offsetUs"`        // microseconds since the first fact
	Summary  string  `json:"summary"`
}

type storyJSON struct {
	ID         string   `json:"id"`
	Agreements []string `json:"agreements"`
	Facts      []told   `json:"facts"`
}

func runStory(cmd *cobra.Command, args []string, r *node.Reading) error {
	s, err := story.Of(cmd.Context(), r.Log, args[0])
	if err != nil {
		return err
	}
	out := storyJSON{ID: s.ID, Agreements: append([]string{}, s.Agreements...), Facts: tell(s.Facts)}
	if asksJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), out)
	}
	flat, _ := cmd.Flags().GetBool("flat")
	newTree(out.Facts).print(cmd.OutOrStdout(), flat)
	return nil
}

// tree is a story by what hangs on what.
type tree struct {
	facts    []told
	children map[es.Position][]int
	roots    []int
	size     []int // facts below each, itself included
}

func newTree(facts []told) *tree {
	t := &tree{facts: facts, children: make(map[es.Position][]int), size: make([]int, len(facts))}
	at := make(map[uint64]int, len(facts))
	for i, f := range facts {
		at[f.Position] = i
		if f.Parent == nil {
			t.roots = append(t.roots, i)
			continue
		}
		t.children[es.Position(*f.Parent)] = append(t.children[es.Position(*f.Parent)], i)
	}
	for i := len(facts) - 1; i >= 0; i-- { // what hangs on a fact comes after it
		t.size[i]++
		if p := facts[i].Parent; p != nil {
			t.size[at[*p]] += t.size[i]
		}
	}
	return t
}

func (t *tree) print(w io.Writer, flat bool) {
	if flat {
		for i := range t.facts {
			t.line(w, i, 0)
		}
		return
	}
	for _, root := range t.roots {
		t.chain(w, root, 0)
	}
}

const deepest = 12 // steps of indentation

// chain prints a fact and all below it. The child that most hangs on goes on
// at the same depth, after the others.
func (t *tree) chain(w io.Writer, i, depth int) {
	for {
		t.line(w, i, depth)
		below := t.children[es.Position(t.facts[i].Position)]
		if len(below) == 0 {
			return
		}
		trunk := below[0]
		for _, c := range below {
			if t.size[c] >= t.size[trunk] {
				trunk = c
			}
		}
		for _, c := range below {
			if c != trunk {
				t.chain(w, c, min(depth+1, deepest))
			}
		}
		i = trunk
	}
}

func (t *tree) line(w io.Writer, i, depth int) {
	f := t.facts[i]
	hangs := ""
	if f.Parent != nil {
		sign := "~"
		if f.Caused {
			sign = "←"
		}
		hangs = fmt.Sprintf("  %s %d", sign, *f.Parent)
	}
	side := ""
	if parts := strings.Split(f.Stream, "-"); len(parts) > 2 && (parts[1] == "R" || parts[1] == "P") {
		side = " [" + parts[1] + "]"
	}
	text := fmt.Sprintf("%6d %9s  %s%s%s  %s%s", f.Position, offset(f.OffsetUS), strings.Repeat("   ", depth), f.Type, side, f.Summary, hangs)
	fmt.Fprintln(w, printable(strings.TrimRight(text, " ")))
}

func offset(us int64) string {
	d := time.Duration(us) * time.Microsecond
	if d < time.Hour {
		return fmt.Sprintf("+%.3fs", d.Seconds())
	}
	return "+" + d.Round(time.Second).String()
}
