package wasm

import (
	"context"
	"errors"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/emet-node/emet/adapters/exeunit"
)

// Check says why a module cannot run on any machine, nil when nothing stands
// against it. It runs nothing, and takes some 0.1 s for a MiB of code.
func Check(ctx context.Context, module []byte) (err error) {
	if err := exeunit.CheckModule(module[:min(8, len(module))]); err != nil {
		return err
	}
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer func() { err = errors.Join(err, rt.Close(ctx)) }()
	code, err := rt.CompileModule(ctx, module)
	if err != nil {
		return fmt.Errorf("%w: %w", exeunit.ErrImage, err)
	}
	if err := onlyWASI(code); err != nil {
		return err
	}
	if _, ok := code.ExportedFunctions()[mainExport]; !ok {
		return fmt.Errorf("%w: it %s", exeunit.ErrImage, noMain)
	}
	return nil
}

// mainExport is what a program does.
const (
	mainExport = "_start"
	noMain     = "exports no " + mainExport + ": it is a library and not a program"
)

// onlyWASI refuses what needs functions that nobody offers here.
func onlyWASI(code wazero.CompiledModule) error {
	for _, f := range code.ImportedFunctions() {
		if from, name, _ := f.Import(); from != wasi_snapshot_preview1.ModuleName {
			return fmt.Errorf("%w: it imports %q of %q, and this runtime offers only %s", exeunit.ErrImage, name, from, wasi_snapshot_preview1.ModuleName)
		}
	}
	return nil
}
