package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/cmd/emet/node"
)

func newRepairCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "repair", Short: "Put a damaged log together again", Args: cobra.NoArgs,
		Long: `repair says what can be done about a damaged log, and does it with --apply. No
node may run then. Segments with damage are made anew from what is whole in them
and in the copy that --from names: a backup, or a copy of a store directory. The
chain of the log proves that every event is the one that was written, the whole is
verified before anything is replaced, damaged files are kept in store/damaged, and
the log records the repair as $audit.repaired. It stays the same log.

When events are neither in the log nor in the copy, repair names them and changes
nothing. --accept-loss gives them up, with everything after them, since positions have
no holes: what is before becomes a new log that names the old one, as a
restored backup does, and the damaged store is kept beside it.

The exit code is 1 when there is something to repair and it was not done.`,
		Example: "  emet store repair\n  emet store repair --from emet.tar\n  emet store repair --from emet.tar --apply --json",
		RunE:    runRepair,
	}
	cmd.Flags().String("from", "", "a backup (file or directory) or a copy of a store directory")
	cmd.Flags().Bool("apply", false, "do it; without this flag it is only said what would be done")
	cmd.Flags().Bool("accept-loss", false, "give up events that are nowhere, and all after them")
	jsonFlag(cmd)
	return cmd
}

type repaired struct {
	Applied  bool              `json:"applied"`
	Dir      string            `json:"dir"`
	LogID    string            `json:"logId"`
	Events   uint64            `json:"events"` // that are there when it is done
	Root     string            `json:"root"`
	Damage   []damage          `json:"damage"`
	Rebuild  []segment.Rebuilt `json:"rebuild"`
	Lost     []segment.Span    `json:"lost"`
	Stranded []segment.Span    `json:"stranded"`
	Kept     string            `json:"kept,omitempty"`     // where the damaged files are
	NewLogID string            `json:"newLogId,omitempty"` // when events were given up
}

func runRepair(cmd *cobra.Command, _ []string) error {
	c, err := configOf(cmd, nil)
	if err != nil {
		return err
	}
	if !node.HasData(c.Dir()) {
		return explain(fmt.Errorf("%w: %s", node.ErrNoData, c.Dir()))
	}
	if err := node.InSegments(c.Dir()); err != nil {
		return fmt.Errorf("nothing was repaired: %w", err)
	}
	o := node.RepairOptions{}
	o.From, _ = cmd.Flags().GetString("from")
	o.Apply, _ = cmd.Flags().GetBool("apply")
	o.AcceptLoss, _ = cmd.Flags().GetBool("accept-loss")
	r, err := node.RepairLog(cmd.Context(), node.Options{Dir: c.Dir(), Version: version}, o)
	var loss *segment.LossError
	if err != nil && !errors.As(err, &loss) {
		return explain(err)
	}
	out := repaired{
		Applied: r.Kept != "", Dir: c.Dir("store"), LogID: r.LogID, Events: r.Events, Root: r.Root.String(), Damage: []damage{},
		Rebuild: append([]segment.Rebuilt{}, r.Rebuild...), Lost: append([]segment.Span{}, r.Lost...),
		Stranded: append([]segment.Span{}, r.Stranded...), Kept: r.Kept, NewLogID: r.NewLogID,
	}
	for _, d := range r.Damage {
		out.Damage = append(out.Damage, damage{d.File, d.Offset, uint64(d.FirstPosition), uint64(d.LastPosition), d.What})
	}
	if asksJSON(cmd) {
		err = printJSON(cmd.OutOrStdout(), out)
	} else {
		err = nil
		sayRepair(cmd.OutOrStdout(), out, o)
	}
	if err == nil && r.Needed() && !out.Applied {
		return exitCode(exitFailed)
	}
	return err
}

func sayRepair(w io.Writer, r repaired, o node.RepairOptions) {
	for _, d := range r.Damage {
		fmt.Fprintf(w, "%s, byte %d: %s\n", d.File, d.Offset, printable(d.What))
	}
	for _, b := range r.Rebuild {
		if len(b.Copied) > 0 {
			fmt.Fprintf(w, "%s is made anew, positions %s from the copy\n", b.File, joined(b.Copied))
		} else {
			fmt.Fprintf(w, "%s is made anew from what is whole in it\n", b.File)
		}
	}
	if len(r.Lost) > 0 {
		fmt.Fprintln(w, lost(r.Lost))
	}
	if len(r.Stranded) > 0 {
		fmt.Fprintf(w, "positions %s can be read, and cannot follow what is lost\n", joined(r.Stranded))
	}
	switch {
	case r.NewLogID != "":
		fmt.Fprintf(w, "the %d events before are log %s now, which continues %s; the damaged store is in %s\n", r.Events, r.NewLogID, r.LogID, r.Kept)
	case r.Applied:
		fmt.Fprintf(w, "repaired: %d events, root %s; the damaged files are in %s\n", r.Events, r.Root, r.Kept)
	case len(r.Lost) > 0 && o.From == "":
		fmt.Fprintln(w, "nothing was changed; --from BACKUP may have what is lost, --accept-loss --apply gives it up")
	case len(r.Lost) > 0:
		fmt.Fprintln(w, "nothing was changed; --accept-loss --apply gives up what is lost")
	case len(r.Damage)+len(r.Rebuild) > 0:
		fmt.Fprintln(w, "no event is lost; nothing was changed yet, --apply does it")
	default:
		fmt.Fprintf(w, "there is nothing to repair: %d events are as they were written\n", r.Events)
	}
}

func lost(spans []segment.Span) string {
	if len(spans) == 1 && spans[0].First == spans[0].Last {
		return fmt.Sprintf("position %s is lost: it is neither in the log nor in a copy", spans[0])
	}
	return fmt.Sprintf("positions %s are lost: they are neither in the log nor in a copy", joined(spans))
}

func joined(spans []segment.Span) string {
	var out []string
	for _, s := range spans {
		out = append(out, s.String())
	}
	return strings.Join(out, ", ")
}
