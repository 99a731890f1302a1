package supervisor

import (
	"archive/zip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/emet-node/emet/adapters/exeunit"
	"github.com/emet-node/emet/domain/activity/script"
)

// packageOf writes a package with one module and so many empty files.
func packageOf(t *testing.T, empty int) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	z := zip.NewWriter(f)
	for name, text := range map[string]string{"manifest.json": `{"entry-points":[{"id":"a","wasm-path":"a.wasm"}]}`, "a.wasm": "\x00asm\x01\x00\x00\x00"} {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range empty {
		if _, err := z.CreateRaw(&zip.FileHeader{Name: fmt.Sprintf("%06d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return f
}

// A package that is a list of files and little else is not read to its end.
func TestAPackageOfEmptyFilesIsRefused(t *testing.T) {
	t.Parallel()
	if img, err := openPackage(packageOf(t, 1000), t.TempDir()); err != nil || len(img.Programs) != 1 {
		t.Fatalf("%+v, %v", img, err)
	}
	if _, err := openPackage(packageOf(t, 200_000), t.TempDir()); !errors.Is(err, errDirectory) || !errors.Is(err, exeunit.ErrImage) {
		t.Errorf("200 000 empty files: %v", err)
	}
}

// A deploy makes some directories, not any number.
func TestADeployMakesSomeVolumes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := newJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	c := &core{journal: j, meter: &meter{dir: filepath.Join(dir, "volumes")}}
	asked := make([]script.Volume, maxVolumes+1)
	for i := range asked {
		asked[i] = script.Volume{Path: fmt.Sprintf("/v%d", i), Kind: "host"}
	}
	if v, err := c.makeVolumes(image{}, asked); err == nil || len(v) != 0 {
		t.Errorf("%d volumes are made", len(v))
	}
	if made, _ := os.ReadDir(c.meter.dir); len(made) != 0 || j.last() >= 0 {
		t.Errorf("%d directories and %d events are left", len(made), j.last()+1)
	}
	if v, err := c.makeVolumes(image{}, asked[1:]); err != nil || len(v) != maxVolumes {
		t.Errorf("%d volumes: %v", len(v), err)
	}
}
