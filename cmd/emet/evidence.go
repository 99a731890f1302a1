package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/adapters/ledger"
	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	proofs "github.com/emet-node/emet/domain/ledger"
)

// newCheckpointCommand makes "emet store checkpoint".
func newCheckpointCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "checkpoint", Short: "Show the newest signed checkpoint of the log", Args: cobra.NoArgs,
		Long: `checkpoint prints the newest signed note by which the owner of the log stands
by its events: how many there are and the root of the tree over them. It was
held against the log before it is printed. A node that runs signs every second
in which the log grew, and when it stops.`,
		Example: "  emet store checkpoint\n  emet store checkpoint --json -d ./node\n  emet store checkpoint --key",
		RunE:    provingLog(runCheckpoint),
	}
	jsonFlag(cmd)
	cmd.Flags().Bool("key", false, "print the key that others check it with")
	return cmd
}

// newProofCommand makes "emet log proof".
func newProofCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "proof <position>", Short: "Write the proof that the log holds one event", Args: cobra.ExactArgs(1),
		Long: `proof writes a file with which others can check one event without the log and
without this node: the event, its place in the tree, and the signed checkpoint.
The file shows that event's content and nothing of the others.`,
		Example: "  emet log proof 42 -o event.json\n  emet log proof 42 | emet log verify - --identity 0x…",
		RunE:    provingLog(runProof),
	}
	cmd.Flags().StringP("output", "o", "-", "file to write, - = standard output")
	return cmd
}

// newProofVerifyCommand makes "emet log verify".
func newProofVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify <file|->", Short: "Check the proof of one event", Args: cobra.ExactArgs(1),
		Long: `verify checks a file that emet log proof wrote, from the file alone. Say whom
you trust: the identity in whose name the log is kept, or the key of the log.
The exit code is 1 when the file proves nothing.`,
		Example: "  emet log verify event.json --identity 0x…\n  emet log verify event.json --key \"$(emet store checkpoint --key)\"",
		RunE:    runProofVerify,
	}
	cmd.Flags().String("identity", "", "node id of the owner of the log, who vouches for its key")
	cmd.Flags().String("key", "", "verifier key of the log, <origin>+<hash>+<base64>")
	jsonFlag(cmd)
	return cmd
}

// provingLog opens the log and its newest checkpoint, beside a node or without.
func provingLog(ask func(cmd *cobra.Command, args []string, r *node.Reading, l *ledger.Reader) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := configOf(cmd, nil)
		if err != nil {
			return err
		}
		if !node.HasData(c.Dir()) {
			return explain(fmt.Errorf("%w: %s", node.ErrNoData, c.Dir()))
		}
		signed, err := ledger.Signed(vfs.Files{FS: vfs.OS{}}, c.Dir("store")) // before the log is opened, which may grow
		if errors.Is(err, proofs.ErrUnsigned) {
			return codedError{fmt.Errorf("%s: %w; emet up signs one", c.Dir("store"), err), exitNotFound}
		}
		if err != nil {
			return explain(err)
		}
		return readingLog(func(cmd *cobra.Command, args []string, r *node.Reading) error {
			id, err := r.LogID(cmd.Context())
			if err != nil {
				return err
			}
			if err := ledger.Undamaged(cmd.Context(), r.Log, c.Dir("store"), signed); err != nil {
				return err
			}
			l, err := ledger.OpenReader(cmd.Context(), r.Store, vfs.Files{FS: vfs.OS{}}, c.Dir("store"), id, signed)
			if err != nil {
				return err
			}
			return ask(cmd, args, r, l)
		})(cmd, args)
	}
}

// attestationOf finds the key that signed a checkpoint among those that the
// log says were vouched for; ok is false when it is none of them.
func attestationOf(cmd *cobra.Command, r *node.Reading, c proofs.Checkpoint) (a verify.Attestation, key verify.Key, ok bool, err error) {
	all, err := ledger.Attestations(cmd.Context(), r.Log)
	if err != nil {
		return a, key, false, err
	}
	for i := len(all.Keys) - 1; i >= 0; i-- {
		k := all.Keys[i]
		public, err := hex.DecodeString(k.PublicKey)
		if err != nil {
			continue
		}
		key = verify.Key{Name: c.Origin, Public: public}
		if _, err := verify.Checkpoint(c.Note, key); err == nil {
			return verify.Attestation{Document: k.Document, Signature: k.Signature}, key, true, nil
		}
	}
	return a, verify.Key{}, false, nil
}

func runCheckpoint(cmd *cobra.Command, _ []string, r *node.Reading, l *ledger.Reader) error {
	c, err := l.Checkpoint(cmd.Context())
	if err != nil {
		return err
	}
	_, key, ok, err := attestationOf(cmd, r, c)
	if err != nil {
		return err
	}
	shown := ""
	if ok {
		shown = key.String()
	}
	if asksKey, _ := cmd.Flags().GetBool("key"); asksKey {
		if !ok {
			return codedError{errors.New("nobody vouches for the log's key yet: its identity is locked; emet id unlock lets it"), exitNotFound}
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), shown)
		return err
	}
	if asksJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), struct {
			Origin string `json:"origin"`
			Size   uint64 `json:"size"`
			Root   string `json:"root"`
			Key    string `json:"key"` // "" = nobody vouches for it yet
			Note   string `json:"note"`
		}{c.Origin, c.Size, c.Root.String(), shown, string(c.Note)})
	}
	_, err = cmd.OutOrStdout().Write(c.Note)
	return err
}

func runProof(cmd *cobra.Command, args []string, r *node.Reading, l *ledger.Reader) error {
	n, err := strconv.ParseUint(args[0], 10, 63)
	if err != nil {
		return usageError{fmt.Errorf("%q is not a position, a whole number from 0 up", args[0])}
	}
	f, err := l.Prove(cmd.Context(), es.Position(n))
	if errors.Is(err, proofs.ErrRange) {
		return codedError{err, exitNotFound}
	}
	if err != nil {
		return err
	}
	c, err := l.Checkpoint(cmd.Context())
	if err != nil {
		return err
	}
	a, _, ok, err := attestationOf(cmd, r, c)
	if err != nil {
		return err
	}
	if ok {
		f.Attestation = &a
	}
	b, err := f.Encode()
	if err != nil {
		return err
	}
	if name, _ := cmd.Flags().GetString("output"); name != "-" {
		return os.WriteFile(name, b, 0o600)
	}
	_, err = cmd.OutOrStdout().Write(b)
	return err
}

// trustOf is what the flags say is to be believed.
func trustOf(cmd *cobra.Command) (t verify.Trust, err error) {
	id, _ := cmd.Flags().GetString("identity")
	key, _ := cmd.Flags().GetString("key")
	if id == "" && key == "" {
		return t, usageError{errors.New("say whom you trust: --identity <node id> or --key <verifier key>")}
	}
	if id != "" {
		if t.Identity, err = identity.ParseNodeID(id); err != nil {
			return t, usageError{fmt.Errorf("--identity: %w", err)}
		}
	}
	if key != "" {
		if t.Key, err = verify.ParseKey(key); err != nil {
			return t, usageError{fmt.Errorf("--key: %w", err)}
		}
	}
	return t, nil
}

func runProofVerify(cmd *cobra.Command, args []string) error {
	trust, err := trustOf(cmd)
	if err != nil {
		return err
	}
	in := cmd.InOrStdin()
	if args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, verify.MaxBytes+1))
	if err != nil {
		return err
	}
	v, err := verify.Check(b, trust)
	if err != nil {
		return fmt.Errorf("%s proves nothing: %w", args[0], err)
	}
	return sayVerdict(cmd, v)
}

func sayVerdict(cmd *cobra.Command, v verify.Verdict) error {
	f, c := v.Fact, v.Checkpoint
	if asksJSON(cmd) {
		data := json.RawMessage(nil)
		if f.Subject == "" && json.Valid(f.Data) {
			data = f.Data
		}
		return printJSON(cmd.OutOrStdout(), struct {
			OK       bool            `json:"ok"`
			Origin   string          `json:"origin"`
			Size     uint64          `json:"size"`
			Root     string          `json:"root"`
			Identity string          `json:"identity"` // who vouches for the key, "" = not said
			Position uint64          `json:"position"`
			Stream   string          `json:"stream"`
			Revision int64           `json:"revision"`
			ID       string          `json:"id"`
			Type     string          `json:"type"`
			Recorded time.Time       `json:"recorded"`
			Subject  string          `json:"subject"`
			Data     json.RawMessage `json:"data,omitempty"` // not when it is sealed
			Meta     json.RawMessage `json:"meta"`
		}{
			true, c.Origin, c.Size, c.Root.String(), string(v.Identity), uint64(f.Position), string(f.Stream), int64(f.Revision),
			f.ID.String(), f.Type, f.Recorded, f.Subject, data, f.Meta,
		})
	}
	w := cmd.OutOrStdout()
	fmt.Fprintln(w, "The log holds this event, and its owner has signed for it.")
	sealed, vouched := "", ""
	if f.Subject != "" {
		sealed = "with the key of " + f.Subject
	}
	if v.Identity != "" {
		vouched = fmt.Sprintf("%s, from %s to %s", v.Identity, v.NotBefore.Format(time.DateOnly), v.NotAfter.Format(time.DateOnly))
	}
	pairs(w, [2]string{"log", c.Origin}, [2]string{"vouched by", vouched}, [2]string{"signed", fmt.Sprintf("%d events, root %s", c.Size, c.Root)},
		[2]string{"position", fmt.Sprint(f.Position)}, [2]string{"recorded", f.Recorded.Format(time.RFC3339Nano) + " by the owner's clock"}, [2]string{"type", f.Type},
		[2]string{"stream", string(f.Stream)}, [2]string{"revision", fmt.Sprint(f.Revision)}, [2]string{"event id", f.ID.String()}, [2]string{"sealed", sealed})
	if f.Subject == "" {
		fmt.Fprintf(w, "\ndata\n%s\n", indented(f.Data))
	}
	_, err := fmt.Fprintf(w, "\nmeta\n%s\n", indented(f.Meta))
	return err
}
