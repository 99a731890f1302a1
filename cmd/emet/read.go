package main

import (
	"context"
	"errors"
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

// openForReading opens a node's log and views, whether the node runs or not.
// It never makes a data directory.
func openForReading(cmd *cobra.Command) (*node.Reading, error) {
	c, err := configOf(cmd, nil)
	if err != nil {
		return nil, err
	}
	r, err := node.ReadLedger(cmd.Context(), node.Options{Dir: c.Dir(), Version: version, Store: c.Store(), SegmentBytes: int64(c.Int("store.segment-mib")) << 20})
	return r, explain(err)
}

// openLog opens a node's log alone, without taking its lock.
func openLog(cmd *cobra.Command) (*node.Reading, error) {
	c, err := configOf(cmd, nil)
	if err != nil {
		return nil, err
	}
	r, err := node.ReadLogOf(cmd.Context(), node.Options{Dir: c.Dir(), Store: c.Store()})
	return r, explain(err)
}

// reading runs a question on a node that is open for reading.
func reading(ask func(cmd *cobra.Command, args []string, r *node.Reading) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		r, err := openForReading(cmd)
		if err != nil {
			return err
		}
		noteFrozen(cmd, r)
		return explain(errors.Join(ask(cmd, args, r), r.Close()))
	}
}

// readingLog is reading for questions that need no views.
func readingLog(ask func(cmd *cobra.Command, args []string, r *node.Reading) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		r, err := openLog(cmd)
		if err != nil {
			return err
		}
		noteFrozen(cmd, r)
		return explain(errors.Join(ask(cmd, args, r), r.Close()))
	}
}

// dialDaemon reaches the node that runs on the data directory.
func dialDaemon(ctx context.Context, c *Config) (*control.Client, error) {
	client, err := control.Dial(ctx, control.Path(c.Dir(), defaultDataDir()))
	if err != nil {
		return nil, err
	}
	s, err := client.Status(ctx)
	if err != nil {
		return nil, err
	}
	if !sameDir(s.DataDir, c.Dir()) {
		return nil, fmt.Errorf("%w on %s; the one at the socket serves %s", control.ErrNoDaemon, c.Dir(), s.DataDir)
	}
	return client, nil
}

// asOperator opens the node for the operator: through its socket when it runs,
// else the data directory itself. fresh says that a directory that is not there
// may be made.
func asOperator(cmd *cobra.Command, fresh bool) (control.Deps, io.Closer, error) {
	c, err := configOf(cmd, nil)
	if err != nil {
		return nil, nil, err
	}
	client, err := dialDaemon(cmd.Context(), c)
	if err == nil {
		return client, client, nil
	}
	if !errors.Is(err, control.ErrNoDaemon) {
		return nil, nil, explain(err)
	}
	if !fresh && !node.HasData(c.Dir()) {
		return nil, nil, explain(fmt.Errorf("%w: %s", node.ErrNoData, c.Dir()))
	}
	op, closeIt, openErr := node.OpenOperator(cmd.Context(), node.Options{Dir: c.Dir(), Version: version, Store: c.Store(), Webhooks: webhooksOf(c)})
	if errors.Is(openErr, es.ErrLocked) {
		return nil, nil, codedError{fmt.Errorf("%w; that process does not answer the operator: %w", openErr, err), exitNoDaemon}
	}
	return op, closer(closeIt), explain(openErr)
}

type closer func() error

func (c closer) Close() error {
	if c == nil {
		return nil
	}
	return c()
}

// operating runs a command of the operator.
func operating(fresh bool, do func(cmd *cobra.Command, args []string, d control.Deps) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		d, c, err := asOperator(cmd, fresh)
		if err != nil {
			return err
		}
		return explain(errors.Join(do(cmd, args, d), c.Close()))
	}
}

// explain says what can be done about an error and picks its exit code.
func explain(err error) error {
	var (
		coded   codedError
		several *story.Ambiguous
	)
	switch {
	case err == nil, errors.As(err, &coded):
		return err
	case errors.Is(err, node.ErrNoData):
		return codedError{fmt.Errorf("%w; emet up makes it, -d names the directory of another node, such as demo-out/requestor after emet demo", err), exitNotFound}
	case errors.Is(err, control.ErrNoDaemon):
		return codedError{fmt.Errorf("%w; start one with emet up", err), exitNoDaemon}
	case errors.Is(err, control.ErrNotFound), errors.Is(err, story.ErrUnknown):
		return codedError{err, exitNotFound}
	case errors.As(err, &several), errors.Is(err, control.ErrBad):
		return usageError{err}
	case errors.Is(err, es.ErrCorrupt), errors.Is(err, es.ErrLocked):
		return openError(err)
	}
	return err
}

// notFound says that a list has no such thing.
func notFound(what, id string) error {
	return codedError{fmt.Errorf("no %s %q; emet %s list shows all", what, id, what), exitNotFound}
}

// pick finds the rows whose id begins with prefix, as REST or people write it.
// Both sides of one deal have the same id and are both meant.
func pick[T any](what, prefix string, rows []T, id func(T) string) ([]T, error) {
	for _, side := range []string{"R-", "P-"} {
		prefix = strings.TrimPrefix(prefix, side)
	}
	var out []T
	ids := map[string]bool{}
	for _, r := range rows {
		if prefix != "" && strings.HasPrefix(id(r), prefix) {
			out = append(out, r)
			ids[id(r)] = true
		}
	}
	switch {
	case len(out) == 0:
		return nil, notFound(what, prefix)
	case len(ids) > 1:
		return nil, usageError{fmt.Errorf("%q fits %d of them; give more of the id", prefix, len(ids))}
	}
	return out, nil
}

// when shows a time to people, "" when there is none.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// pairs prints names and values for people, leaving out what is empty.
func pairs(w io.Writer, rows ...[2]string) {
	for _, r := range rows {
		if r[1] != "" {
			fmt.Fprintf(w, "%-14s %s\n", r[0], printable(r[1]))
		}
	}
}

// asksJSON says whether the command was asked for JSON.
func asksJSON(cmd *cobra.Command) bool {
	b, _ := cmd.Flags().GetBool("json")
	return b
}

func jsonFlag(cmd *cobra.Command) { cmd.Flags().Bool("json", false, "print JSON") }

// group makes a command that only has others below it.
func group(use, short, example string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Example: example, RunE: onlyBelow}
	cmd.AddCommand(below...)
	return cmd
}

// onlyBelow is a command that does nothing but hold others.
func onlyBelow(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())}
	}
	return cmd.Help()
}

func sameDir(a, b string) bool { return control.SameDir(a, b) }
