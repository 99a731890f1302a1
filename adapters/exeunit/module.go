package exeunit

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrImage says that an image is not one that this runtime can run.
var ErrImage = errors.New("image cannot run here")

var (
	wasmMagic = []byte("\x00asm")
	zipMagic  = []byte("PK")
)

// CheckModule looks at the first bytes of a program and says why it cannot run.
func CheckModule(head []byte) error {
	switch {
	case len(head) < 8 || !bytes.HasPrefix(head, wasmMagic):
		return fmt.Errorf("%w: it begins with % x and not with WebAssembly's 00 61 73 6d; send a .wasm module built for wasip1 or a zip package of such modules",
			ErrImage, head[:min(len(head), 8)])
	case bytes.Equal(head[4:8], []byte{1, 0, 0, 0}):
		return nil
	case head[6] == 1:
		return fmt.Errorf("%w: it is a WebAssembly component (layer %d, version %d), and this runtime runs core modules with WASI preview 1; build it for wasip1 (wasm32-wasip1, GOOS=wasip1)",
			ErrImage, head[6], head[4])
	}
	return fmt.Errorf("%w: WebAssembly version % x is unknown, want 1", ErrImage, head[4:8])
}

// IsZip says whether an image is a package rather than a bare module.
func IsZip(head []byte) bool { return bytes.HasPrefix(head, zipMagic) }
