package segment_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/domain/es"
)

// filled makes a store of some segments, with a blob, and leaves it open.
func filled(t testing.TB) opened {
	t.Helper()
	s := open(t, t.TempDir(), small)
	newLedger().session(s, rand.New(rand.NewPCG(1, 1)), 0, 30)
	content := []byte("a long output")
	name := fmt.Sprintf("%x", sha256.Sum256(content))
	dir := filepath.Join(s.dir, "blobs", name[:2], name[2:4])
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "blobs", "new-1"), nil, 0o600); err != nil { // is being written
		t.Fatal(err)
	}
	return s
}

func events(t testing.TB, s es.Store) (out []es.Event) {
	t.Helper()
	for e, err := range s.ReadAll(t.Context(), 0, es.Forward, es.Filter{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func TestABackupBecomesALogOfItsOwn(t *testing.T) {
	t.Parallel()
	s := filled(t)
	want := events(t, s)
	size, root := s.Root()
	for _, target := range []string{t.TempDir() + "/b.tar", t.TempDir(), t.TempDir() + "/new/"} {
		var done, total int64
		m, err := segment.Backup(t.Context(), s.dir, target, time.Unix(1e9, 0), nil, func(d, t int64) { done, total = d, t })
		if err != nil || m.Events != size || m.Root != root.String() || done != total || total == 0 {
			t.Fatalf("%s: %+v, %v; %d of %d bytes", target, m, err, done, total)
		}
		dir := filepath.Join(t.TempDir(), "again")
		r, err := segment.Restore(t.Context(), target, dir, time.Now(), nil, nil)
		if err != nil || r.NewLogID == s.LogID() || r.Manifest != m {
			t.Fatalf("%s: %+v, %v", target, r, err)
		}
		again := open(t, dir, small)
		if again.LogID() != r.NewLogID {
			t.Errorf("log %x, want %x", again.LogID(), r.NewLogID)
		}
		got := events(t, again)
		if len(got) != len(want) {
			t.Fatalf("%d events, want %d", len(got), len(want))
		}
		for i := range got {
			if got[i].ID != want[i].ID || got[i].Leaf != want[i].Leaf || !bytes.Equal(got[i].Data, want[i].Data) {
				t.Fatalf("event %d: %+v, want %+v", i, got[i], want[i])
			}
		}
		if blobs, err := filepath.Glob(dir + "/blobs/*/*/*"); err != nil || len(blobs) != 1 {
			t.Errorf("blobs %v, %v", blobs, err)
		}
		l := newLedger()
		if !l.append(again, randomWrite(rand.New(rand.NewPCG(1, 1)), "more")) {
			t.Error("nothing can be appended to what was restored")
		}
		l.check(t, again)
		if _, err := segment.Restore(t.Context(), target, dir, time.Now(), nil, nil); err == nil {
			t.Error("a store was restored over another")
		}
	}
}

// TestABackupOfALogThatIsWritten is taken again and again while three writers
// append; each is a prefix of what they wrote.
func TestABackupOfALogThatIsWritten(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), small)
	done := make(chan struct{})
	go func() {
		defer close(done)
		newLedger().session(s, rand.New(rand.NewPCG(2, 2)), 0, 80)
	}()
	var logs [][]es.Event
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		target := t.TempDir() + "/b.tar"
		if _, err := segment.Backup(t.Context(), s.dir, target, time.Now(), nil, nil); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "again")
		if _, err := segment.Restore(t.Context(), target, dir, time.Now(), nil, nil); err != nil {
			t.Fatal(err)
		}
		logs = append(logs, events(t, open(t, dir, small)))
	}
	want := events(t, s)
	for _, got := range logs {
		for i, e := range got {
			if e.Leaf != want[i].Leaf {
				t.Fatalf("event %d of a backup is another", i)
			}
		}
	}
	if last := logs[len(logs)-1]; len(last) != len(want) {
		t.Errorf("the last backup has %d events of %d", len(last), len(want))
	}
}

// TestADamagedBackupIsRefused flips bits and cuts a backup off.
func TestADamagedBackupIsRefused(t *testing.T) {
	t.Parallel()
	s := filled(t)
	size, root := s.Root()
	name := t.TempDir() + "/b.tar"
	if _, err := segment.Backup(t.Context(), s.dir, name, time.Now(), nil, nil); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 3))
	refused := 0
	for i := range 300 {
		b := bytes.Clone(good)
		if i%3 == 0 {
			b = b[:r.IntN(len(b))]
		} else {
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "again")
		if _, err := segment.Restore(context.Background(), name, dir, time.Now(), nil, nil); err != nil {
			refused++
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Fatalf("a half-restored store is left: %v", err)
			}
			continue
		}
		report, err := segment.Verify(dir)
		if err != nil || len(report.Damage) > 0 || report.Events != size || report.Root != root {
			t.Fatalf("a damaged backup became %+v, %v", report, err)
		}
	}
	if refused < 150 {
		t.Errorf("only %d of 300 damaged backups were refused", refused)
	}
}

// TestACutBackupIsRefused cuts a backup off wherever a file of it may end: what
// comes after the log is missed as well.
func TestACutBackupIsRefused(t *testing.T) {
	t.Parallel()
	s := filled(t)
	name, files := t.TempDir()+"/b.tar", t.TempDir()+"/b/"
	for _, target := range []string{name, files} {
		if _, err := segment.Backup(t.Context(), s.dir, target, time.Now(), nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const trailer = 1024 // zeros, which nobody misses
	for end := len(good) - trailer - 512; end >= len(good)-8192; end -= 512 {
		if err := os.WriteFile(name, good[:end], 0o600); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "again")
		if _, err := segment.Restore(t.Context(), name, dir, time.Now(), nil, nil); !errors.Is(err, segment.ErrNoBackup) {
			t.Errorf("%d of %d bytes: %v", end, len(good), err)
		}
	}
	blobs, err := filepath.Glob(files + "blobs/*/*/*")
	if err != nil || len(blobs) != 1 {
		t.Fatal(blobs, err)
	}
	if err := os.Remove(blobs[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := segment.Restore(t.Context(), files, filepath.Join(t.TempDir(), "again"), time.Now(), nil, nil); !errors.Is(err, segment.ErrNoBackup) {
		t.Errorf("without a blob: %v", err)
	}
}

func TestABackupDoesNotCarryRot(t *testing.T) {
	t.Parallel()
	s := filled(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(s.dir + "/seg/*.elog")
	if err != nil || len(names) < 2 {
		t.Fatal(names, err)
	}
	f, err := os.OpenFile(names[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xff, 0xfe}, 4096+300); err != nil {
		t.Fatal(err)
	}
	f.Close()
	target := t.TempDir() + "/b.tar"
	_, err = segment.Backup(t.Context(), s.dir, target, time.Now(), nil, nil)
	var d *segment.Damage
	if !errors.As(err, &d) || d.FirstPosition != 0 {
		t.Errorf("backup of a damaged log: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Dir(target) + "/*"); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}
