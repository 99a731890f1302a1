package vfs_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"testing"

	"github.com/emet-node/emet/adapters/store/vfs"
)

func write(t *testing.T, files vfs.FS, name string, content []byte, sync bool) {
	t.Helper()
	f, err := files.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	if sync {
		if err := f.SyncData(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCrashKeepsWhatWasSynced and sometimes what was not, in every mixture.
func TestCrashKeepsWhatWasSynced(t *testing.T) {
	t.Parallel()
	lost, kept, torn := 0, 0, 0
	for seed := range uint64(200) {
		c := vfs.NewCrash(512)
		write(t, c, "/d/synced", bytes.Repeat([]byte("s"), 2048), true)
		if err := c.SyncDir("/d"); err != nil {
			t.Fatal(err)
		}
		f, err := c.OpenWrite("/d/synced")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(bytes.Repeat([]byte("n"), 1024), 0); err != nil {
			t.Fatal(err)
		}
		write(t, c, "/d/unsynced", []byte("x"), true)
		after := c.PowerLoss(rand.New(rand.NewPCG(seed, 0))) //nolint:gosec // a seed that can be repeated
		if _, err := f.WriteAt([]byte("late"), 0); !errors.Is(err, vfs.ErrPowerLost) {
			t.Fatalf("write after the power loss: %v", err)
		}
		b, err := vfs.ReadFile(after, "/d/synced")
		if err != nil || len(b) != 2048 || !bytes.Equal(b[1024:], bytes.Repeat([]byte("s"), 1024)) {
			t.Fatalf("synced data: %d bytes, %v", len(b), err)
		}
		if (b[0] == 'n') != (b[512] == 'n') {
			torn++
		}
		switch _, err := vfs.ReadFile(after, "/d/unsynced"); {
		case err == nil:
			kept++
		case errors.Is(err, fs.ErrNotExist):
			lost++
		default:
			t.Fatal(err)
		}
	}
	if lost == 0 || kept == 0 || torn == 0 {
		t.Errorf("of 200 power losses %d lost, %d kept an entry, %d tore a write", lost, kept, torn)
	}
}

func TestFaultyWriteDoesHalf(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	f := &vfs.Faulty{FS: vfs.NewCrash(512), Fail: func(op vfs.Op, _ string) error {
		if op == vfs.OpWrite {
			return broken
		}
		return nil
	}}
	file, err := f.Create("/a")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := file.WriteAt([]byte("1234"), 0); n != 2 || !errors.Is(err, broken) {
		t.Errorf("wrote %d, %v", n, err)
	}
	if b, err := vfs.ReadFile(f, "/a"); err != nil || string(b) != "12" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestRealFilesAndLocks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := vfs.WriteFile(vfs.OS{}, dir, "a", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if b, err := vfs.ReadFile(vfs.OS{}, dir+"/a"); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	l, err := vfs.OS{}.Lock(dir + "/LOCK")
	if err != nil {
		t.Fatal(err)
	}
	var held *vfs.Held
	if _, err := (vfs.OS{}).Lock(dir + "/LOCK"); !errors.As(err, &held) {
		t.Errorf("second lock: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := vfs.OS{}.Lock(dir + "/LOCK")
	if err != nil {
		t.Fatalf("lock after its end: %v", err)
	}
	_ = again.Close()
}
