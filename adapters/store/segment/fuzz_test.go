package segment

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/archive"
	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

// FuzzIndex opens indexes of anything, their checksums made right if asked, and
// asks them everything.
func FuzzIndex(f *testing.F) {
	disk := storeOf(f, 30)
	names, err := listSegments(disk, flipDir)
	if err != nil {
		f.Fatal(err)
	}
	s, err := openSegment(disk, flipDir, names[0], false)
	if err != nil {
		f.Fatal(err)
	}
	b, err := vfs.ReadFile(disk, filepath.Join(flipDir, segDir, indexName(0)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, true)
	f.Add(b[:pageBytes], true)
	f.Add(b, false)
	f.Fuzz(func(t *testing.T, b []byte, resum bool) {
		b = bytes.Clone(b)
		if len(b) < pageBytes || len(b) > 1<<20 {
			return
		}
		for n := 0; resum && n+pageBytes <= len(b); n += pageBytes {
			le.PutUint32(b[n+pagePayload:], pageSum(&s.Salt, uint64(n/pageBytes), b[n:n+pagePayload]))
		}
		x, err := openSealed(bytes.NewReader(b), int64(len(b)), "fuzz", s.header)
		if err != nil {
			return
		}
		_ = x.tree.Root()
		var near page
		for _, name := range []es.Stream{"s-0", "s-1", "other"} {
			r, err := x.stream(&key{name: name}, noEnd)
			for i := 0; err == nil && i < min(r.count, 100); i++ {
				_, err = r.spot(i, &near)
			}
		}
		for i := range uint32(40) {
			_, _ = x.frame(i)
			_, _ = x.byID(uint64(i)<<58, nil)
			_, _ = x.byID(hashOf(es.EventID("s-0", "k", int(i))), nil)
		}
	})
}

// FuzzSegment opens stores the last segment of which is anything: never another history
// without a word, and what is opened once opens again.
func FuzzSegment(f *testing.F) {
	disk := smallStore(f)
	names, err := listSegments(disk, flipDir)
	if err != nil {
		f.Fatal(err)
	}
	last := filepath.Join(flipDir, segDir, names[len(names)-1])
	b, err := vfs.ReadFile(disk, last)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:headerBytes])
	f.Add(append(bytes.Clone(b), b...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return
		}
		mine := copyDisk(t, disk)
		if err := vfs.WriteFile(mine, filepath.Dir(last), filepath.Base(last), b); err != nil {
			t.Fatal(err)
		}
		if _, err := VerifyFS(mine, flipDir); err != nil {
			t.Fatal(err)
		}
		s, err := Open(flipDir, Options{SegmentBytes: 8 << 10, FS: mine})
		if err != nil {
			return
		}
		size, root := s.Root()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if report, err := VerifyFS(mine, flipDir); err != nil || len(report.Damage) > 0 || report.Events != size || report.Root != root {
			t.Fatalf("opened with %d events, %s; verified %+v, %v", size, root, report, err)
		}
	})
}

// FuzzRestore restores anything.
func FuzzRestore(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, p := range []struct{ name, content string }{
		{archive.ManifestName, `{"engine":"segment","events":1,"format":"emet/backup/1","logId":"00","root":"00"}`},
		{"seg/00000000000000000000.elog", "x"},
		{"../escaped", "x"},
	} {
		if err := w.WriteHeader(&tar.Header{Name: p.name, Size: int64(len(p.content)), Mode: 0o600}); err != nil {
			f.Fatal(err)
		}
		if _, err := w.Write([]byte(p.content)); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		name := filepath.Join(dir, "b.tar")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Restore(context.Background(), name, filepath.Join(dir, "to", "store"), time.Unix(1, 0), nil, nil)
		if err == nil {
			return
		}
		if _, err := os.Stat(filepath.Join(dir, "to", "store")); err == nil {
			t.Error("half a store is left")
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 2 {
			t.Errorf("written outside: %v", left)
		}
	})
}
