package main

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/adapters/ledger"
	"github.com/emet-node/emet/adapters/ledger/dossier"
	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/verifier"
)

func newEvidenceCommand() *cobra.Command {
	return group("evidence", "Prove a deal to others, and check what others prove",
		"  emet evidence create 1a2b3c… -o deal.dossier\n  emet evidence verify deal.dossier --identity 0x… --identity 0x…\n  emet evidence compare mine.dossier theirs.dossier",
		newEvidenceCreate(), newEvidenceVerify(), newEvidenceCompare(), newEvidenceConflicts())
}

func newEvidenceCreate() *cobra.Command {
	var kinds []string
	for _, r := range dossier.Redactions {
		kinds = append(kinds, fmt.Sprintf("  %-10s %s", r.Name, r.Means))
	}
	cmd := &cobra.Command{
		Use: "create <agreement>", Short: "Put all that the log holds about a deal into one file", Args: cobra.ExactArgs(1),
		Long: `create writes a dossier: the events of the deal, the proof that the signed log
holds them, the other party's messages as they were signed, and the transfers
with their proofs, which the node kept when they were final; the chain is asked
only where none is kept. Whoever gets the file needs nothing else to
check it; the page index.html in it is for reading and printing.

The proof does not need content that is withheld with --redact:
` + strings.Join(kinds, "\n"),
		Example: "  emet evidence create 1a2b3c… -o deal.dossier\n  emet evidence create 1a2b3c… --redact stdout,stderr,env -o deal.dossier",
		RunE:    provingLog(runEvidenceCreate),
	}
	f := cmd.Flags()
	f.StringP("output", "o", "", "file to write (default <beginning of the id>.dossier), - = standard output")
	f.String("side", "", "R or P, when this node is both parties")
	f.StringSlice("redact", nil, "what to withhold")
	f.Bool("no-chain", false, "ask no chain for proofs of payments that are not kept")
	return cmd
}

func runEvidenceCreate(cmd *cobra.Command, args []string, r *node.Reading, l *ledger.Reader) error {
	id, err := agreementLike(cmd.Context(), r, args[0])
	if err != nil {
		return err
	}
	c, err := configOf(cmd, nil)
	if err != nil {
		return err
	}
	f := cmd.Flags()
	side, _ := f.GetString("side")
	redact, _ := f.GetStringSlice("redact")
	if side != "" && side != "R" && side != "P" {
		return usageError{fmt.Errorf("--side %q: want R or P", side)}
	}
	source := dossier.Source{Log: r.Log, Ledger: l, Entry: r.Store.Entry, EventKey: r.Secrets.Vault.EventKey}
	source.Kept = r.Blobs.Open
	source.Sign = ownerSigns(cmd.Context(), c, r, l)
	if none, _ := f.GetBool("no-chain"); !none {
		ask, done, err := node.Inclusion(chainURLs(c))
		if err != nil {
			return err
		}
		defer done()
		source.Inclusion = ask
	}
	built, err := dossier.Build(cmd.Context(), source, dossier.Wish{Agreement: id, Side: identity.Side(side), Redact: redact})
	switch {
	case errors.Is(err, dossier.ErrNoAgreement):
		return codedError{err, exitNotFound}
	case errors.Is(err, dossier.ErrBothSides), errors.Is(err, dossier.ErrRedaction):
		return usageError{err}
	case err != nil:
		return err
	}
	b, err := built.Encode()
	if err != nil {
		return err
	}
	return writeDossier(cmd, built, b)
}

// ownerSigns signs with the key of the log, if it is here: a copy of a log may
// come without.
func ownerSigns(ctx context.Context, c *Config, r *node.Reading, l *ledger.Reader) func([]byte) ([]byte, error) {
	if _, err := os.Stat(c.Dir("secrets", "log.key")); err != nil {
		return nil
	}
	key, err := r.Secrets.LogKey()
	if err != nil {
		return nil
	}
	under, err := l.Checkpoint(ctx)
	if err != nil {
		return nil
	}
	public, _ := key.Public().(ed25519.PublicKey)
	if _, err := verify.Checkpoint(under.Note, verify.Key{Name: under.Origin, Public: public}); err != nil {
		return nil
	}
	return signsWith(key)
}

func signsWith(key crypto.Signer) func([]byte) ([]byte, error) {
	return func(text []byte) ([]byte, error) { return key.Sign(nil, text, crypto.Hash(0)) }
}

func writeDossier(cmd *cobra.Command, built dossier.Built, b []byte) error {
	name, _ := cmd.Flags().GetString("output")
	if name == "-" {
		_, err := cmd.OutOrStdout().Write(b)
		return err
	}
	if name == "" {
		name = built.Agreement[:12] + ".dossier"
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s: %d events, %d transfers, %d cosigned checkpoints, %d bytes\n",
		name, len(built.Events), len(built.Payments), len(built.Cosigned), len(b))
	for _, lack := range built.Lacks {
		fmt.Fprintf(cmd.ErrOrStderr(), "not in it: %s\n", lack)
	}
	return nil
}

// agreementLike finds an agreement by its id or the beginning of one.
func agreementLike(ctx context.Context, r *node.Reading, text string) (string, error) {
	found := ""
	for _, side := range []string{"R", "P"} {
		prefix := "agreement-" + side + "-"
		for e, err := range r.Store.ReadAll(ctx, 0, es.Forward, es.Filter{StreamPrefixes: []string{prefix + text}}, 0) {
			if err != nil {
				return "", err
			}
			id := strings.TrimPrefix(string(e.Stream), prefix)
			if found != "" && found != id {
				return "", usageError{fmt.Errorf("%q is the beginning of several agreements; give more of it", text)}
			}
			found = id
		}
	}
	if found == "" {
		return "", codedError{fmt.Errorf("%w: %s (emet agreement list shows all)", dossier.ErrNoAgreement, text), exitNotFound}
	}
	return found, nil
}

func newEvidenceVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify <file|->", Short: "Check what a dossier proves, from the file alone", Args: cobra.ExactArgs(1),
		Long: `verify answers every claim of a dossier: ✓ proved, ✗ disproved, – missing. It
asks no node, no network and no configuration, and believes only whom you name:
the identities of the parties, the key of a log, and blocks that you looked up.
Two verifiers that share no code must agree.

The exit code is 0 when everything is proved, 6 when something is disproved and
7 when nothing is disproved but something is missing.`,
		Example: "  emet evidence verify deal.dossier --identity 0x… --identity 0x…\n  emet evidence verify deal.dossier --key \"$(emet store checkpoint --key)\" --json",
		RunE:    runEvidenceVerify,
	}
	trustFlags(cmd)
	jsonFlag(cmd)
	return cmd
}

func trustFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSlice("identity", nil, "node id that you know to be a party (again for the other one)")
	f.StringSlice("key", nil, "verifier key of a log, <origin>+<hash>+<base64>")
	f.StringSlice("block", nil, "hash of a block that you know to be in its chain")
}

// believed is what the flags of a command say is to be believed.
func believed(cmd *cobra.Command) (t dossier.Trust, err error) {
	f := cmd.Flags()
	ids, _ := f.GetStringSlice("identity")
	keys, _ := f.GetStringSlice("key")
	blocks, _ := f.GetStringSlice("block")
	if len(ids)+len(keys) == 0 {
		return t, usageError{errors.New("say whom you trust: --identity <node id> or --key <verifier key>")}
	}
	for _, text := range ids {
		id, err := identity.ParseNodeID(text)
		if err != nil {
			return t, usageError{fmt.Errorf("--identity: %w", err)}
		}
		t.Identities = append(t.Identities, id)
	}
	for _, text := range keys {
		key, err := verify.ParseKey(text)
		if err != nil {
			return t, usageError{fmt.Errorf("--key: %w", err)}
		}
		t.Keys = append(t.Keys, key)
	}
	for _, text := range blocks {
		b, err := hex.DecodeString(strings.TrimPrefix(text, "0x"))
		if err != nil || len(b) != 32 {
			return t, usageError{fmt.Errorf("--block %q: want 0x and 64 hexadecimal digits", text)}
		}
		t.Blocks = append(t.Blocks, [32]byte(b))
	}
	return t, nil
}

// readDossier reads a file or standard input, no more than a dossier may weigh.
func readDossier(cmd *cobra.Command, name string) ([]byte, error) {
	in := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close() //nolint:errcheck // only read
		in = f
	}
	return io.ReadAll(io.LimitReader(in, dossier.MaxBytes+1))
}

func runEvidenceVerify(cmd *cobra.Command, args []string) error {
	trust, err := believed(cmd)
	if err != nil {
		return err
	}
	b, err := readDossier(cmd, args[0])
	if err != nil {
		return err
	}
	report := dossier.Verify(b, trust)
	if err := secondOpinion(b, trust, report); err != nil {
		return err
	}
	if asksJSON(cmd) {
		if err := printJSON(cmd.OutOrStdout(), struct {
			dossier.Report
			Page    bool            `json:"page"` // it is the one of this content
			Verdict dossier.Verdict `json:"verdict"`
		}{report, dossier.Page(b), report.Verdict()}); err != nil {
			return err
		}
	} else {
		sayReport(cmd.OutOrStdout(), args[0], report, dossier.Page(b))
	}
	return verdictCode(report.Verdict())
}

// secondOpinion asks the other verifier. That the two disagree is a mistake in
// one of them, and nothing that either says counts.
func secondOpinion(b []byte, t dossier.Trust, first dossier.Report) error {
	trust := verifier.Trust{Blocks: t.Blocks}
	for _, id := range t.Identities {
		trust.Identities = append(trust.Identities, string(id))
	}
	for _, k := range t.Keys {
		trust.Keys = append(trust.Keys, k.String())
	}
	second, err := verifier.Verify(b, trust)
	if err != nil {
		return err
	}
	for i, c := range first.Claims {
		if s := second[i]; s.Claim != c.Claim || s.Verdict != string(c.Verdict) {
			return codedError{fmt.Errorf("the two verifiers disagree about %s: %s (%s) and %s (%s); please report it, and do not rely on either",
				c.Claim, c.Verdict, c.Says, s.Verdict, s.Why), exitDisproved}
		}
	}
	return nil
}

func verdictCode(v dossier.Verdict) error {
	switch v {
	case dossier.Disproved:
		return exitCode(exitDisproved)
	case dossier.Missing:
		return exitCode(exitMissing)
	case dossier.Proved:
	}
	return nil
}

var marks = map[dossier.Verdict]string{dossier.Proved: "✓", dossier.Disproved: "✗", dossier.Missing: "–"}

func sayReport(w io.Writer, name string, r dossier.Report, page bool) {
	if r.Agreement != "" {
		fmt.Fprintf(w, "agreement %s\nlog       %s\n\n", r.Agreement, printable(r.Log))
	}
	count := map[dossier.Verdict]int{}
	for _, c := range r.Claims {
		count[c.Verdict]++
		fmt.Fprintf(w, "%s %-19s %s\n", marks[c.Verdict], c.Claim, printable(c.Says))
	}
	what := map[string]int{}
	for _, h := range r.Withheld {
		what[h.Type+" "+h.What]++
	}
	for _, k := range slices.Sorted(maps.Keys(what)) {
		fmt.Fprintf(w, "  withheld: %d × %s\n", what[k], printable(k))
	}
	fmt.Fprintf(w, "\n%s: %d proved, %d disproved, %d missing\n", name, count[dossier.Proved], count[dossier.Disproved], count[dossier.Missing])
	if !page && r.Agreement != "" {
		fmt.Fprintln(w, "The page index.html in the file was not made by this version of emet from this content: do not rely on it.")
	}
}
