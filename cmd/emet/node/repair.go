package node

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/emet-node/emet/adapters/ledger"
	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
	domain "github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/eventschemas"
)

// Repaired is what a repair did, or would do.
type Repaired struct {
	segment.Repair
	// Kept is where the damaged files are, "" = nothing was changed.
	Kept string
	// NewLogID is set when events were given up: what is left is a new log.
	NewLogID string
}

// RepairOptions of [RepairLog].
type RepairOptions struct {
	From       string // a backup or a copy of a store, "" = none
	Apply      bool   // do it; otherwise it is only said what would be done
	AcceptLoss bool   // give up what is lost and everything after it
}

// RepairLog repairs the segment log of a data directory on which no node runs.
// Without loss it stays the same log. When events are lost, and that is accepted,
// what is before them becomes a new log that names the old one, as with a restored
// backup; the whole damaged store is kept. Either way the log says so itself,
// with $audit.repaired. It fails with [*segment.LossError] when events would
// be lost and that is not accepted.
func RepairLog(ctx context.Context, o Options, ro RepairOptions) (r Repaired, err error) {
	dir := filepath.Join(o.Dir, "store")
	so := segment.RepairOptions{}
	if ro.From != "" {
		if so.Copy, err = segment.OpenCopy(ro.From); err != nil {
			return r, err
		}
		defer so.Copy.Close() //nolint:errcheck // it was for reading
	}
	signed, err := ledger.Signed(vfs.Files{FS: vfs.OS{}}, dir)
	if err != nil && !errors.Is(err, domain.ErrUnsigned) {
		return r, err
	}
	so.AtLeast = signed.Size
	if r.Repair, err = segment.PlanRepair(dir, so); err != nil || !ro.Apply || !r.Needed() {
		return r, err
	}
	now := time.Now().UTC()
	if len(r.Lost) > 0 && ro.AcceptLoss {
		return r, r.giveUp(ctx, o, so, now)
	}
	if r.Repair, r.Kept, err = segment.DoRepair(ctx, dir, so, now); err != nil {
		return r, err
	}
	detail := "the damaged files are in store/" + r.Kept
	r.Kept = filepath.Join(dir, filepath.FromSlash(r.Kept))
	var parts []string
	for _, b := range r.Rebuild {
		from := "from what was whole in it"
		if len(b.Copied) > 0 {
			from = fmt.Sprintf("positions %v from a copy", spans(b.Copied))
		}
		parts = append(parts, b.File+": "+from)
	}
	return r, recordRepair(ctx, dir, o.Version, now, "made anew: "+strings.Join(parts, "; ")+"; no event was lost; "+detail, signed)
}

func spans(all []segment.Span) string {
	var out []string
	for _, s := range all {
		out = append(out, s.String())
	}
	return strings.Join(out, ", ")
}

// recordRepair writes what was done into the log, which must be what was signed.
func recordRepair(ctx context.Context, dir, version string, now time.Time, detail string, signed domain.Checkpoint) (err error) {
	s, err := segment.Open(dir, segment.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if signed.Size > 0 {
		if _, err := ledger.OpenReader(ctx, s, vfs.Files{FS: vfs.OS{}}, dir, s.LogID(), signed); err != nil {
			return err
		}
	}
	id := s.LogID()
	l := &es.Log{Store: s, Codec: eventschemas.New(), Build: version}
	_, err = l.Append(ctx, es.Meta{Key: "audit/repaired/" + now.Format(time.RFC3339Nano), Actor: es.ActorOperator, Grade: es.GradeSelf}, nil, es.Facts{
		Stream: domain.AuditStream, Expected: es.Any, Facts: []any{domain.Repaired{Detail: detail, LogID: hex.EncodeToString(id[:])}},
	})
	return err
}

// giveUp makes a new log of what is before the first lost event.
func (r *Repaired) giveUp(ctx context.Context, o Options, so segment.RepairOptions, now time.Time) (err error) {
	store, rest := filepath.Join(o.Dir, "store"), filepath.Join(o.Dir, "store.salvaged")
	lock, err := lockDir(ctx, store)
	if err != nil {
		return err
	}
	err = os.RemoveAll(rest) // of an attempt that was interrupted
	if err == nil {
		_, err = segment.Salvage(ctx, store, so, rest, now)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(rest)) }()
	if err = errors.Join(err, lock.Close()); err != nil {
		return err
	}
	r.Kept = filepath.Join(o.Dir, damagedDir) + now.Format("20060102T150405Z")
	if err = os.Rename(store, r.Kept); err != nil {
		return err
	}
	revived, err := RestoreLog(ctx, rest, o, nil)
	if err != nil {
		return errors.Join(err, os.Rename(r.Kept, store))
	}
	r.NewLogID = hex.EncodeToString(revived.NewLogID[:])
	detail := fmt.Sprintf("positions %s of log %s were lost", spans(r.Lost), r.LogID)
	if len(r.Stranded) > 0 {
		detail += ", positions " + spans(r.Stranded) + " could not follow"
	}
	return recordRepair(ctx, store, o.Version, now, detail+"; the damaged store is in "+filepath.Base(r.Kept), domain.Checkpoint{})
}
