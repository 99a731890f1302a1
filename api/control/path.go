package control

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// maxSocketPath is how long a path may be: the kernel takes 107 bytes, some
// systems 103.
const maxSocketPath = 100

// Path is where a node with that data directory listens. GSB_URL wins when it
// is "unix:<path>". The default data directory has emet.sock in
// $XDG_RUNTIME_DIR/emet, else in /tmp/emet-<uid>. Any other has it inside, or,
// when that is too long for a socket, in the runtime directory under the
// digest of its name: each node has a socket of its own.
func Path(dataDir, defaultDataDir string) string {
	if p, ok := strings.CutPrefix(os.Getenv("GSB_URL"), "unix:"); ok && p != "" {
		return strings.TrimPrefix(p, "//")
	}
	dir := canonical(dataDir)
	if dir == canonical(defaultDataDir) {
		return filepath.Join(runtimeDir(), "emet.sock")
	}
	if p := filepath.Join(dir, "emet.sock"); len(p) < maxSocketPath {
		return p
	}
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(runtimeDir(), hex.EncodeToString(sum[:8])+".sock")
}

func runtimeDir() string {
	if d := os.Getenv("XDG_RUNTIME_DIR"); d != "" {
		return filepath.Join(d, "emet")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("emet-%d", os.Getuid()))
}

// canonical is the one name of a directory.
func canonical(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	if r, err := filepath.EvalSymlinks(dir); err == nil {
		return r
	}
	return dir
}

// SameDir says whether two names are of one directory.
func SameDir(a, b string) bool { return canonical(a) == canonical(b) }
