package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
)

type damage struct {
	File          string `json:"file"`
	Offset        int64  `json:"offset"` // bytes
	FirstPosition uint64 `json:"firstPosition"`
	LastPosition  uint64 `json:"lastPosition"`
	What          string `json:"what"`
}

type verified struct {
	OK         bool     `json:"ok"`
	Dir        string   `json:"dir"`
	Events     uint64   `json:"events"`
	Segments   int      `json:"segments"`
	Frames     int      `json:"frames"`
	Bytes      int64    `json:"bytes"`
	Root       string   `json:"root"` // of the tree, "" when there is damage
	Unfinished int64    `json:"unfinishedBytes"`
	Damage     []damage `json:"damage"`
	// WrongIndexes are derived files that may be deleted.
	WrongIndexes []string  `json:"wrongIndexes"`
	Blobs        int       `json:"blobs"` // that were read
	BadBlobs     []badBlob `json:"badBlobs"`
	// Unreadable counts facts of which it is not known which blobs they name.
	Unreadable int `json:"unreadableFacts"`

	mendable bool   // emet store repair is for such a log
	signed   uint64 // events that the newest checkpoint covers, 0 = there is none
}

type badBlob struct {
	SHA256   string  `json:"sha256"`
	File     string  `json:"file"`
	Missing  bool    `json:"missing"`  // else damaged
	Position *uint64 `json:"position"` // of the first fact that names it; null = none that can be read does
	Type     string  `json:"type,omitzero"`
	Stream   string  `json:"stream,omitzero"`
	What     string  `json:"what"`
	Loss     string  `json:"loss"` // what cannot be had without it
}

func runVerify(cmd *cobra.Command, _ []string) error {
	c, err := configOf(cmd, nil)
	if err != nil {
		return err
	}
	if !node.HasData(c.Dir()) {
		return explain(fmt.Errorf("%w: %s", node.ErrNoData, c.Dir()))
	}
	o := node.Options{Dir: c.Dir(), Store: c.Store()}
	v, whole, err := verifyLog(cmd.Context(), o, c.Dir("store"))
	if err == nil && len(v.Damage) == 0 {
		whole, err = v.holdsSigned(cmd.Context(), o)
	}
	if err != nil {
		return err
	}
	found, err := node.VerifyBlobs(cmd.Context(), o, len(v.Damage) == 0)
	if err != nil {
		return err
	}
	v.Blobs, v.Unreadable, v.BadBlobs = found.Blobs, found.Unreadable, []badBlob{}
	for _, b := range found.Bad {
		v.BadBlobs = append(v.BadBlobs, badBlobOf(b))
	}
	v.OK = len(v.Damage)+len(v.BadBlobs) == 0
	if asksJSON(cmd) {
		err = printJSON(cmd.OutOrStdout(), v)
	} else {
		sayVerified(cmd, v, whole)
		sayBlobs(cmd, v)
	}
	if err == nil && !v.OK {
		return exitCode(exitFailed)
	}
	return err
}

// verifyLog looks at the log alone. lines is the damage as people read it.
func verifyLog(ctx context.Context, o node.Options, dir string) (v verified, lines []string, err error) {
	v = verified{Dir: dir, Damage: []damage{}, WrongIndexes: []string{}}
	engine, events, root, err := node.VerifyStore(ctx, o)
	if engine != "segment" {
		v.Events = events
		switch {
		case err == nil:
			v.Root = root.String()
		case errors.Is(err, es.ErrCorrupt): // the engine finds the first event that is not as it was written
			v.Damage, lines = append(v.Damage, damage{What: err.Error()}), append(lines, err.Error())
		default:
			return v, nil, err
		}
		return v, lines, nil
	}
	if err != nil {
		return v, nil, err
	}
	v.mendable = true
	report, err := segment.Verify(dir)
	if err != nil {
		return v, nil, err
	}
	v.Events, v.Segments, v.Frames, v.Bytes, v.Unfinished = report.Events, report.Segments, report.Frames, report.Bytes, report.Unfinished
	v.WrongIndexes = append(v.WrongIndexes, report.WrongIndexes...)
	if len(report.Damage) == 0 {
		v.Root = report.Root.String()
	}
	for _, d := range report.Damage {
		v.Damage = append(v.Damage, damage{d.File, d.Offset, uint64(d.FirstPosition), uint64(d.LastPosition), d.What})
		lines = append(lines, d.Error())
	}
	return v, lines, nil
}

// holdsSigned holds a log that is whole by itself against what was signed of it:
// the files alone cannot tell that their end is gone, or that all of them were
// made anew.
func (v *verified) holdsSigned(ctx context.Context, o node.Options) (lines []string, err error) {
	r, err := node.ReadLogOf(ctx, o)
	if err != nil {
		return nil, err
	}
	v.signed, err = r.HoldsSigned(ctx)
	err = errors.Join(err, r.Close())
	var other *ledger.Rewritten
	d := damage{File: "checkpoint", FirstPosition: 1} // of the file alone
	switch {
	case err == nil:
		return nil, nil
	case errors.As(err, &other) && other.Have < other.Signed:
		d.FirstPosition, d.LastPosition = other.Have, other.Signed-1
	case errors.As(err, &other):
		d.FirstPosition, d.LastPosition = 0, other.Signed-1
	case !errors.Is(err, es.ErrCorrupt):
		return nil, err
	default:
		err, v.mendable = fmt.Errorf("%w; put store/checkpoint back from a backup", err), false
	}
	d.What = err.Error()
	v.Damage, v.Root = append(v.Damage, d), ""
	return []string{d.What}, nil
}

func badBlobOf(b node.BadBlob) badBlob {
	out := badBlob{SHA256: b.SHA256, File: b.File, Missing: b.Missing, What: b.What, Loss: "nothing that is known: no fact that can be read names it"}
	if b.By == nil {
		return out
	}
	at := uint64(b.By.Position)
	out.Position, out.Type, out.Stream = &at, b.By.Type, string(b.By.Stream)
	switch es.FactName(b.By.Type) {
	case "batch.command_output":
		out.Loss = "a part of what a command wrote"
	case "tx.proof_kept", "payment.proof_kept":
		out.Loss = "the kept proof of a payment; emet evidence create asks the chain instead"
	default:
		out.Loss = "what the fact says is there"
	}
	return out
}

func sayVerified(cmd *cobra.Command, v verified, lines []string) {
	for _, l := range lines {
		fmt.Fprintf(cmd.ErrOrStderr(), "damaged: %s\n", printable(l))
	}
	if len(lines) > 0 && !v.mendable {
		return
	}
	if len(lines) > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s; emet store repair tells what can be done\n", v.Dir, numbered(len(lines), "place is damaged", "places are damaged"))
		return
	}
	w := cmd.OutOrStdout()
	segments := ""
	if v.Segments > 0 {
		segments = " in " + numbered(v.Segments, "segment", "segments")
	}
	fmt.Fprintf(w, "%s: %d events%s are as they were written\nroot %s\n", v.Dir, v.Events, segments, v.Root)
	for _, name := range v.WrongIndexes {
		fmt.Fprintf(w, "%s does not say what its segment holds; no event is lost, delete it and it is made anew\n", name)
	}
	if v.signed > 0 {
		fmt.Fprintf(w, "the newest signed checkpoint covers %d of them and holds\n", v.signed)
	}
	if v.Unfinished > 0 {
		fmt.Fprintf(w, "%d bytes at the end belong to an append that was never acknowledged; the next start removes them\n", v.Unfinished)
	}
}

func sayBlobs(cmd *cobra.Command, v verified) {
	for _, b := range v.BadBlobs {
		how, by := "damaged", ""
		if b.Missing {
			how = "missing"
		}
		if b.Position != nil {
			by = fmt.Sprintf(" (named by event %d, %s of %s)", *b.Position, b.Type, b.Stream)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s%s; lost with it: %s\n", how, printable(cmp.Or(b.File, b.SHA256)), printable(by), b.Loss)
	}
	switch {
	case len(v.BadBlobs) > 0:
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %d of %d blobs are damaged or missing; put back the files of the same names from a backup (blobs/ab/cd/… in it)\n",
			v.Dir, len(v.BadBlobs), v.Blobs)
	case v.Blobs > 0:
		fmt.Fprintln(cmd.OutOrStdout(), numbered(v.Blobs, "blob is what its address says", "blobs are what their addresses say"))
	}
	switch {
	case len(v.Damage) > 0:
		fmt.Fprintln(cmd.ErrOrStderr(), "whether blobs are missing can be said when the log is whole")
	case v.Unreadable > 0:
		fmt.Fprintln(cmd.OutOrStdout(), numbered(v.Unreadable, "fact is", "facts are")+" erased or sealed with a key that is not here: which blobs are named there, and whether they are here, cannot be said")
	}
}
