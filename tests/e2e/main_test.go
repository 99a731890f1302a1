// Package e2e holds what the program promises to whoever uses it wrongly, or
// in a world that breaks: each case is a clear error or a recovery, shown by
// the program itself.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// built are the programs under test, made once for all tests.
var built struct{ emet, guest, render string }

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "emet-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	built.emet, built.guest, built.render = filepath.Join(dir, "emet"), filepath.Join(dir, "guest.wasm"), filepath.Join(dir, "render.wasm")
	for _, b := range []struct {
		out, from string
		env       []string
	}{
		{built.emet, "./cmd/emet", []string{"CGO_ENABLED=0"}},
		{built.guest, "./adapters/exeunit/testdata/guest", []string{"GOOS=wasip1", "GOARCH=wasm"}},
		{built.render, "./examples/render", []string{"GOOS=wasip1", "GOARCH=wasm"}},
	} {
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.out, b.from)
		cmd.Dir, cmd.Env = "../..", append(os.Environ(), b.env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", b.from, err, out)
			return 1
		}
	}
	return m.Run()
}

// plainEnv is this process's environment without what would configure emet.
func plainEnv(more ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "EMET_") || strings.HasPrefix(name, "YAGNA_") || strings.HasSuffix(name, "_GETH_ADDR") || strings.HasPrefix(name, "XDG_") {
			continue
		}
		env = append(env, kv)
	}
	return append(env, more...)
}
