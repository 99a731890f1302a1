package wasm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/emet-node/emet/adapters/exeunit"
)

// endless is a module whose _start loops for ever:
//
//	(module (func (export "_start") (loop br 0)))
var endless = []byte{
	0, 'a', 's', 'm', 1, 0, 0, 0,
	1, 4, 1, 0x60, 0, 0,
	3, 2, 1, 0,
	7, 10, 1, 6, '_', 's', 't', 'a', 'r', 't', 0, 0,
	10, 9, 1, 7, 0, 0x03, 0x40, 0x0c, 0, 0x0b, 0x0b,
}

// selfTest is the argument by which the runtime process tests itself.
const selfTest = "self-test"

// testTime bounds one self-test, the start of a process included.
const testTime = 30 * time.Second

// Test proves that this machine runs guests and that it can stop them. It does
// so in a process of its own, program run with the runtime's command word
// ("" = this program): where compiled code spins, the Go runtime can be stopped
// for ever, and that must not be the caller. A process that hung is killed and
// tried once more.
func Test(ctx context.Context, program string) error {
	if program == "" {
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		program = exe
	}
	var err error
	for range 2 {
		if err = testOnce(ctx, program); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func testOnce(ctx context.Context, program string) error {
	ctx, cancel := context.WithTimeout(ctx, testTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, exeunit.WASMCommand, selfTest)
	cmd.Env, cmd.WaitDelay = []string{}, time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return fmt.Errorf("runtime self-test: no answer within %s", testTime)
	}
	if err != nil {
		return fmt.Errorf("runtime self-test: %w: %.300s", err, out)
	}
	return nil
}

// testHere runs a guest that never ends until its fuel is used up, and one
// until it is told to stop. It takes some milliseconds.
func testHere(ctx context.Context) error {
	e, err := NewEngine(ctx, "", 1)
	if err != nil {
		return fmt.Errorf("runtime self-test: %w", err)
	}
	defer e.Close(ctx) //nolint:errcheck // it has no cache on the disk
	if metered, err := e.Add(ctx, "endless", endless); err != nil || !metered {
		return fmt.Errorf("runtime self-test: metered %t: %w", metered, err)
	}
	for _, r := range []exeunit.Run{{Module: "endless", Fuel: 10_000}, {Module: "endless", WallMS: 5}} {
		g, err := e.NewGuest(r)
		if err != nil {
			return fmt.Errorf("runtime self-test: %w", err)
		}
		ended := make(chan exeunit.Done, 1)
		go func() { ended <- e.Run(ctx, g, func(bool, []byte) {}) }()
		select {
		case d := <-ended:
			if d.Stopped == "" || d.Fuel <= 0 {
				return fmt.Errorf("runtime self-test: an endless guest ended with %+v", d)
			}
		case <-time.After(10 * time.Second):
			return fmt.Errorf("runtime self-test: a guest cannot be stopped on this machine")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
