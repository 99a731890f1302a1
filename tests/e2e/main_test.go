// Package e2e holds what the program promises to whoever uses it wrongly, or
// in a world that breaks: each case is a clear error or a recovery, shown by
// the program itself.
package e2e

import (
	"testing"

	"github.com/emet-node/emet/tests/built"
)

func TestMain(m *testing.M) { built.Main(m, built.Emet, built.Guest, built.Render) }
