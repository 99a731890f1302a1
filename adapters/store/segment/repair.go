package segment

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

// Rebuilt is a segment that a repair makes anew.
type Rebuilt struct {
	File string `json:"file"`
	// Copied are the events that come from the copy; the others are in the
	// damaged file.
	Copied []Span `json:"copied"`
}

// Repair is what can be done about a damaged store.
type Repair struct {
	LogID  string
	Damage []Damage
	Events uint64  // that are there when it is done
	Root   es.Hash // of the tree over them
	// Rebuild are the segments that are made anew; all others stay as they are.
	Rebuild []Rebuilt
	// Lost are events that the log had and that neither it nor the copy has.
	Lost []Span
	// Stranded are events behind lost ones. They can be read and cannot be in
	// the log any more, as positions, revisions and hashes have no holes.
	Stranded []Span

	identity bool // STORE is made anew too
}

// Needed says whether there is anything to repair.
func (r *Repair) Needed() bool {
	return len(r.Damage) > 0 || len(r.Lost) > 0 || len(r.Rebuild) > 0 || r.identity
}

// RepairOptions of a repair.
type RepairOptions struct {
	FS vfs.FS // nil = that of the machine
	// Copy is where frames may be taken from, nil = nowhere.
	Copy *Copy
	// AtLeast is how many events the log is known to have had: what its last
	// checkpoint covers. The files alone cannot tell when their end is gone.
	AtLeast uint64
}

// repairer works on one store.
type repairer struct {
	RepairOptions
	dir      string
	logID    [16]byte
	segments []broken
	owned    []bool // by number of segment: all of it is as it should be
	plan     Repair
	made     []string // segments that were written beside the log
}

// PlanRepair says what a repair of the store in dir would do. It changes
// nothing and needs no lock.
func PlanRepair(dir string, o RepairOptions) (Repair, error) {
	r, err := planRepair(dir, o)
	if err != nil {
		return Repair{}, fmt.Errorf("repair store %s: %w", dir, err)
	}
	defer closeBroken(r.segments)
	return r.plan, nil
}

func planRepair(dir string, o RepairOptions) (r *repairer, err error) {
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	report, err := VerifyFS(o.FS, dir)
	if errors.Is(err, fs.ErrNotExist) {
		report, err = Report{Damage: []Damage{{File: storeName, What: "is missing", FirstPosition: 1}}}, nil
	}
	if err != nil {
		return nil, err
	}
	r = &repairer{RepairOptions: o, dir: dir}
	if r.segments, err = openBroken(o.FS, dir); err != nil {
		return nil, err
	}
	if err = r.begin(report); err != nil {
		closeBroken(r.segments)
	}
	return r, err
}

func (r *repairer) begin(report Report) error {
	if len(r.segments) == 0 || r.segments[0].first > 0 { // the first is gone
		r.segments = slices.Insert(r.segments, 0, broken{name: path.Join(segDir, segmentName(0))})
	}
	if err := r.identify(); err != nil {
		return err
	}
	if err := r.Copy.of(r.logID); err != nil {
		return err
	}
	r.plan.LogID, r.plan.Damage = hex.EncodeToString(r.logID[:]), report.Damage
	return r.look()
}

// identify finds out which log this is, from its segments if STORE is gone.
func (r *repairer) identify() error {
	id, err := readIdentity(r.FS, r.dir)
	var d *Damage
	switch {
	case err == nil:
		r.logID = id
		return nil
	case !errors.As(err, &d) && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	r.plan.identity = true
	for _, s := range r.segments {
		if s.head && s.file != nil {
			r.logID = s.file.LogID
			return nil
		}
	}
	if r.Copy == nil {
		return fmt.Errorf("%w: nothing says which log this is; give a backup", es.ErrCorrupt)
	}
	r.logID = r.Copy.LogID
	return nil
}

// look makes the plan.
func (r *repairer) look() error {
	r.owned = make([]bool, len(r.segments))
	for i, s := range r.segments {
		r.owned[i] = s.head && s.file != nil && s.file.LogID == r.logID &&
			!slices.ContainsFunc(r.plan.Damage, func(d Damage) bool { return d.File == s.name })
	}
	copied := make([][]Span, len(r.segments))
	a, mine, err := r.assemble(func(s step) error {
		r.owned[s.k] = r.owned[s.k] && s.own && (s.leaves != nil || s.fits)
		if s.leaves != nil && s.from == nil {
			copied[s.k] = extend(copied[s.k], s.f.First, s.f.First+es.Position(s.f.Count)-1)
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.plan.Events, r.plan.Root = a.tree.Size, a.tree.Root()
	if err := r.miss(a, mine); err != nil || len(r.plan.Lost) > 0 {
		return err
	}
	for i, ok := range r.owned {
		if !ok {
			r.plan.Rebuild = append(r.plan.Rebuild, Rebuilt{File: r.segments[i].name, Copied: append([]Span{}, copied[i]...)})
		}
	}
	return nil
}

// miss finds out what the log had and cannot be put together.
func (r *repairer) miss(a *assembly, mine *frames) error {
	var whole []Span
	for !mine.done {
		if mine.from != nil && mine.cur.First >= a.next {
			whole = extend(whole, mine.cur.First, mine.cur.First+es.Position(mine.cur.Count)-1)
		}
		if err := mine.advance(); err != nil {
			return err
		}
	}
	had := max(mine.watermark, r.segments[len(r.segments)-1].first, es.Position(r.AtLeast))
	if had <= a.next {
		return nil // what follows was never acknowledged
	}
	r.plan.Lost = without(a.next, had, whole)
	if len(r.plan.Lost) == 0 { // all is there, and does not follow
		r.plan.Lost = []Span{{a.next, had - 1}}
		return nil
	}
	for _, s := range whole {
		if s.First < had {
			r.plan.Stranded = append(r.plan.Stranded, Span{s.First, min(s.Last, had-1)})
		}
	}
	return nil
}

// step is one thing that an assembly did: it took a frame, or it entered a
// segment (leaves is nil).
type step struct {
	k      int // number of the segment
	a      *assembly
	f      frame
	leaves []es.Hash
	empty  int   // frames without events before f, or at the end of the segment before
	from   *file // where f lies, nil = in the copy
	own    bool  // f lies in segment k
	fits   bool  // the header of segment k continues what is before
}

// assemble tells do every step. The assembly ends where no frame continues it;
// mine then stands there too.
func (r *repairer) assemble(do func(step) error) (a *assembly, mine *frames, err error) {
	a, mine = &assembly{}, &frames{files: readable(r.segments)}
	theirs := &frames{done: true}
	if r.Copy != nil {
		theirs = &frames{files: r.Copy.segments}
	}
	for k := 0; ; {
		if a.next == r.segments[k].first {
			s, err := r.enter(k, a, mine)
			if err == nil {
				err = do(s)
			}
			if err != nil {
				return a, mine, err
			}
		}
		s, ok, err := take(a, mine, theirs)
		if err != nil || !ok {
			return a, mine, err
		}
		s.k, s.own = k, s.from != nil && s.from == r.segments[k].file
		if err := do(s); err != nil {
			return a, mine, err
		}
		a.add(s.f, s.leaves)
		for k+1 < len(r.segments) && r.segments[k+1].first <= a.next {
			k++
		}
	}
}

// take finds the next frame, rather in the log than in the copy.
func take(a *assembly, mine, theirs *frames) (s step, ok bool, err error) {
	s.leaves, s.empty, ok, err = mine.continues(a)
	s.a, s.f, s.from = a, mine.cur, mine.from
	if err != nil || ok {
		return s, ok, err
	}
	s.leaves, s.empty, ok, err = theirs.continues(a)
	s.f, s.from = theirs.cur, nil
	return s, ok, err
}

// enter begins a segment. The chain before it is what its header says, if that
// can be, or else what the segment before ends with.
func (r *repairer) enter(k int, a *assembly, mine *frames) (step, error) {
	out := step{k: k, a: a, own: true}
	s := r.segments[k]
	if s.head && s.file != nil {
		if empty, ok := a.reaches(s.file.Chain); ok {
			out.empty, a.chain = empty, s.file.Chain
			out.fits = s.file.Root == a.tree.Root()
			return out, nil
		}
	}
	if k == 0 || r.segments[k-1].file == nil {
		return out, nil
	}
	if err := mine.seek(a.next); err != nil { // reads the segment before to its end
		return out, err
	}
	if end, ok := mine.ends[r.segments[k-1].file]; ok {
		if empty, ok := a.reaches(end); ok {
			out.empty, a.chain = empty, end
		}
	}
	return out, nil
}
