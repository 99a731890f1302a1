package segment

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/emet-node/emet/adapters/store/archive"
	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

const (
	repairDir = "repair"  // where segments are made anew
	keptDir   = "damaged" // where damaged files are kept
)

// LossError says that a repair would lose events.
type LossError struct{ Repair }

func (e *LossError) Error() string {
	return fmt.Sprintf("positions %v are neither in the log nor in the copy, and %v behind them cannot stay", e.Lost, e.Stranded)
}

func (s Span) String() string {
	if s.First == s.Last {
		return fmt.Sprint(uint64(s.First))
	}
	return fmt.Sprintf("%d to %d", uint64(s.First), uint64(s.Last))
}

// DoRepair makes the damaged segments of a store anew, from what is whole in
// them and from a copy. The log stays the same log: every frame continues the chain,
// and the whole is verified before anything is replaced. Damaged files are kept
// in damaged/<time>, which is returned. It fails with [es.ErrLocked] when a
// process has the store open, and with [*LossError], changing nothing, when events would be lost.
func DoRepair(ctx context.Context, dir string, o RepairOptions, now time.Time) (plan Repair, kept string, err error) {
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	lock, err := o.FS.Lock(path.Join(dir, lockName))
	if err != nil {
		return plan, "", locked(dir, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	r, err := planRepair(dir, o)
	if err != nil {
		return plan, "", fmt.Errorf("repair store %s: %w", dir, err)
	}
	defer closeBroken(r.segments)
	switch {
	case len(r.plan.Lost) > 0:
		return r.plan, "", &LossError{r.plan}
	case !r.plan.Needed():
		return r.plan, "", nil
	}
	vfs.Files{FS: o.FS}.Sweep(path.Join(dir, repairDir)) // of a repair that was interrupted
	if err = r.rebuild(ctx, now); err == nil {
		kept, err = r.replace(now)
	}
	if err != nil {
		err = fmt.Errorf("repair store %s: %w", dir, err)
	}
	return r.plan, kept, err
}

// building is a segment as it is made anew.
type building struct {
	header
	b     []byte
	next  es.Position
	chain es.Hash
}

func (r *repairer) anew(a *assembly, now time.Time) *building {
	h := header{LogID: r.logID, First: a.next, Salt: newSalt(), Chain: a.chain, Root: a.tree.Root(), Created: now.UnixNano()}
	return &building{header: h, b: h.encode(), next: h.First, chain: a.chain}
}

// empties adds frames without events.
func (n *building) empties(count int) {
	for range count {
		n.chain = link(n.chain, nil)
		n.b = appendFrame(n.b, &n.Salt, frame{First: n.next, Watermark: n.First, Chain: n.chain})
	}
}

func (n *building) add(s step) {
	n.empties(s.empty)
	n.b = appendFrame(n.b, &n.Salt, frame{First: s.f.First, Count: s.f.Count, Watermark: n.First, Chain: s.f.Chain, Events: s.f.Events})
	n.next, n.chain = s.f.First+es.Position(s.f.Count), s.f.Chain
}

// segmentsAnew hands out the wanted segments one by one, in order. One that
// would grow too large, since files after it are missing, becomes several.
func (r *repairer) segmentsAnew(ctx context.Context, now time.Time, wanted func(k int) bool, out func(n *building) error) error {
	var n *building
	flush := func(trailing int) error {
		if n == nil {
			return nil
		}
		n.empties(trailing)
		done := n
		n = nil
		return out(done)
	}
	_, _, err := r.assemble(func(s step) error {
		if s.leaves == nil {
			if err := errors.Join(flush(s.empty), ctx.Err()); err != nil {
				return err
			}
			if wanted(s.k) {
				n = r.anew(s.a, now)
			}
			return nil
		}
		if n == nil {
			return nil
		}
		if len(n.b) > defaultSegment {
			if err := flush(0); err != nil {
				return err
			}
			n = r.anew(s.a, now)
		}
		n.add(s)
		return nil
	})
	if err != nil {
		return err
	}
	return flush(0)
}

// rebuild writes the new segments beside the log and verifies the whole as it
// will be.
func (r *repairer) rebuild(ctx context.Context, now time.Time) error {
	if err := r.FS.MkdirAll(path.Join(r.dir, repairDir)); err != nil {
		return err
	}
	as := overlay{FS: r.FS, at: map[string]string{}}
	err := r.segmentsAnew(ctx, now, func(k int) bool { return !r.owned[k] }, func(n *building) error {
		name := segmentName(n.First)
		r.made = append(r.made, path.Join(segDir, name))
		as.at[path.Join(r.dir, segDir, name)] = path.Join(r.dir, repairDir, name)
		return r.write(path.Join(r.dir, repairDir, name), n, uint64(n.next) == r.plan.Events)
	})
	if err != nil {
		return err
	}
	if r.plan.identity {
		if err := vfs.WriteFile(r.FS, path.Join(r.dir, repairDir), storeName, r.identityFile(now)); err != nil {
			return err
		}
		as.at[path.Join(r.dir, storeName)] = path.Join(r.dir, repairDir, storeName)
	}
	report, err := VerifyFS(as, r.dir)
	switch {
	case err != nil:
		return err
	case len(report.Damage) > 0:
		return fmt.Errorf("it would not be whole afterwards: %w", &report.Damage[0])
	case report.Events != r.plan.Events || report.Root != r.plan.Root:
		return fmt.Errorf("%w: it would have %d events afterwards, not %d", es.ErrCorrupt, report.Events, r.plan.Events)
	}
	return nil
}

func (r *repairer) identityFile(now time.Time) []byte {
	b, _ := json.Marshal(identity{Format: formatVersion, LogID: hex.EncodeToString(r.logID[:]), Created: now.UTC()}) //nolint:errchkjson // it can
	return append(b, '\n')
}

// write makes a segment file. The last one says that all of it is durable once
// it is.
func (r *repairer) write(name string, n *building, last bool) error {
	size := roundUp(int64(len(n.b)))
	if last {
		size = roundUp(int64(len(n.b)) + 4*frameHead)
	}
	f, err := fill(r.FS, name, size)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(n.b, 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil && last && n.next > n.First {
		end := int64(len(n.b))
		b := appendFrame(n.b, &n.Salt, frame{First: n.next, Watermark: n.next, Chain: link(n.chain, nil)})
		if _, err = f.WriteAt(b[end:], end); err == nil {
			err = f.Sync()
		}
	}
	return errors.Join(err, f.Close())
}

// replace keeps the damaged files and puts the new ones in their place.
func (r *repairer) replace(now time.Time) (kept string, err error) {
	kept = path.Join(keptDir, now.UTC().Format("20060102T150405Z"))
	names := slices.Clone(r.made)
	if r.plan.identity {
		names = append(names, storeName)
	}
	if err := r.FS.MkdirAll(path.Join(r.dir, kept, segDir)); err != nil {
		return "", err
	}
	for _, n := range names {
		if err := r.keep(n, path.Join(r.dir, kept, path.Dir(n)), path.Base(n)); err != nil {
			return "", err
		}
	}
	for _, dir := range []string{path.Join(r.dir, kept), path.Join(r.dir, keptDir), r.dir} {
		if err := r.FS.SyncDir(dir); err != nil {
			return "", err
		}
	}
	for _, n := range names {
		if err := r.FS.Rename(path.Join(r.dir, repairDir, path.Base(n)), path.Join(r.dir, n)); err != nil {
			return "", err
		}
	}
	for _, s := range r.segments {
		if slices.Contains(names, s.name) {
			_ = r.FS.Remove(path.Join(r.dir, segDir, indexName(s.first))) // it leads elsewhere; one that does not fit is made anew anyway
		}
	}
	vfs.Files{FS: r.FS}.Sweep(path.Join(r.dir, repairDir))
	return kept, errors.Join(r.FS.SyncDir(path.Join(r.dir, segDir)), r.FS.SyncDir(r.dir))
}

// keep copies a damaged file, if it is there.
func (r *repairer) keep(name, dir, as string) error {
	b, err := vfs.ReadFile(r.FS, path.Join(r.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return vfs.WriteFile(r.FS, dir, as, b)
}

// overlay is a file system in which some files are elsewhere.
type overlay struct {
	vfs.FS
	at map[string]string
}

func (o overlay) Open(name string) (vfs.File, error) {
	if to, ok := o.at[name]; ok {
		name = to
	}
	return o.FS.Open(name)
}

func (o overlay) ReadDir(dir string) ([]string, error) {
	names, err := o.FS.ReadDir(dir)
	for name := range o.at {
		if path.Dir(name) == path.Clean(dir) && !slices.Contains(names, path.Base(name)) {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names, err
}

// Salvage writes all events before the first that is lost to target, a directory that
// is not there yet, as a backup that [Restore] takes: what can be had of a log
// when no copy has the rest. The checkpoint is left out when it covers more.
func Salvage(ctx context.Context, dir string, o RepairOptions, target string, now time.Time) (plan Repair, err error) {
	r, err := planRepair(dir, o)
	if err != nil {
		return plan, fmt.Errorf("salvage store %s: %w", dir, err)
	}
	defer closeBroken(r.segments)
	staged, err := os.MkdirTemp(filepath.Dir(filepath.Clean(target)), "salvage-")
	if err != nil {
		return r.plan, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staged)) }()
	var parts []archive.Part
	err = r.segmentsAnew(ctx, now, func(int) bool { return true }, func(n *building) error {
		at := filepath.Join(staged, segmentName(n.First))
		size := roundUp(int64(len(n.b)))
		if err := os.WriteFile(at, append(n.b, make([]byte, size-int64(len(n.b)))...), 0o600); err != nil {
			return err
		}
		p, err := archive.File(path.Join(segDir, segmentName(n.First)), at)
		parts = append(parts, p)
		return err
	})
	if err != nil {
		return r.plan, err
	}
	blobs, err := archive.BlobParts(dir)
	if err == nil && o.AtLeast > 0 && o.AtLeast <= r.plan.Events {
		var p archive.Part
		p, err = archive.File(archive.CheckpointName, filepath.Join(dir, archive.CheckpointName))
		blobs = append(blobs, p)
	}
	if err != nil {
		return r.plan, err
	}
	m := archive.Manifest{Engine: "segment", Events: r.plan.Events, LogID: r.plan.LogID, Root: r.plan.Root.String()}
	_, err = archive.Write(ctx, target+"/", m, append(parts, blobs...), now, nil)
	return r.plan, err
}
