package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// toDisk copies a store to a directory of the machine.
func toDisk(t testing.TB, from vfs.FS) string {
	t.Helper()
	to := t.TempDir()
	for _, dir := range []string{"", segDir} {
		names, err := from.ReadDir(path.Join(flipDir, dir))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(to, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			b, err := vfs.ReadFile(from, path.Join(flipDir, dir, n))
			if err != nil {
				continue // a directory
			}
			if err := os.WriteFile(filepath.Join(to, dir, n), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return to
}

func copyOf(t testing.TB, source string) *Copy {
	t.Helper()
	c, err := OpenCopy(source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// spoil damages a segment in one of many ways and says how.
func spoil(t testing.TB, r *rand.Rand, dir string) string {
	t.Helper()
	names, err := listSegments(vfs.OS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	n := names[r.IntN(len(names))]
	name := filepath.Join(dir, segDir, n)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at := r.IntN(len(b))
	how := ""
	switch r.IntN(7) {
	case 0, 1:
		b[at] ^= 1 << r.IntN(8)
		how = fmt.Sprintf("bit in byte %d of %s", at, n)
	case 2:
		at &^= 511
		clear(b[at:min(at+512, len(b))])
		how = fmt.Sprintf("512 zeros at %d of %s", at, n)
	case 3:
		clear(b[:headerBytes])
		how = "no header in " + n
	case 4:
		b = b[:at]
		how = fmt.Sprintf("%s ends at %d", n, at)
	case 5:
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		return n + " is gone"
	case 6:
		for i := range min(2000, len(b)-at) {
			b[at+i] = byte(r.Uint32())
		}
		how = fmt.Sprintf("2000 bytes of noise at %d of %s", at, n)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return how
}

func content(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == lockName {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		b, err := os.ReadFile(name)
		out[filepath.ToSlash(rel)] = b
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sameContent(a, b map[string][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for name := range a {
		if !bytes.Equal(a[name], b[name]) {
			return false
		}
	}
	return true
}

// TestWithACopyEveryDamageIsRepaired damages a log in several places at random.
// Afterwards it is the same log, and what was damaged is kept.
func TestWithACopyEveryDamageIsRepaired(t *testing.T) {
	t.Parallel()
	disk := storeOf(t, 60)
	want, err := VerifyFS(disk, flipDir)
	if err != nil || want.Segments < 4 {
		t.Fatalf("%+v, %v", want, err)
	}
	good := toDisk(t, disk)
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 1))
		dir, what := toDisk(t, disk), ""
		for range 1 + r.IntN(3) {
			what += spoil(t, r, dir) + "; "
			if names, _ := listSegments(vfs.OS{}, dir); len(names) == 0 {
				break
			}
		}
		o := RepairOptions{Copy: copyOf(t, good), AtLeast: want.Events}
		before := content(t, dir)
		plan, err := PlanRepair(dir, o)
		if err != nil || len(plan.Lost) > 0 || plan.Events != want.Events || plan.Root != want.Root {
			t.Fatalf("seed %d, %s: plan %+v, %v", seed, what, plan, err)
		}
		if !sameContent(before, content(t, dir)) {
			t.Fatalf("seed %d, %s: a plan changed the store", seed, what)
		}
		o.Copy = copyOf(t, good)
		done, kept, err := DoRepair(t.Context(), dir, o, noon)
		if err != nil || done.Events != want.Events {
			t.Fatalf("seed %d, %s: %v", seed, what, err)
		}
		after, err := Verify(dir)
		if err != nil || len(after.Damage) > 0 || after.Root != want.Root {
			t.Fatalf("seed %d, %s: afterwards %+v, %v", seed, what, after, err)
		}
		for _, b := range done.Rebuild {
			old, was := before[b.File]
			if got := content(t, dir)[path.Join(kept, b.File)]; was && !bytes.Equal(got, old) {
				t.Fatalf("seed %d, %s: %s is not kept as it was", seed, what, b.File)
			}
		}
		goesOn(t, dir, want.Events)
	}
}

// goesOn opens a store and appends.
func goesOn(t testing.TB, dir string, events uint64) {
	t.Helper()
	s, err := Open(dir, Options{SegmentBytes: 8 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // in a test
	size, _ := s.Root()
	if size != events {
		t.Fatalf("%d events, want %d", size, events)
	}
	e := es.NewEvent{ID: es.EventID("later-1", "k", int(events)), Type: "t.v1", Data: []byte("{}")}
	if _, err := s.Append(t.Context(), nil, es.Write{Stream: "later-1", Expected: es.Any, Events: []es.NewEvent{e}}); err != nil {
		t.Fatal(err)
	}
}

// TestWithoutACopyLossIsNamedAndNeverDone holds what a repair says about every
// position against the log before it was damaged.
func TestWithoutACopyLossIsNamedAndNeverDone(t *testing.T) {
	t.Parallel()
	disk := storeOf(t, 60)
	whole, err := VerifyFS(disk, flipDir)
	if err != nil {
		t.Fatal(err)
	}
	roots := rootsOf(t, toDisk(t, disk))
	healed, lost := 0, 0
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 2))
		dir := toDisk(t, disk)
		what := spoil(t, r, dir)
		before := content(t, dir)
		o := RepairOptions{AtLeast: whole.Events}
		plan, _, err := DoRepair(t.Context(), dir, o, noon)
		var loss *LossError
		if !errors.As(err, &loss) {
			if err != nil || plan.Events != whole.Events || plan.Root != whole.Root {
				t.Fatalf("seed %d, %s: %+v, %v", seed, what, plan, err)
			}
			healed++
			goesOn(t, dir, whole.Events)
			continue
		}
		lost++
		if !sameContent(before, content(t, dir)) {
			t.Fatalf("seed %d, %s: the store was changed", seed, what)
		}
		seen := make([]int, whole.Events)
		for i := range plan.Events {
			seen[i]++
		}
		for _, s := range append(plan.Lost[:len(plan.Lost):len(plan.Lost)], plan.Stranded...) {
			for i := s.First; i <= s.Last; i++ {
				seen[i]++
			}
		}
		for i, n := range seen {
			if n != 1 {
				t.Fatalf("seed %d, %s: position %d is named %d times in %+v", seed, what, i, n, plan)
			}
		}
		if plan.Root != roots[plan.Events] || plan.Lost[0].First != es.Position(plan.Events) {
			t.Fatalf("seed %d, %s: the %d events that are left are others: %+v", seed, what, plan.Events, plan)
		}
		rest := filepath.Join(t.TempDir(), "rest")
		if _, err := Salvage(t.Context(), dir, o, rest, noon); err != nil {
			t.Fatalf("seed %d, %s: %v", seed, what, err)
		}
		again := filepath.Join(t.TempDir(), "store")
		if back, err := Restore(t.Context(), rest, again, noon, nil, nil); err != nil || back.Events != plan.Events {
			t.Fatalf("seed %d, %s: %+v, %v", seed, what, back, err)
		}
		goesOn(t, again, plan.Events)
	}
	if healed < 20 || lost < 20 {
		t.Errorf("%d were healed, %d lost something", healed, lost)
	}
}

// rootsOf are the roots of the tree over the first n events.
func rootsOf(t testing.TB, dir string) []es.Hash {
	t.Helper()
	s, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // in a test
	var grown tree
	out := []es.Hash{grown.Root()}
	for e, err := range s.ReadAll(t.Context(), 0, es.Forward, es.Filter{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		grown.Add(e.Leaf)
		out = append(out, grown.Root())
	}
	return out
}

func TestARepairNeedsTheLogForItself(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // in a test
	if _, _, err := DoRepair(t.Context(), dir, RepairOptions{}, noon); !errors.Is(err, es.ErrLocked) {
		t.Errorf("beside a daemon: %v", err)
	}
}

func TestACopyOfAnotherLogDoesNotRepair(t *testing.T) {
	t.Parallel()
	mine, other := toDisk(t, smallStore(t)), toDisk(t, smallStore(t))
	if _, err := PlanRepair(mine, RepairOptions{Copy: copyOf(t, other)}); err == nil {
		t.Error("it was taken")
	}
	if _, err := OpenCopy(t.TempDir()); !errors.Is(err, ErrNoBackup) {
		t.Errorf("an empty directory: %v", err)
	}
}

func TestAnOlderBackupRepairsWhatItHas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fillTo := func(n int) Report {
		s, err := Open(dir, Options{SegmentBytes: 8 << 10})
		if err != nil {
			t.Fatal(err)
		}
		size, _ := s.Root()
		for i := int(size); i < n; i++ {
			e := es.NewEvent{ID: es.EventID("s-1", "k", i), Type: "t.happened.v1", Data: make([]byte, 300)}
			if _, err := s.Append(t.Context(), nil, es.Write{Stream: "s-1", Expected: es.Any, Events: []es.NewEvent{e}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		r, err := Verify(dir)
		if err != nil || len(r.Damage) > 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		return r
	}
	fillTo(40)
	backup := filepath.Join(t.TempDir(), "b.tar")
	if _, err := Backup(t.Context(), dir, backup, noon, nil, nil); err != nil {
		t.Fatal(err)
	}
	want := fillTo(90)
	names, err := listSegments(vfs.OS{}, dir)
	if err != nil || len(names) < 4 {
		t.Fatal(names, err)
	}
	damage := func(n string) {
		name := filepath.Join(dir, segDir, n)
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		clear(b[headerBytes : headerBytes+600])
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	damage(names[0])
	plan, _, err := DoRepair(t.Context(), dir, RepairOptions{Copy: copyOf(t, backup)}, noon)
	if err != nil || plan.Root != want.Root || len(plan.Rebuild) != 1 || len(plan.Rebuild[0].Copied) != 1 || plan.Rebuild[0].Copied[0].First != 0 {
		t.Fatalf("what it has: %+v, %v", plan, err)
	}
	damage(names[len(names)-2])
	plan, err = PlanRepair(dir, RepairOptions{Copy: copyOf(t, backup)})
	if err != nil || len(plan.Lost) != 1 || plan.Lost[0].First < 40 || len(plan.Stranded) != 1 || plan.Stranded[0].Last != 89 {
		t.Errorf("what it has not: %+v, %v", plan, err)
	}
}
