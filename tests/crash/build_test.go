// Package crash kills the processes of a deal at every fact and at random,
// starts them again on the same directories, and looks whether the deal comes
// out as it would have: settled on both sides, paid once, with nothing left
// over.
package crash

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// built are the programs under test: emet with its fault points, and a guest.
var built struct{ emet, guest string }

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "emet-crash-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // in the temporary directory
	built.emet, built.guest = filepath.Join(dir, "emet"), filepath.Join(dir, "echo.wasm")
	for _, b := range []struct {
		env  []string
		args []string
	}{
		{[]string{"CGO_ENABLED=0"}, []string{"-tags", "faults", "-o", built.emet, "./cmd/emet"}},
		{[]string{"CGO_ENABLED=0", "GOOS=wasip1", "GOARCH=wasm"}, []string{"-o", built.guest, "./examples/echo"}},
	} {
		cmd := exec.Command("go", append([]string{"build", "-trimpath", "-ldflags", "-s -w"}, b.args...)...)
		cmd.Dir, cmd.Env = filepath.Join("..", ".."), append(os.Environ(), b.env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build %v: %v\n%s", b.args, err, out)
			return 1
		}
	}
	return m.Run()
}
