package hostile

import (
	"testing"

	"github.com/emet-node/emet/tests/built"
)

func TestMain(m *testing.M) { built.Main(m, built.Emet, built.Echo) }
