package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/api/control"
	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
)

const defaultLast = 50 // facts that "emet log" shows

func newLogCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "log", Short: "Read what happened", Args: cobra.ArbitraryArgs,
		Long: `log reads the ledger of the node, also while the node runs. Without a further
command it lists the last 50 facts.`,
		Example: "  emet log\n  emet log list --type agreement --json\n  emet log story 1a2b3c4d\n  emet log tail",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())}
			}
			return readingLog(runLogList)(cmd, args)
		},
	}
	list := &cobra.Command{
		Use: "list", Short: "List facts", Args: cobra.NoArgs,
		Long: `list prints the facts of the log in their order; with --json one object a line.
What was sealed is shown, unless its key was erased.`,
		Example: `  emet log list
  emet log list --from 100 --limit 20
  emet log list --stream agreement --json | jq .type
  emet log list --type bill.invoice_accepted --story 1a2b3c4d`,
		RunE: readingLog(runLogList),
	}
	for _, c := range []*cobra.Command{cmd, list} {
		filterFlags(c)
		outputFlags(c)
		c.Flags().String("from", "", "position to begin at")
	}
	cmd.Flags().Int("limit", defaultLast, "most facts to show: the last ones, with --from the first ones")
	list.Flags().Int("limit", 0, "most facts to show: the last ones, with --from the first ones; 0 = all")
	show := &cobra.Command{
		Use: "show <position|event id>", Short: "Show one fact with everything that is known of it", Args: cobra.ExactArgs(1),
		Example: "  emet log show 42\n  emet log show 42 --json",
		RunE:    readingLog(runLogShow),
	}
	jsonFlag(show)
	tail := &cobra.Command{
		Use: "tail", Short: "Follow the log", Args: cobra.NoArgs,
		Long:    "tail prints the last facts and then each new one, until it is interrupted. It waits for a node to run.",
		Example: "  emet log tail\n  emet log tail --type payment --json",
		RunE:    runLogTail,
	}
	filterFlags(tail)
	tail.Flags().Int("last", 10, "facts to show at first")
	jsonFlag(tail)
	cmd.AddCommand(list, show, newStoryCommand(), tail, newProofCommand(), newProofVerifyCommand())
	return cmd
}

func filterFlags(cmd *cobra.Command) {
	cmd.Flags().String("stream", "", "a stream (agreement-R-…) or the beginning of one (agreement)")
	cmd.Flags().String("type", "", "an event type (agreement.approved.v1) or the beginning of one (agreement)")
	cmd.Flags().String("story", "", "a correlation id or the beginning of one")
}

// sieve is what the filter flags let pass.
type sieve struct{ stream, typ, story string }

func sieveOf(cmd *cobra.Command) sieve {
	get := func(name string) string { v, _ := cmd.Flags().GetString(name); return strings.TrimSuffix(v, "*") }
	return sieve{get("stream"), get("type"), get("story")}
}

func (s sieve) filter() es.Filter {
	var f es.Filter
	if s.stream != "" {
		f.StreamPrefixes = []string{s.stream}
	}
	if s.typ != "" {
		f.TypePrefixes = []string{s.typ}
	}
	return f
}

func (s sieve) pass(f control.Fact) bool {
	return strings.HasPrefix(f.Stream, s.stream) && strings.HasPrefix(f.Type, s.typ) && strings.HasPrefix(f.Story, s.story)
}

func runLogList(cmd *cobra.Command, _ []string, r *node.Reading) error {
	limit, _ := cmd.Flags().GetInt("limit")
	if limit < 0 {
		return usageError{fmt.Errorf("--limit %d: want 0 or more", limit)}
	}
	from, _ := cmd.Flags().GetString("from")
	facts, err := factsOf(cmd.Context(), r, sieveOf(cmd), from, limit)
	if err != nil {
		return err
	}
	if format, _ := cmd.Flags().GetString("output"); asksJSON(cmd) || format == "json" {
		return printFacts(cmd.OutOrStdout(), facts)
	}
	l := listing{header: []string{"Position", "Recorded", "Stream", "Type", "Cause", "What"}, empty: "The log has no such facts."}
	for _, f := range facts {
		l.add(f, fmt.Sprint(f.Position), f.Recorded.Format("2006-01-02 15:04:05.000"), entry{f.Stream, shortStream(f.Stream)}, f.Type, cause(f), summary(f))
	}
	return l.print(cmd)
}

func printFacts(w io.Writer, facts []control.Fact) error {
	values := make([]any, len(facts))
	for i, f := range facts {
		values[i] = f
	}
	return printLines(w, values)
}

func cause(f control.Fact) string {
	if f.Cause == nil {
		return ""
	}
	return fmt.Sprint(*f.Cause)
}

// factsOf reads the first limit facts from a position on, or, when from is "",
// the last ones.
func factsOf(ctx context.Context, r *node.Reading, s sieve, from string, limit int) ([]control.Fact, error) {
	start, dir := es.Position(0), es.Forward
	head, err := r.Store.Head(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case from != "":
		n, err := strconv.ParseUint(from, 10, 63)
		if err != nil {
			return nil, usageError{fmt.Errorf("--from %q: want a position, a whole number from 0 up", from)}
		}
		start = es.Position(n)
	case limit > 0 && head > 0:
		start, dir = head-1, es.Backward
	}
	var out []control.Fact
	for e, err := range r.Store.ReadAll(ctx, start, dir, s.filter(), 0) {
		if err != nil {
			return nil, err
		}
		fact, err := r.Log.Decode(ctx, e)
		if err != nil {
			return nil, err
		}
		if f := control.Show(fact); s.pass(f) {
			out = append(out, f)
		}
		if limit > 0 && len(out) == limit {
			break
		}
	}
	if dir == es.Backward {
		slices.Reverse(out)
	}
	return out, nil
}

func runLogShow(cmd *cobra.Command, args []string, r *node.Reading) error {
	f, err := findFact(cmd.Context(), r, args[0])
	if err != nil {
		return err
	}
	if asksJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), f)
	}
	w := cmd.OutOrStdout()
	sealed := ""
	if f.Subject != "" {
		sealed = "with the key of " + f.Subject
		if f.Erased {
			sealed += ", which was erased"
		}
	}
	pairs(w, [2]string{"position", fmt.Sprint(f.Position)}, [2]string{"recorded", f.Recorded.Format(time.RFC3339Nano)}, [2]string{"type", f.Type},
		[2]string{"stream", f.Stream}, [2]string{"revision", fmt.Sprint(f.Revision)}, [2]string{"event id", f.ID}, [2]string{"story", f.Story},
		[2]string{"cause", cause(f)}, [2]string{"actor", f.Actor}, [2]string{"identity", f.Identity}, [2]string{"sealed", sealed}, [2]string{"leaf", f.Leaf})
	fmt.Fprintf(w, "\ndata\n%s\n\nmeta\n%s\n", indented(f.Data), indented(f.Meta))
	return nil
}

func findFact(ctx context.Context, r *node.Reading, ref string) (control.Fact, error) {
	unknown := codedError{fmt.Errorf("the log has no fact %q; emet log list shows all", ref), exitNotFound}
	filter, start, id := es.Filter{}, es.Position(0), es.ID{}
	if n, err := strconv.ParseUint(ref, 10, 63); err == nil {
		if head, err := r.Store.Head(ctx); err != nil || es.Position(n) >= head {
			return control.Fact{}, errors.Join(unknown, err)
		}
		start = es.Position(n)
	} else if id, err = es.ParseID(ref); err != nil {
		return control.Fact{}, usageError{fmt.Errorf("%q is neither a position nor an event id", ref)}
	}
	for e, err := range r.Store.ReadAll(ctx, start, es.Forward, filter, 0) {
		if err != nil {
			return control.Fact{}, err
		}
		if !id.IsZero() && e.ID != id {
			continue
		}
		fact, err := r.Log.Decode(ctx, e)
		return control.Show(fact), err
	}
	return control.Fact{}, unknown
}

func runLogTail(cmd *cobra.Command, _ []string) error {
	c, err := configOf(cmd, nil)
	if err != nil {
		return err
	}
	t := &tailing{cmd: cmd, config: c, sieve: sieveOf(cmd)}
	if err := t.last(); err != nil {
		return err
	}
	for told := false; ; {
		client, err := dialDaemon(cmd.Context(), c)
		if err == nil {
			err = errors.Join(client.Follow(cmd.Context(), t.next, t.hear), client.Close())
		}
		if cmd.Context().Err() != nil {
			return nil // interrupted, which is how it ends
		}
		if !errors.Is(err, control.ErrNoDaemon) {
			return explain(err)
		}
		if !told {
			told = true
			fmt.Fprintln(cmd.ErrOrStderr(), "No node runs here now; waiting for one.")
		}
		select {
		case <-cmd.Context().Done():
			return nil
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// tailing is a log that is followed.
type tailing struct {
	cmd    *cobra.Command
	config *Config
	sieve  sieve
	next   uint64
}

// last prints the last facts that are there.
func (t *tailing) last() error {
	r, err := openLog(t.cmd)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // opened for reading
	n, _ := t.cmd.Flags().GetInt("last")
	head, err := r.Store.Head(t.cmd.Context())
	if err != nil {
		return err
	}
	if n > 0 {
		facts, err := factsOf(t.cmd.Context(), r, t.sieve, "", n)
		if err != nil {
			return explain(err)
		}
		for _, f := range facts {
			if err := t.hear(f); err != nil {
				return err
			}
		}
	}
	t.next = uint64(head)
	return nil
}

func (t *tailing) hear(f control.Fact) error {
	t.next = f.Position + 1
	if !t.sieve.pass(f) {
		return nil
	}
	w := t.cmd.OutOrStdout()
	if asksJSON(t.cmd) {
		return printLines(w, []any{f})
	}
	_, err := fmt.Fprintln(w, printable(fmt.Sprintf("%7d  %s  %-34s %s%s", f.Position, f.Recorded.Format("15:04:05.000"), f.Type, summary(f), arrow(f))))
	return err
}

func arrow(f control.Fact) string {
	if f.Cause == nil {
		return ""
	}
	return fmt.Sprintf("  ← %d", *f.Cause)
}
