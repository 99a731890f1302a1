package hostile

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// built are the programs under test.
var built struct{ emet, guest string }

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "emet-hostile-")
	if err == nil {
		err = build(dir)
	}
	code := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func build(dir string) error {
	built.emet, built.guest = filepath.Join(dir, "emet"), filepath.Join(dir, "echo.wasm")
	for _, b := range []struct {
		out, pkg string
		env      []string
	}{{built.emet, "../../cmd/emet", nil}, {built.guest, "../../examples/echo", []string{"GOOS=wasip1", "GOARCH=wasm"}}} {
		cmd := exec.Command("go", "build", "-trimpath", "-o", b.out, b.pkg)
		cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), b.env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", b.pkg, err, out)
		}
	}
	return nil
}
