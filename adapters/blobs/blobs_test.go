package blobs_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
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
	if _, err := s.Open("../../etc/passwd"); err == nil {
		t.Fatal("a path was taken for an address")
	}
	if _, err := s.Open(string(bytes.Repeat([]byte("0"), 64))); !errors.Is(err, blobs.ErrUnknown) {
		t.Fatalf("unknown: %v", err)
	}
}
