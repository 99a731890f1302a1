// Package crash kills the processes of a deal at every fact and at random,
// starts them again on the same directories, and looks whether the deal comes
// out as it would have: settled on both sides, paid once, with nothing left
// over.
package crash

import (
	"testing"

	"github.com/emet-node/emet/tests/built"
)

func TestMain(m *testing.M) { built.Main(m, built.Faulty, built.Echo) }
