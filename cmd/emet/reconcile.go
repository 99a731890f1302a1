package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/money"
)

func newReconcileCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "reconcile", Short: "Go on with a log that has lost some of its history", Args: cobra.NoArgs,
		Long: `reconcile is for a node that is frozen: others hold its own signature under more
of its log than there is, or a chain holds payments that the log knows nothing
of. An old copy of the data directory was put back, or the machine went back to
a snapshot. If the newest copy still exists, put that back instead: nothing is
lost then.

Without --reason it shows what was found and changes nothing. With it, the
operator takes it upon himself to go on with this copy: transfers that the
chains hold are counted as paid, so that nothing is paid twice; the log goes on
under another name, so that nothing that the lost part signed is contradicted;
and the reason is written down. No node may run on the directory, and all
payment networks of its wallets must answer. What else was lost stays lost:
agreements, results, bills that others know of.`,
		Example: "  emet store reconcile -d ./node\n  emet store reconcile -d ./node --reason 'disk of the 3rd died, backup of the 1st'",
		RunE:    runReconcile,
	}
	cmd.Flags().String("reason", "", "go on, and keep this as the reason")
	jsonFlag(cmd)
	return cmd
}

// finding is one thing that speaks against a log.
type finding struct {
	Kind    ledger.Finding `json:"kind"`
	Text    string         `json:"text"`
	Node    string         `json:"node,omitempty"`
	Size    int64          `json:"size"`             // events that were here
	Signed  int64          `json:"signed,omitempty"` // events under the note
	Note    string         `json:"note,omitempty"`
	ChainID uint64         `json:"chainId,omitempty"`
	Address string         `json:"address,omitempty"`
}

func findingsOf(s []ledger.Frozen) []finding {
	out := make([]finding, len(s))
	for i, f := range s {
		out[i] = finding{f.Kind, f.Text(), string(f.Node), f.Size, f.Signed, f.Note, f.ChainID, f.Address}
	}
	return out
}

type lostTransfer struct {
	TxHash    string       `json:"txHash"`
	Block     uint64       `json:"block"`
	PayeeAddr string       `json:"payeeAddr"`
	Amount    money.Amount `json:"amount"`
}

type lostWallet struct {
	ChainID   uint64         `json:"chainId"`
	Address   string         `json:"address"`
	NextNonce uint64         `json:"nextNonce"` // as the log has it
	Seen      uint64         `json:"seen"`      // as the chain has it
	Transfers []lostTransfer `json:"transfers"`
	Stuck     []string       `json:"stuck"` // transactions that can never be mined
}

type reconciled struct {
	Dir      string       `json:"dir"`
	LogID    string       `json:"logId"`
	Epoch    int64        `json:"epoch"`
	Findings []finding    `json:"findings"`
	Wallets  []lostWallet `json:"wallets"`
	NewLogID string       `json:"newLogId,omitempty"` // "" = nothing was changed
}

func runReconcile(cmd *cobra.Command, _ []string) error {
	c, err := configOf(cmd, nil)
	if err != nil {
		return err
	}
	reason, _ := cmd.Flags().GetString("reason")
	reason = strings.TrimSpace(reason)
	if cmd.Flags().Changed("reason") && reason == "" {
		return usageError{errors.New("--reason is empty: say why this copy is gone on with")}
	}
	lost, err := node.Reconcile(cmd.Context(), node.Options{Dir: c.Dir(), Store: c.Store(), Chains: chainURLs(c), Version: version}, reason)
	if errors.Is(err, node.ErrNotFrozen) {
		return codedError{err, exitNotFound}
	}
	if err != nil {
		return explain(err)
	}
	out := reconciled{Dir: c.Dir("store"), LogID: lost.LogID, Epoch: lost.Epoch, Findings: findingsOf(lost.Findings), Wallets: []lostWallet{}, NewLogID: lost.NewLogID}
	for _, w := range lost.Wallets {
		x := lostWallet{w.ChainID, w.Address, w.NextNonce, w.Seen, []lostTransfer{}, append([]string{}, w.Stuck...)}
		for _, t := range w.Transfers {
			x.Transfers = append(x.Transfers, lostTransfer{t.TxHash, t.Block, t.PayeeAddr, t.Amount})
		}
		out.Wallets = append(out.Wallets, x)
	}
	if asksJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), out)
	}
	sayReconciled(cmd.OutOrStdout(), out)
	return nil
}

func sayReconciled(w io.Writer, r reconciled) {
	fmt.Fprintf(w, "%s, log %s, epoch %d\n\n", r.Dir, r.LogID, r.Epoch)
	for _, f := range r.Findings {
		fmt.Fprintf(w, "found: %s\n", f.Text)
	}
	counted, stuck := "would be counted as paid", "would be given up"
	if r.NewLogID != "" {
		counted, stuck = "is counted as paid", "is given up"
	}
	for _, x := range r.Wallets {
		for _, t := range x.Transfers {
			fmt.Fprintf(w, "lost: %s to %s in block %d of chain %d, transaction %s: %s\n", t.Amount, t.PayeeAddr, t.Block, x.ChainID, t.TxHash, counted)
		}
		for _, id := range x.Stuck {
			fmt.Fprintf(w, "lost: the nonce of transaction %s, which %s\n", id, stuck)
		}
		if len(x.Transfers)+len(x.Stuck) == 0 {
			fmt.Fprintf(w, "lost: transactions of %s on chain %d that moved no tokens\n", x.Address, x.ChainID)
		}
	}
	if r.NewLogID == "" {
		fmt.Fprint(w, "\nNothing was changed. If the newest copy of the directory still exists, put it back.\nIf it is lost: emet store reconcile --reason '…'\n")
		return
	}
	fmt.Fprintf(w, "\nThe log goes on as %s, epoch %d. The node may be started.\n", r.NewLogID, r.Epoch+1)
}

// noteFrozen tells on standard error that a node does not act, beside whatever
// was asked.
func noteFrozen(cmd *cobra.Command, r *node.Reading) {
	ctx := context.WithoutCancel(cmd.Context())
	if s, err := r.Standing(ctx); err == nil && s.Err() != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), s.Err())
	}
	if err := r.LostEnd(ctx); err != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), explain(err))
	}
}
