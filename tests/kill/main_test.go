// Package kill kills the program as it is built for users, with SIGKILL and at
// any moment: while clients append through the gRPC door, while it starts,
// while it makes its views anew, copies its log and restores it. What it had
// acknowledged must be there, and what it left behind whole or refused.
//
// Each test prints its seed when it fails. KILL_SEED=<number> plays one again,
// as far as the machine goes along; KILL_FOR=20m plays on with new seeds for so
// long, which is more than 500 kills; KILL_KEEP=<dir> keeps data and logs there.
package kill

import (
	"testing"

	"github.com/emet-node/emet/tests/built"
)

func TestMain(m *testing.M) { built.Main(m, built.Emet) }
