package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/api/control"
)

func newWebhookCommand() *cobra.Command {
	add := &cobra.Command{
		Use: "add <URL>", Short: "Tell a URL about facts from now on", Args: cobra.ExactArgs(1),
		Long: `add prints the id of the webhook and the secret that deliveries are signed with; the
secret is shown this once. Each fact is an HTTP POST of one JSON object, with the
header Emet-Signature: t=<seconds>,v1=<HMAC-SHA-256 over "<t>.<body>">. A receiver
answers 2xx when it took the fact. It may get one twice: the header Idempotency-Key
is the same then.

A running node delivers, one fact at a time and in order. What a receiver refuses
three times with 3xx or 4xx, or what cannot be told for webhook.give-up, is set
aside. Redirects are not followed. Private addresses, and http, need
webhook.allow in the configuration of the node.`,
		Example: `  emet webhook add https://example.org/hook --type agreement.approved.v1
  emet webhook add https://example.org/hook --type bill --type payment --from 0 --json
  emet webhook add https://example.org/hook --category agreement --id seller`,
		RunE: operating(false, runWebhookAdd),
	}
	f := add.Flags()
	f.StringSlice("type", nil, "an event type (agreement.approved.v1) or the beginning of one (agreement); repeatable, default all")
	f.StringSlice("stream", nil, "a stream (agreement-R-…) or the beginning of one (agreement-R-*); repeatable")
	f.StringSlice("category", nil, "what streams are named before the first - (agreement); repeatable, with --stream either is enough")
	f.String("id", "", "only facts of this identity (id or alias, default: of all)")
	f.String("from", "", "position to begin at (default: what is to come)")
	list := &cobra.Command{
		Use: "list", Short: "List webhooks, how far they were told and what went wrong", Args: cobra.NoArgs,
		Example: "  emet webhook list\n  emet webhook list --json | jq '.[] | select(.failures > 0)'",
		RunE:    operating(false, runWebhookList),
	}
	outputFlags(list)
	remove := &cobra.Command{
		Use: "remove <id>", Short: "End a webhook, and forget what was set aside for it", Args: cobra.ExactArgs(1),
		Example: "  emet webhook remove wh_1a2b3c4d5e6f",
		RunE:    operating(false, runWebhookRemove),
	}
	test := &cobra.Command{
		Use: "test <id>", Short: "Send a webhook something to try it with", Args: cobra.ExactArgs(1),
		Long: `test sends one delivery of the type $webhook.test, which no fact has. When the
receiver takes it, a webhook that waits for its next attempt goes on at once.`,
		Example: "  emet webhook test wh_1a2b3c4d5e6f",
		RunE:    operating(false, runWebhookTest),
	}
	for _, c := range []*cobra.Command{add, remove, test} {
		jsonFlag(c)
	}
	return group("webhook", "Tell others what happens", "  emet webhook add https://example.org/hook --type agreement\n  emet webhook list\n  emet webhook poison list",
		add, list, remove, test, newPoisonCommand())
}

func newPoisonCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "list [<id>]", Short: "List what was set aside, and why", Args: cobra.MaximumNArgs(1),
		Example: "  emet webhook poison list\n  emet webhook poison list wh_1a2b3c4d5e6f --json",
		RunE:    operating(false, runPoisonList),
	}
	retry := &cobra.Command{
		Use: "retry <id> [<position>…]", Short: "Tell a webhook again what was set aside", Args: cobra.MinimumNArgs(1),
		Long: `retry tells what was set aside for a webhook once more, in the order of the log, all of
it or what is at some positions. What the receiver takes is not set aside any more.
The exit code is 5 when it did not take everything.`,
		Example: "  emet webhook poison retry wh_1a2b3c4d5e6f\n  emet webhook poison retry wh_1a2b3c4d5e6f 42 43",
		RunE:    operating(false, runPoisonRetry),
	}
	drop := &cobra.Command{
		Use: "drop <id> [<position>…]", Short: "Forget what was set aside; the log keeps it", Args: cobra.MinimumNArgs(1),
		Example: "  emet webhook poison drop wh_1a2b3c4d5e6f 42\n  emet webhook poison drop wh_1a2b3c4d5e6f --all",
		RunE:    operating(false, runPoisonDrop),
	}
	drop.Flags().Bool("all", false, "all that was set aside for the webhook")
	for _, c := range []*cobra.Command{list, retry, drop} {
		outputFlags(c)
	}
	return group("poison", "What webhooks did not take", "  emet webhook poison list\n  emet webhook poison retry wh_1a2b3c4d5e6f", list, retry, drop)
}

func runWebhookAdd(cmd *cobra.Command, args []string, d control.Deps) error {
	get := func(name string) []string { v, _ := cmd.Flags().GetStringSlice(name); return v }
	id, _ := cmd.Flags().GetString("id")
	n := control.NewWebhook{URL: args[0], Types: get("type"), Streams: get("stream"), Categories: get("category"), Identity: id}
	if from, _ := cmd.Flags().GetString("from"); from != "" {
		p, err := strconv.ParseUint(from, 10, 63)
		if err != nil {
			return usageError{fmt.Errorf("--from %q: want a position, a whole number from 0 up", from)}
		}
		n.From = &p
	}
	w, err := d.AddWebhook(cmd.Context(), n)
	if err != nil {
		return err
	}
	if asksJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), w)
	}
	pairs(cmd.OutOrStdout(), [2]string{"id", w.ID}, [2]string{"secret", w.Secret}, [2]string{"tells", wants(w)}, [2]string{"from", strconv.FormatUint(w.Next, 10)})
	return nil
}

// wants says in a few words which facts a webhook is told.
func wants(w control.Webhook) string {
	var parts []string
	for _, p := range [][]string{w.Types, w.Streams, w.Categories} {
		parts = append(parts, p...)
	}
	if w.Identity != "" {
		parts = append(parts, "of "+short(w.Identity, 10))
	}
	if len(parts) == 0 {
		return "all"
	}
	return strings.Join(parts, " ")
}

func runWebhookList(cmd *cobra.Command, _ []string, d control.Deps) error {
	all, err := d.Webhooks(cmd.Context())
	if err != nil {
		return err
	}
	l := listing{
		header: []string{"ID", "URL", "Tells", "Next", "Behind", "Delivered", "Set aside", "Next attempt", "Trouble"},
		empty:  "There are no webhooks; emet webhook add URL makes one.",
	}
	for _, w := range all {
		trouble := ""
		if w.Failures > 0 {
			trouble = fmt.Sprintf("%d×, last %s: %s", w.Failures, when(w.Failed), w.Error)
		}
		l.add(w, w.ID, cut(w.URL, 48), cut(wants(w), 32), strconv.FormatUint(w.Next, 10), strconv.FormatUint(w.Behind, 10),
			strconv.FormatInt(w.Delivered, 10), strconv.Itoa(w.Poison), when(w.Again), trouble)
	}
	return l.print(cmd)
}

func runWebhookRemove(cmd *cobra.Command, args []string, d control.Deps) error {
	if err := d.RemoveWebhook(cmd.Context(), args[0]); err != nil {
		return err
	}
	if asksJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), nil)
	}
	return nil
}

func runWebhookTest(cmd *cobra.Command, args []string, d control.Deps) error {
	err := d.TestWebhook(cmd.Context(), args[0])
	if errors.Is(err, control.ErrRefused) {
		return codedError{err, exitRefused}
	}
	if err != nil {
		return err
	}
	if asksJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), map[string]bool{"taken": true})
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), "The receiver took it.")
	return err
}

func runPoisonList(cmd *cobra.Command, args []string, d control.Deps) error {
	all, err := d.Poison(cmd.Context(), strings.Join(args, ""))
	if err != nil {
		return err
	}
	return printPoison(cmd, all, "Nothing is set aside.")
}

func printPoison(cmd *cobra.Command, all []control.Poison, empty string) error {
	l := listing{header: []string{"Webhook", "Position", "Type", "Stream", "Since", "Why"}, empty: empty}
	for _, p := range all {
		l.add(p, p.Webhook, strconv.FormatUint(p.Position, 10), p.Type, entry{p.Stream, shortStream(p.Stream)}, when(p.At), p.Reason)
	}
	return l.print(cmd)
}

func runPoisonRetry(cmd *cobra.Command, args []string, d control.Deps) error {
	positions, err := control.Positions(args[1:])
	if err != nil {
		return err
	}
	all, err := d.RetryPoison(cmd.Context(), args[0], positions)
	if err != nil {
		return err
	}
	l := listing{header: []string{"Position", "Type", "Taken", "Why not"}, empty: "Nothing is set aside for it."}
	left := 0
	for _, r := range all {
		why, taken := "", "yes"
		if !r.Taken {
			left++
			why, taken = r.Reason, "no"
		}
		l.add(r, strconv.FormatUint(r.Position, 10), r.Type, taken, why)
	}
	if err := l.print(cmd); err != nil || left == 0 {
		return err
	}
	return codedError{fmt.Errorf("%d of %d were not taken and stay set aside", left, len(all)), exitRefused}
}

func runPoisonDrop(cmd *cobra.Command, args []string, d control.Deps) error {
	positions, err := control.Positions(args[1:])
	if err != nil {
		return err
	}
	if all, _ := cmd.Flags().GetBool("all"); all == (len(positions) > 0) {
		return usageError{errors.New("name positions, or give --all")}
	}
	dropped, err := d.DropPoison(cmd.Context(), args[0], positions)
	if err != nil {
		return err
	}
	return printPoison(cmd, dropped, "Nothing was set aside for it.")
}
