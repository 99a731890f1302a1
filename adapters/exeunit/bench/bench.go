// Package bench measures what running a guest costs against running the same
// program natively.
package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/emet-node/emet/adapters/exeunit"
	"github.com/emet-node/emet/adapters/exeunit/wasm"
)

// The workload: a part of the example's default scene, about a second as a
// guest. The better of a few rounds counts, since other work on a machine can
// only make a round slower.
const (
	workload = "github.com/emet-node/emet/examples/render"
	rounds   = 3
	pixels   = "0,60,160,126"
)

// Bench builds the render example natively and for wasip1, renders the same
// tile with both, the guest metered, and writes one line with the ratio of
// their times, 1 = as fast as native. It needs the go tool and must be called
// within the source tree.
func Bench(ctx context.Context, w io.Writer) error {
	dir, err := os.MkdirTemp("", "emet-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	native, guest := filepath.Join(dir, "render"), filepath.Join(dir, "render.wasm")
	if err := build(ctx, native); err != nil {
		return err
	}
	if err := build(ctx, guest, "GOOS=wasip1", "GOARCH=wasm"); err != nil {
		return err
	}
	fast, err := best(func() error { return runNative(ctx, native, dir) })
	if err != nil {
		return err
	}
	module, err := os.ReadFile(guest)
	if err != nil {
		return err
	}
	engine, err := wasm.NewEngine(ctx, "", 0)
	if err != nil {
		return err
	}
	defer engine.Close(ctx) //nolint:errcheck // the process ends with it
	compiled := time.Now()
	if metered, err := engine.Add(ctx, "render", module); err != nil || !metered {
		return fmt.Errorf("compile the guest: metered %t, %w", metered, err)
	}
	compile := time.Since(compiled)
	var fuel int64
	slow, err := best(func() (err error) { fuel, err = runGuest(ctx, engine, dir); return err })
	if err != nil {
		return err
	}
	a, _ := os.ReadFile(filepath.Join(dir, "native.png"))
	b, _ := os.ReadFile(filepath.Join(dir, "guest.png"))
	_, err = fmt.Fprintf(w, "bench exeunit/wasm_vs_native value=%.2f unit=ratio native_ms=%d wasm_ms=%d compile_ms=%d fuel=%d same_output=%t\n",
		slow.Seconds()/fast.Seconds(), fast.Milliseconds(), slow.Milliseconds(), compile.Milliseconds(), fuel, bytes.Equal(a, b))
	return err
}

func build(ctx context.Context, out string, env ...string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, workload)
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", workload, err, bytes.TrimSpace(text))
	}
	return nil
}

func best(round func() error) (time.Duration, error) {
	var least time.Duration
	for i := range rounds {
		start := time.Now()
		if err := round(); err != nil {
			return 0, err
		}
		if d := time.Since(start); i == 0 || d < least {
			least = d
		}
	}
	return least, nil
}

func arguments(out string) []string {
	return []string{"-scene", "marbles", "-width", "320", "-height", "200", "-spp", "16", "-tile", pixels, "-o", out}
}

func runNative(ctx context.Context, program, dir string) error {
	text, err := exec.CommandContext(ctx, program, arguments(filepath.Join(dir, "native.png"))...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("native: %w: %s", err, bytes.TrimSpace(text))
	}
	return nil
}

func runGuest(ctx context.Context, e *wasm.Engine, dir string) (fuel int64, err error) {
	g, err := e.NewGuest(exeunit.Run{
		Module: "render", Args: append([]string{"render"}, arguments("/out/guest.png")...),
		Mounts: []exeunit.Mount{{Dir: dir, Path: "/out"}},
	})
	if err != nil {
		return 0, err
	}
	var said bytes.Buffer
	d := e.Run(ctx, g, func(_ bool, p []byte) { said.Write(p) })
	if d.Code != 0 {
		return 0, fmt.Errorf("guest: code %d %s: %s", d.Code, d.Error, bytes.TrimSpace(said.Bytes()))
	}
	return d.Fuel, nil
}
