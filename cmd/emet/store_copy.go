package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/emet-node/emet/adapters/store/archive"
	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
)

func newBackupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "backup", Short: "Copy the log to a directory or a tar file", Args: cobra.NoArgs,
		Long: `backup copies the log, the large contents beside it and the newest checkpoint. A
node may run meanwhile: the copy is what was there when the command began. Every
event is checked while it is copied, so that damage is found now and not when
the copy is needed. How far webhooks were told is in it. Views, the offer book and
work directories are not: they are made again, or are of the moment.

Keys and secrets are in it only with --with-secrets: identities (as encrypted as their
key files are), the keys of sealed facts, app-keys, webhooks, and the keys of host and
log. Whoever has such a backup can act as this node, and two nodes with one identity
harm each other. Without them, keep the secrets directory by other means; emet id export
writes the key file of one identity.`,
		Example: "  emet store backup -o emet.tar\n  emet store backup -o /mnt/backups/today/ --json\n  emet store backup -o safe.tar --with-secrets",
		RunE:    runBackup,
	}
	cmd.Flags().StringP("output", "o", "", "a tar file, or a directory if it is one or ends with a slash (required)")
	cmd.Flags().Bool("with-secrets", false, "put keys and secrets into it too")
	jsonFlag(cmd)
	return cmd
}

func newRestoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "restore BACKUP", Short: "Make a log from a backup", Args: cobra.ExactArgs(1),
		Long: `restore makes the log of a data directory that has none from a backup. It is a
new log with an id of its own that begins with all events of the old one and
names it in its next event: what the old log said after the backup was taken
is not contradicted in its name. Everything is checked, also against
the last checkpoint that the old log had signed. How far webhooks were told is
restored too, and keys and secrets if the backup has them and the directory has none.`,
		Example: "  emet store restore emet.tar -d ./node",
		RunE:    runRestore,
	}
	jsonFlag(cmd)
	return cmd
}

func newExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export", Short: "Write all events as JSON lines", Args: cobra.NoArgs,
		Long: `export writes one JSON object a line for each event of the log. data and meta
are the event's own JSON; data that is sealed, or no JSON, is in dataBase64. A node may run meanwhile.`,
		Example: "  emet store export -o events.jsonl\n  emet store export --from 1000 | jq .type",
		RunE:    readingLog(runExport),
	}
	cmd.Flags().StringP("output", "o", "", "the file to write (default standard output)")
	cmd.Flags().Uint64("from", 0, "the first position")
	return cmd
}

type backedUp struct {
	Target string `json:"target"`
	archive.Manifest
}

func runBackup(cmd *cobra.Command, _ []string) error {
	target, _ := cmd.Flags().GetString("output")
	if target == "" {
		return usageError{errors.New("-o is missing: say where the backup goes, for instance -o emet.tar")}
	}
	c, err := configOf(cmd, nil)
	if err != nil {
		return err
	}
	if !node.HasData(c.Dir()) {
		return explain(fmt.Errorf("%w: %s", node.ErrNoData, c.Dir()))
	}
	withSecrets, _ := cmd.Flags().GetBool("with-secrets")
	progress, done := progressBar(cmd, "backup")
	m, err := node.BackupLog(cmd.Context(), node.Options{Dir: c.Dir(), Store: c.Store()}, target, withSecrets, progress)
	done()
	if err != nil {
		return explain(err)
	}
	if asksJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), backedUp{target, m})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %d events of log %s, %d bytes\nroot %s\n", target, m.Events, m.LogID, m.Bytes, m.Root)
	if m.Secrets {
		fmt.Fprintln(cmd.OutOrStdout(), "keys and secrets are in it: whoever has it can act as this node")
	}
	return nil
}

type restored struct {
	Dir         string `json:"dir"`
	Epoch       int64  `json:"epoch"`
	Events      uint64 `json:"events"` // of the old log
	LogID       string `json:"logId"`
	Predecessor string `json:"predecessor"` // log id
	Root        string `json:"root"`        // of the old log's tree
	Signed      uint64 `json:"signed"`      // how many of the events its last checkpoint covered
}

func runRestore(cmd *cobra.Command, args []string) error {
	c, err := configOf(cmd, nil)
	if err != nil {
		return err
	}
	progress, done := progressBar(cmd, "restore")
	r, err := node.RestoreLog(cmd.Context(), args[0], node.Options{Dir: c.Dir(), Version: version}, progress)
	done()
	if errors.Is(err, node.ErrHasData) {
		return fmt.Errorf("%w: move it away, or restore to another directory with -d", err)
	}
	if err != nil {
		return explain(err)
	}
	out := restored{c.Dir("store"), r.Epoch, r.Events, hex.EncodeToString(r.NewLogID[:]), r.LogID, r.Root, r.Signed}
	if asksJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), out)
	}
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "%s: %d events are as they were written\n", out.Dir, out.Events)
	fmt.Fprintf(w, "log %s, epoch %d, continues %s\n", out.LogID, out.Epoch, out.Predecessor)
	if out.Signed > 0 {
		fmt.Fprintf(w, "the old log's last checkpoint covers %d of them and holds\n", out.Signed)
	}
	return nil
}

type exported struct {
	Position   uint64          `json:"position"`
	Stream     string          `json:"stream"`
	Revision   int64           `json:"revision"`
	ID         string          `json:"id"`
	Type       string          `json:"type"`
	Recorded   time.Time       `json:"recorded"`
	Subject    string          `json:"subject,omitempty"`
	Data       json.RawMessage `json:"data,omitempty"`
	DataBase64 []byte          `json:"dataBase64,omitempty"`
	Meta       json.RawMessage `json:"meta,omitempty"`
	Leaf       string          `json:"leaf"`
}

func runExport(cmd *cobra.Command, _ []string, r *node.Reading) (err error) {
	from, _ := cmd.Flags().GetUint64("from")
	name, _ := cmd.Flags().GetString("output")
	w := cmd.OutOrStdout()
	if name != "" {
		f, oerr := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if oerr != nil {
			return oerr
		}
		defer func() { err = errors.Join(err, f.Close()) }() // after the buffer is written
		w = f
	}
	b := bufio.NewWriterSize(w, 1<<16)
	defer func() { err = errors.Join(err, b.Flush()) }()
	head, err := r.Store.Head(cmd.Context())
	if err != nil {
		return err
	}
	progress, done := progressBar(cmd, "export")
	defer done()
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	for e, err := range r.Store.ReadAll(cmd.Context(), es.Position(from), es.Forward, es.Filter{}, 0) {
		if err != nil {
			return err
		}
		if err := enc.Encode(exportedEvent(e)); err != nil {
			return err
		}
		if e.Position%1024 == 0 {
			progress(int64(e.Position), int64(head))
		}
	}
	return nil
}

func exportedEvent(e es.Event) exported {
	x := exported{
		Position: uint64(e.Position), Stream: string(e.Stream), Revision: int64(e.Revision), ID: e.ID.String(), Type: e.Type,
		Recorded: e.Recorded, Subject: e.Subject, Leaf: e.Leaf.String(),
	}
	if e.Subject == "" && json.Valid(e.Data) {
		x.Data = e.Data
	} else {
		x.DataBase64 = e.Data
	}
	if json.Valid(e.Meta) {
		x.Meta = e.Meta
	}
	return x
}

// progressBar shows people how far a long work is, on standard error.
func progressBar(cmd *cobra.Command, name string) (progress func(done, total int64), end func()) {
	f, ok := cmd.ErrOrStderr().(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func(int64, int64) {}, func() {}
	}
	p := mpb.New(mpb.WithOutput(f), mpb.WithWidth(48))
	bar := p.AddBar(0, mpb.PrependDecorators(decor.Name(name+" ")), mpb.AppendDecorators(decor.Percentage()), mpb.BarRemoveOnComplete())
	return func(done, total int64) {
			bar.SetTotal(total, false)
			bar.SetCurrent(done)
		}, func() {
			bar.SetTotal(-1, true)
			p.Wait()
		}
}
