package segment

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path"
	"testing"

	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

const flipDir = "/store"

// smallStore makes a store of a few segments on a disk in memory.
func smallStore(t testing.TB) *vfs.Crash { return storeOf(t, 14) }

func storeOf(t testing.TB, events int) *vfs.Crash {
	t.Helper()
	disk := vfs.NewCrash(4096)
	s, err := Open(flipDir, Options{SegmentBytes: 8 << 10, FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	for i := range events {
		stream := es.Stream(fmt.Sprintf("s-%d", i%3))
		e := es.NewEvent{ID: es.EventID(stream, "k", i), Type: "t.happened.v1", Data: make([]byte, 20*i), Meta: []byte("{}")}
		if _, err := s.Append(t.Context(), nil, es.Write{Stream: stream, Expected: es.Any, Events: []es.NewEvent{e}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return disk
}

func copyDisk(t testing.TB, from *vfs.Crash) *vfs.Crash {
	t.Helper()
	to := vfs.NewCrash(4096)
	for _, dir := range []string{flipDir, path.Join(flipDir, segDir)} {
		names, err := from.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			b, err := vfs.ReadFile(from, path.Join(dir, n))
			if err != nil {
				t.Fatal(err)
			}
			if err := vfs.WriteFile(to, dir, n, b); err != nil {
				t.Fatal(err)
			}
		}
	}
	return to
}

// flip changes one bit of an open file and returns how to undo it.
func flip(t testing.TB, f vfs.File, bit int64) (undo func()) {
	t.Helper()
	change := func() {
		var b [1]byte
		if _, err := f.ReadAt(b[:], bit/8); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1 << (bit % 8)
		if _, err := f.WriteAt(b[:], bit/8); err != nil {
			t.Fatal(err)
		}
	}
	change()
	return change
}

// TestEveryFlippedBitIsDetectedOrHarmless flips every bit of a store, one at a time;
// its indexes, which are made anew, have a test of their own.
func TestEveryFlippedBitIsDetectedOrHarmless(t *testing.T) {
	t.Parallel()
	disk := smallStore(t)
	want, err := VerifyFS(disk, flipDir)
	if err != nil || len(want.Damage) > 0 || want.Segments < 2 || want.Unfinished != 0 {
		t.Fatalf("%+v, %v", want, err)
	}
	names, err := listSegments(disk, flipDir)
	if err != nil {
		t.Fatal(err)
	}
	files := []string{storeName}
	for _, n := range names {
		files = append(files, path.Join(segDir, n))
	}
	for _, n := range files {
		t.Run(path.Base(n), func(t *testing.T) {
			t.Parallel()
			mine := copyDisk(t, disk)
			f, err := mine.OpenWrite(path.Join(flipDir, n))
			if err != nil {
				t.Fatal(err)
			}
			size, err := f.Size()
			if err != nil {
				t.Fatal(err)
			}
			for bit := range 8 * size {
				undo := flip(t, f, bit)
				oneFlip(t, mine, want, fmt.Sprintf("byte %d, bit %d", bit/8, bit%8), bit%(8*61) < 8)
				undo()
			}
		})
	}
}

func oneFlip(t *testing.T, disk *vfs.Crash, want Report, what string, reopen bool) {
	t.Helper()
	got, err := VerifyFS(disk, flipDir)
	if err != nil { // a STORE of a format that does not exist
		if s, opened := Open(flipDir, Options{SegmentBytes: 8 << 10, FS: copyDisk(t, disk)}); opened == nil {
			s.Close() //nolint:errcheck // thrown away
			t.Fatalf("%s: opened, and not verified: %v", what, err)
		}
		return
	}
	if len(got.Damage) == 0 && (got.Root != want.Root || got.Events != want.Events) {
		t.Fatalf("%s: not detected, and the history is another: %+v", what, got)
	}
	if !reopen {
		return
	}
	s, err := Open(flipDir, Options{SegmentBytes: 8 << 10, FS: copyDisk(t, disk)})
	if err != nil {
		var d *Damage
		if !errors.As(err, &d) || !errors.Is(err, es.ErrCorrupt) {
			t.Fatalf("%s: refused without a place: %v", what, err)
		}
		return
	}
	defer s.Close() //nolint:errcheck // thrown away
	if size, root := s.Root(); root != want.Root || size != want.Events {
		t.Fatalf("%s: opened with another history of %d events", what, size)
	}
}

// TestTornTailIsNoDamage writes garbage and halves of frames after the end.
func TestTornTailIsNoDamage(t *testing.T) {
	t.Parallel()
	disk := smallStore(t)
	want, err := VerifyFS(disk, flipDir)
	if err != nil {
		t.Fatal(err)
	}
	names, err := listSegments(disk, flipDir)
	if err != nil {
		t.Fatal(err)
	}
	id, err := readIdentity(disk, flipDir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := load(disk, flipDir, id, true, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	last := path.Join(flipDir, segDir, names[len(names)-1])
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 9)) //nolint:gosec // a seed that can be repeated
		torn := copyDisk(t, disk)
		f, err := torn.OpenWrite(last)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1+r.IntN(300))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if _, err := f.WriteAt(b, l.end+r.Int64N(100)); err != nil {
			t.Fatal(err)
		}
		report, err := VerifyFS(torn, flipDir)
		if err != nil || len(report.Damage) > 0 || report.Root != want.Root || report.Unfinished == 0 {
			t.Fatalf("seed %d: %+v, %v", seed, report, err)
		}
		s, err := Open(flipDir, Options{SegmentBytes: 8 << 10, FS: torn})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if _, root := s.Root(); root != want.Root {
			t.Fatalf("seed %d: another history", seed)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if report, err = VerifyFS(torn, flipDir); err != nil || len(report.Damage) > 0 || report.Unfinished != 0 {
			t.Fatalf("seed %d: after the repair: %+v, %v", seed, report, err)
		}
	}
}

// TestDamageIsRefusedWithItsRange breaks one acknowledged frame. The last
// segment is read by Open; in one that is sealed the damage is met by whoever
// reads the event, and by the next Open if it has no index.
func TestDamageIsRefusedWithItsRange(t *testing.T) {
	t.Parallel()
	disk := smallStore(t)
	names, err := listSegments(disk, flipDir)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range names {
		s, err := openSegment(disk, flipDir, n, false)
		if err != nil {
			t.Fatal(err)
		}
		for c := newCursor(s, headerBytes); ; {
			at := c.off
			fr, err := c.next()
			if err != nil {
				break
			}
			if fr.Count == 0 {
				continue
			}
			for _, indexed := range []bool{true, false} {
				broken := copyDisk(t, disk)
				f, err := broken.OpenWrite(path.Join(flipDir, s.name))
				if err != nil {
					t.Fatal(err)
				}
				flip(t, f, (at+frameHead+5)*8)
				if !indexed && i < len(names)-1 {
					if err := broken.Remove(path.Join(flipDir, segDir, indexName(s.First))); err != nil {
						t.Fatal(err)
					}
				}
				var d *Damage
				if err := readEverything(t, broken); !errors.As(err, &d) || !errors.Is(err, es.ErrCorrupt) {
					t.Fatalf("segment %d, byte %d: %v", i, at, err)
				}
				if d.File != s.name || d.Offset != at || d.FirstPosition != fr.First || d.LastPosition < fr.First {
					t.Errorf("segment %d: %+v, want byte %d, position %d", i, d, at, fr.First)
				}
				report, err := VerifyFS(broken, flipDir)
				if err != nil || len(report.Damage) != 1 || report.Damage[0].FirstPosition != fr.First ||
					report.Damage[0].LastPosition != report.Damage[0].FirstPosition {
					t.Errorf("segment %d, byte %d: verify found %+v, %v", i, at, report.Damage, err)
				}
			}
		}
	}
}

// readEverything opens a store and reads it to the end.
func readEverything(t testing.TB, disk vfs.FS) error {
	t.Helper()
	s, err := Open(flipDir, Options{SegmentBytes: 8 << 10, FS: disk})
	if err != nil {
		return err
	}
	defer s.Close() //nolint:errcheck // thrown away
	for _, err := range s.ReadAll(t.Context(), 0, es.Forward, es.Filter{}, 0) {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestMissingFilesAreDamage(t *testing.T) {
	t.Parallel()
	disk := smallStore(t)
	names, err := listSegments(disk, flipDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{storeName, path.Join(segDir, names[0])} {
		broken := copyDisk(t, disk)
		if err := broken.Remove(path.Join(flipDir, gone)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(flipDir, Options{FS: broken}); !errors.Is(err, es.ErrCorrupt) {
			t.Errorf("without %s: %v", gone, err)
		}
	}
}

// harm is what can happen to a file beyond one bit.
var harm = map[string]func(r *rand.Rand, b []byte, others [][]byte) []byte{
	"bits": func(r *rand.Rand, b []byte, _ [][]byte) []byte {
		for range 1 + r.IntN(20) {
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		}
		return b
	},
	"cut off": func(r *rand.Rand, b []byte, _ [][]byte) []byte { return b[:r.IntN(len(b))] },
	"zeroed block": func(r *rand.Rand, b []byte, _ [][]byte) []byte {
		at := r.IntN(len(b)) &^ 511
		clear(b[at:min(at+512<<r.IntN(4), len(b))])
		return b
	},
	"swapped blocks": func(r *rand.Rand, b []byte, _ [][]byte) []byte {
		i, j := r.IntN(len(b)/512), r.IntN(len(b)/512)
		x := append([]byte(nil), b[i*512:][:512]...)
		copy(b[i*512:][:512], b[j*512:][:512])
		copy(b[j*512:], x)
		return b
	},
	"block of another file": func(r *rand.Rand, b []byte, others [][]byte) []byte {
		o := others[r.IntN(len(others))]
		at := r.IntN(min(len(b), len(o))) &^ 511
		copy(b[at:min(at+512, len(b))], o[at:])
		return b
	},
	"all of another file": func(r *rand.Rand, _ []byte, others [][]byte) []byte {
		return append([]byte(nil), others[r.IntN(len(others))]...)
	},
}

// TestHarmToFilesIsDetectedOrHarmless damages one file of a store of many
// segments and indexes in all kinds of ways: whoever opens and reads it is told, or reads what
// was written, and so does verify. There is one exception: when the end of the last
// segment is gone, with the frame after it that says how much there was, the files look as
// after a power loss in the middle of an append. The signed checkpoint tells then: the log is shorter.
func TestHarmToFilesIsDetectedOrHarmless(t *testing.T) {
	t.Parallel()
	disk := storeOf(t, 60)
	s := openOn(t, disk, nil)
	want := history(t, s)
	var prefix tree
	roots := []es.Hash{prefix.Root()} // by number of events
	for _, e := range readAll(t, s) {
		prefix.Add(e.Leaf)
		roots = append(roots, prefix.Root())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	original, err := VerifyFS(disk, flipDir)
	if err != nil {
		t.Fatal(err)
	}
	names, err := disk.ReadDir(path.Join(flipDir, segDir))
	if err != nil {
		t.Fatal(err)
	}
	files := make([][]byte, len(names))
	for i, n := range names {
		if files[i], err = vfs.ReadFile(disk, path.Join(flipDir, segDir, n)); err != nil {
			t.Fatal(err)
		}
	}
	for what, do := range harm {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(150) {
				r := rand.New(rand.NewPCG(seed, 5)) //nolint:gosec // a seed that can be repeated
				mine, i := copyDisk(t, disk), r.IntN(len(names))
				if err := vfs.WriteFile(mine, path.Join(flipDir, segDir), names[i], do(r, append([]byte(nil), files[i]...), files)); err != nil {
					t.Fatal(err)
				}
				report, err := VerifyFS(mine, flipDir)
				if err == nil && names[i] == names[len(names)-1] && report.Events < original.Events && report.Root == roots[report.Events] {
					continue // see above
				}
				if err != nil || len(report.Damage) == 0 && (report.Root != original.Root || report.Events != original.Events) {
					t.Fatalf("seed %d, %s: verify is content with %+v, %v", seed, names[i], report, err)
				}
				if err := readEverything(t, mine); err != nil {
					if !errors.Is(err, es.ErrCorrupt) {
						t.Fatalf("seed %d, %s: %v", seed, names[i], err)
					}
					continue
				}
				s := openOn(t, mine, nil)
				if got := history(t, s); got != want {
					t.Fatalf("seed %d, %s: another history:\n%s", seed, names[i], got)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
