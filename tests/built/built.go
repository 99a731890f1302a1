// Package built is what tests of the whole program stand on: the programs of
// this repository, built once for each test binary, and the environment, the
// ports and the image server that they run with.
//
// A package of tests names the programs that it runs:
//
//	func TestMain(m *testing.M) { built.Main(m, built.Emet, built.Echo) }
//
// and has them at [Program.Path] from then on.
package built

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/emet-node/emet/adapters/exeunit/exeunittest"
)

// Program is one that this repository holds.
type Program struct {
	name, from string   // of the file, and of the package below the root
	flags      []string // of go build
	wasm       bool
	path       string
}

// The programs that tests run.
var (
	// Emet is the node. EMET_BINARY names another file to be tested instead.
	Emet = &Program{name: "emet", from: "cmd/emet"}
	// Faulty is Emet with its fault points.
	Faulty = &Program{name: "emet", from: "cmd/emet", flags: []string{"-tags", "faults"}}
	// Echo and Render are the example programs, for WASM.
	Echo   = &Program{name: "echo.wasm", from: "examples/echo", wasm: true}
	Render = &Program{name: "render.wasm", from: "examples/render", wasm: true}
	// Guest does what its first argument says, also what guests should not.
	Guest = &Program{name: "guest.wasm", from: "adapters/exeunit/testdata/guest", wasm: true}
)

// Main builds the programs, runs the tests and ends the process. What was built
// is gone then.
func Main(m *testing.M, programs ...*Program) {
	code, err := run(m, programs)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M, programs []*Program) (code int, err error) {
	dir, err := os.MkdirTemp("", "emet-built-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for i, p := range programs {
		if err := p.build(filepath.Join(dir, fmt.Sprint(i))); err != nil {
			return 1, err
		}
	}
	return m.Run(), nil
}

// Path is the program's file. Its name is that of the program.
func (p *Program) Path() string {
	if p.path == "" {
		panic(p.from + " was not built: TestMain does not name it")
	}
	return p.path
}

func (p *Program) build(dir string) error {
	if binary := os.Getenv("EMET_BINARY"); p == Emet && binary != "" {
		p.path = binary
		return nil
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, p.name)
	if err := p.buildAs(path); err != nil {
		return fmt.Errorf("build %s: %w", p.from, err)
	}
	p.path = path
	return nil
}

func (p *Program) buildAs(path string) error {
	if p.wasm {
		module, err := exeunittest.Compile(filepath.Join(root(), p.from))
		if err != nil {
			return err
		}
		return os.WriteFile(path, module, 0o600)
	}
	cmd := exec.Command("go", append(append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", path}, p.flags...), "./"+p.from)...)
	cmd.Dir, cmd.Env = root(), append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, text)
	}
	return nil
}

// root is the top of this repository.
func root() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "..", "..")
}

// Env is this process's environment without what would configure emet, and
// more.
func Env(more ...string) []string {
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

// Serve serves a program of WASM on loopback and gives the reference to it, as
// demands name it.
func Serve(t testing.TB, p *Program) string {
	t.Helper()
	module, err := os.ReadFile(p.Path())
	if err != nil {
		t.Fatal(err)
	}
	return exeunittest.Serve(t, p.name, module)
}
