// Package exeunittest is the suite that every exe-unit passes, and the guests
// it runs.
package exeunittest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// Guest compiles the guest program of the tests for wasip1, once per process,
// and returns the module. Its first argument that it knows says what it does.
func Guest(t testing.TB) []byte {
	t.Helper()
	module, err := guest()
	if err != nil {
		t.Fatal(err)
	}
	return module
}

var guest = sync.OnceValues(func() ([]byte, error) {
	_, here, _, _ := runtime.Caller(0)
	return Compile(filepath.Join(filepath.Dir(here), "..", "testdata", "guest"))
})

// Compile builds the Go program in dir for wasip1 and returns the module.
func Compile(dir string) ([]byte, error) {
	tmp, err := os.MkdirTemp("", "emet-guest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, "guest.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, &buildError{string(text), err}
	}
	return os.ReadFile(out)
}

type buildError struct {
	text string
	err  error
}

func (e *buildError) Error() string { return "build guest: " + e.err.Error() + "\n" + e.text }
func (e *buildError) Unwrap() error { return e.err }
