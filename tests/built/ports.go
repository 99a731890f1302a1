package built

import (
	"testing"

	"github.com/emet-node/emet/cmd/emet/keep"
)

// Port is a free one of the loopback, for TCP and UDP, below those that the
// system hands out: nobody takes it while its owner is down. Each is given
// once.
func Port(t testing.TB) int {
	t.Helper()
	ports, err := keep.Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	return ports[0]
}
