package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/projections"
)

func newActivityCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List activities, oldest first", Args: cobra.NoArgs,
		Example: "  emet activity list\n  emet activity list --alive --json",
		RunE:    reading(runActivityList),
	}
	list.Flags().Bool("alive", false, "only those that have not ended")
	outputFlags(list)
	show := &cobra.Command{
		Use: "show <id>", Short: "Show an activity with its batches and what it used", Args: cobra.ExactArgs(1),
		Example: "  emet activity show 1a2b3c4d\n  emet activity show 1a2b3c4d --json",
		RunE:    reading(runActivityShow),
	}
	jsonFlag(show)
	return group("activity", "Work under agreements", "  emet activity list\n  emet activity show 1a2b3c4d", list, show)
}

type activityJSON struct {
	ID          string     `json:"id"`
	Side        string     `json:"side"` // "R" or "P"
	AgreementID string     `json:"agreementId"`
	Owner       string     `json:"owner"`
	Peer        string     `json:"peer"`
	State       string     `json:"state"`
	Pending     string     `json:"pending,omitzero"` // state that it is on its way to
	Runtime     string     `json:"runtime,omitzero"`
	Reason      string     `json:"reason,omitzero"`
	Error       string     `json:"errorMessage,omitzero"`
	UsageNames  []string   `json:"usageNames,omitzero"`
	Usage       any        `json:"usage,omitzero"` // in the order of usageNames
	UsageAt     *time.Time `json:"usageAt,omitzero"`
	Created     time.Time  `json:"created"`
	Ended       *time.Time `json:"ended,omitzero"`
}

func showActivity(r projections.ActivityRow) activityJSON {
	return activityJSON{
		ID: r.ID, Side: string(r.Side), AgreementID: r.AgreementID, Owner: string(r.Owner), Peer: string(r.Peer), State: string(r.State),
		Pending: string(r.Pending), Runtime: r.Runtime, Reason: r.Reason, Error: r.Error, UsageNames: r.UsageNames, Usage: foreign(r.Usage),
		UsageAt: optional(r.UsageAt), Created: r.Recorded, Ended: optional(r.Ended),
	}
}

func runActivityList(cmd *cobra.Command, _ []string, r *node.Reading) error {
	alive, _ := cmd.Flags().GetBool("alive")
	rows, err := r.Activity.Activities(cmd.Context(), projections.ActivityFilter{Alive: alive})
	if err != nil {
		return err
	}
	l := listing{header: []string{"Activity", "Side", "State", "Agreement", "Usage", "Created", "Ended", "Reason"}, empty: "There are no such activities."}
	for _, a := range rows {
		l.add(showActivity(a), cut(a.ID, 16), string(a.Side), string(a.State), cut(a.AgreementID, 12), a.Usage, when(a.Recorded), when(a.Ended), cut(a.Reason, 50))
	}
	return l.print(cmd)
}

type batchJSON struct {
	ID       string     `json:"id"`
	State    string     `json:"state"` // "requested", "running", "refused", "done", "failed", "aborted"
	Commands int64      `json:"commands"`
	Finished int64      `json:"finished"`
	Created  time.Time  `json:"created"`
	Ended    *time.Time `json:"ended,omitzero"`
}

type activityDetail struct {
	activityJSON
	Batches []batchJSON `json:"batches"`
}

func runActivityShow(cmd *cobra.Command, args []string, r *node.Reading) error {
	rows, err := r.Activity.Activities(cmd.Context(), projections.ActivityFilter{})
	if err != nil {
		return err
	}
	found, err := pick("activity", args[0], rows, func(a projections.ActivityRow) string { return a.ID })
	if err != nil {
		return err
	}
	out := make([]activityDetail, len(found))
	for i, row := range found {
		batches, err := r.Activity.Batches(cmd.Context(), projections.BatchFilter{Side: row.Side, ActivityID: row.ID})
		if err != nil {
			return err
		}
		out[i] = activityDetail{activityJSON: showActivity(row), Batches: []batchJSON{}}
		for _, b := range batches {
			out[i].Batches = append(out[i].Batches, batchJSON{b.ID, b.State, b.Commands, b.Finished, b.Recorded, optional(b.Ended)})
		}
	}
	if asksJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), out)
	}
	w := cmd.OutOrStdout()
	for i, a := range out {
		if i > 0 {
			fmt.Fprintln(w)
		}
		side := map[string]string{"R": "requestor", "P": "provider"}[a.Side]
		pairs(w, [2]string{"activity", a.ID}, [2]string{"side", side}, [2]string{"state", a.State}, [2]string{"pending", a.Pending},
			[2]string{"agreement", a.AgreementID}, [2]string{"identity", a.Owner}, [2]string{"with", a.Peer}, [2]string{"runtime", a.Runtime},
			[2]string{"created", when(a.Created)}, [2]string{"ended", when(found[i].Ended)}, [2]string{"reason", a.Reason}, [2]string{"error", a.Error},
			[2]string{"usage", usageText(found[i])})
		for _, b := range a.Batches {
			fmt.Fprintf(w, "%-14s %s %s, %d of %d commands\n", "batch", b.ID, b.State, b.Finished, b.Commands)
		}
	}
	return nil
}

func usageText(a projections.ActivityRow) string {
	if a.Usage == "" || len(a.UsageNames) == 0 {
		return a.Usage
	}
	return fmt.Sprintf("%s of %v", a.Usage, a.UsageNames)
}
