package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/projections/replay"
)

func newReplayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "replay", Short: "Make every decision of the log again and say which one differs", Args: cobra.NoArgs,
		Long: `replay makes all views anew, beside those that are there, and lets every saga
hear the whole log again. What it asks for is decided by the rules of this
build, and the outcome is held against what was recorded. Nothing is carried
out, nothing is written; a node may run meanwhile.

What clients, other nodes, exe-units and chains told is taken as it was: it is
no decision of this node. Of deadlines the kind of decision is compared, since
what the clock said is not recorded.

The exit code is 1 when a decision or a view differs: another build, another
policy, or a fact that was changed.`,
		Example: "  emet replay\n  emet replay -d ./node --json | jq .difference",
		RunE:    reading(runReplay),
	}
	cmd.Flags().Bool("no-views", false, "only the decisions")
	jsonFlag(cmd)
	return cmd
}

type replayedJSON struct {
	Same       bool            `json:"same"`
	Events     uint64          `json:"events"`
	Decisions  int             `json:"decisions"` // made again
	Timed      int             `json:"timed"`     // of them, by deadlines
	Silent     int             `json:"silent"`    // led to nothing, then and now
	Inputs     int             `json:"inputs"`    // facts from outside, taken as they were
	Erased     int             `json:"erased"`    // decisions whose content is gone
	Views      []viewJSON      `json:"views"`
	Difference *differenceJSON `json:"difference,omitzero"`
	ElapsedMS  int64           `json:"elapsedMs"`
}

type viewJSON struct {
	Name string `json:"name"`
	Same bool   `json:"same"`
}

type differenceJSON struct {
	Position uint64        `json:"position"`
	Saga     string        `json:"saga"`
	Key      string        `json:"key"`
	Heard    *uint64       `json:"heard,omitzero"` // the fact that led to it
	Recorded []decidedJSON `json:"recorded"`
	Decided  []decidedJSON `json:"decided"`
	Refused  string        `json:"refused,omitzero"`
}

type decidedJSON struct {
	Position *uint64 `json:"position,omitzero"`
	Stream   string  `json:"stream"`
	Type     string  `json:"type"`
	Data     any     `json:"data"`
}

func runReplay(cmd *cobra.Command, _ []string, r *node.Reading) error {
	defer node.InBulk()()
	begun := time.Now()
	bar := newBar(cmd.ErrOrStderr(), "decisions ")
	report, err := node.Replay(cmd.Context(), r.Log, bar.at)
	bar.end()
	if err != nil {
		return err
	}
	out := replayedJSON{
		Same: report.First == nil, Events: uint64(report.Events), Decisions: report.Decisions, Timed: report.Timed, Silent: report.Silent,
		Inputs: report.Inputs, Erased: report.Erased, Views: []viewJSON{}, Difference: differenceOf(report.First),
	}
	if skip, _ := cmd.Flags().GetBool("no-views"); !skip {
		if err := checkViews(cmd.Context(), r, &out); err != nil {
			return err
		}
	}
	out.ElapsedMS = time.Since(begun).Milliseconds()
	if asksJSON(cmd) {
		err = printJSON(cmd.OutOrStdout(), out)
	} else {
		out.print(cmd.OutOrStdout())
	}
	if err == nil && !out.Same {
		return exitCode(exitFailed)
	}
	return err
}

func checkViews(ctx context.Context, r *node.Reading, out *replayedJSON) error {
	checks, err := r.CheckViews(ctx)
	if err != nil {
		return err
	}
	for _, c := range checks {
		out.Views = append(out.Views, viewJSON{c.Name, c.Same})
		out.Same = out.Same && c.Same
	}
	return nil
}

func differenceOf(d *replay.Difference) *differenceJSON {
	if d == nil {
		return nil
	}
	out := &differenceJSON{Position: uint64(d.Position), Saga: d.Saga, Key: d.Key, Recorded: decidedOf(d.Recorded), Decided: decidedOf(d.Decided), Refused: d.Refused}
	if !d.Orphan {
		p := uint64(d.Heard)
		out.Heard = &p
	}
	return out
}

func decidedOf(facts []replay.Fact) []decidedJSON {
	out := make([]decidedJSON, len(facts))
	for i, f := range facts {
		out[i] = decidedJSON{Stream: string(f.Stream), Type: f.Type, Data: foreign(f.Data)}
		if f.Position != nil {
			p := uint64(*f.Position)
			out[i].Position = &p
		}
	}
	return out
}

func (r replayedJSON) print(w io.Writer) {
	pairs(w, [2]string{"events", fmt.Sprint(r.Events)}, [2]string{"decisions", fmt.Sprintf("%d made again, %d of them by deadlines", r.Decisions, r.Timed)},
		[2]string{"silent", fmt.Sprintf("%d commands led to nothing, then and now", r.Silent)},
		[2]string{"inputs", fmt.Sprintf("%d facts from outside, taken as they were", r.Inputs)})
	if r.Erased > 0 {
		pairs(w, [2]string{"erased", fmt.Sprintf("%d decisions cannot be compared, their content was erased", r.Erased)})
	}
	for _, v := range r.Views {
		how := "as it was"
		if !v.Same {
			how = "DIFFERS from what is stored; emet store rebuild-views makes it anew"
		}
		pairs(w, [2]string{"view " + v.Name, how})
	}
	d := r.Difference
	if d == nil {
		if r.Same {
			fmt.Fprintln(w, "Every decision is the one that was recorded.")
		}
		return
	}
	fmt.Fprintf(w, "\nThe first decision that differs is at position %d, of %s", d.Position, d.Saga)
	if d.Heard != nil {
		fmt.Fprintf(w, ", about fact %d", *d.Heard)
	}
	fmt.Fprintln(w, ".")
	tellDecided(w, "recorded", d.Recorded, "nothing")
	nothing := "nothing"
	if d.Heard == nil {
		nothing = "nothing leads to it any more"
	}
	if d.Refused != "" {
		nothing = "refused: " + d.Refused
	}
	tellDecided(w, "now", d.Decided, nothing)
	fmt.Fprintf(w, "emet log show %d tells all about it; emet why %s what led there.\n", d.Position, shownID(d))
}

// shownID is the id of what a difference is about.
func shownID(d *differenceJSON) string {
	for _, facts := range [][]decidedJSON{d.Recorded, d.Decided} {
		for _, f := range facts {
			parts := strings.Split(f.Stream, "-")
			return parts[len(parts)-1]
		}
	}
	return fmt.Sprint(d.Position)
}

func tellDecided(w io.Writer, when string, facts []decidedJSON, nothing string) {
	if len(facts) == 0 {
		fmt.Fprintf(w, "  %-9s %s\n", when, printable(nothing))
	}
	for _, f := range facts {
		var b strings.Builder
		_ = printLines(&b, []any{f.Data})
		fmt.Fprintf(w, "  %-9s %s of %s\n            %s\n", when, f.Type, shortStream(f.Stream), printable(short(strings.TrimSpace(b.String()), 400)))
		when = ""
	}
}

// bar is progress on a terminal; elsewhere it is silent.
type bar struct {
	all *mpb.Progress
	one *mpb.Bar
}

func newBar(w io.Writer, name string) *bar {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return &bar{}
	}
	p := mpb.New(mpb.WithOutput(f), mpb.WithWidth(48))
	return &bar{all: p, one: p.AddBar(0, mpb.PrependDecorators(decor.Name(name), decor.CountersNoUnit("%d/%d")),
		mpb.AppendDecorators(decor.Percentage(), decor.Name(" "), decor.Elapsed(decor.ET_STYLE_GO)), mpb.BarRemoveOnComplete())}
}

func (b *bar) at(done, of es.Position) {
	if b.one != nil {
		b.one.SetTotal(int64(of), false) //nolint:gosec // far below 2^63
		b.one.SetCurrent(int64(done))    //nolint:gosec // far below 2^63
	}
}

func (b *bar) end() {
	if b.one != nil {
		b.one.SetTotal(-1, true)
		b.all.Wait()
	}
}
