package blobs_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/emet-node/emet/adapters/blobs"
)

func TestSameContentIsStoredOnceAndComesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := blobs.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("emet"), 10_000)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			sum, n, err := s.Put(bytes.NewReader(content))
			if err != nil || n != int64(len(content)) || len(sum) != 64 {
				t.Errorf("put: %s %d %v", sum, n, err)
			}
		})
	}
	wg.Wait()
	sum, _, err := s.Put(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(sum)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	var files int
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, _ error) error {
		if !d.IsDir() {
			files++
		}
		return nil
	})
	if files != 1 {
		t.Fatalf("%d files, want one", files)
	}
}

func TestDamageAndNonsenseAreTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := blobs.Open(dir)
	sum, _, err := s.Put(bytes.NewReader([]byte("whole")))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, sum[:2], sum[2:4], sum), []byte("whale"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(sum)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadAll(r); !errors.Is(err, blobs.ErrDamaged) {
		t.Fatalf("damage was read as content: %v", err)
	}
	again, err := s.Open(sum)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := io.Copy(io.Discard, again); !errors.Is(err, blobs.ErrDamaged) {
		t.Fatalf("damage was copied as content: %v", err)
	}
	if _, err := s.Open("../../etc/passwd"); err == nil {
		t.Fatal("a path was taken for an address")
	}
	if _, err := s.Open(string(bytes.Repeat([]byte("0"), 64))); !errors.Is(err, blobs.ErrUnknown) {
		t.Fatalf("unknown: %v", err)
	}
}

func TestAllBlobsCanBeChecked(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "blobs")
	if all, err := blobs.OpenReadOnly(dir).All(); err != nil || len(all) != 0 {
		t.Fatalf("where none were ever kept: %v, %v", all, err)
	}
	s, err := blobs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	sums := make(map[string]bool)
	for _, content := range []string{"", "one", "two"} {
		sum, _, err := s.Put(bytes.NewReader([]byte(content)))
		if err != nil {
			t.Fatal(err)
		}
		sums[sum] = true
	}
	for _, other := range []string{"new-123", "notes.txt", string(bytes.Repeat([]byte("a"), 64))} { // not in its place
		if err := os.WriteFile(filepath.Join(dir, other), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.All()
	if err != nil || len(all) != len(sums) || !slices.IsSorted(all) {
		t.Fatalf("%v, %v", all, err)
	}
	for _, sum := range all {
		if err := s.Check(sum); err != nil || !sums[sum] {
			t.Errorf("%s: %v", sum, err)
		}
		path, err := s.Path(sum)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("other"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.Check(sum); !errors.Is(err, blobs.ErrDamaged) {
			t.Errorf("other content: %v", err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := s.Check(sum); !errors.Is(err, blobs.ErrUnknown) {
			t.Errorf("no content: %v", err)
		}
	}
	if err := s.Check("no address"); err == nil {
		t.Error("nonsense is a blob")
	}
}
