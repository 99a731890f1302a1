package keep

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// The ports are below those that systems hand out to whoever asks for any, so
// that nobody takes one by chance while its owner is being started again.
const (
	lowestPort  = 12000
	highestPort = 32000
)

var given struct {
	sync.Mutex
	ports map[int]bool
}

// Ports finds free ports of the loopback, for TCP and UDP. This process gives
// each of them away once.
func Ports(n int) ([]int, error) {
	given.Lock()
	defer given.Unlock()
	if given.ports == nil {
		given.ports = map[int]bool{}
	}
	var out []int
	for range 2000 {
		if len(out) == n {
			return out, nil
		}
		p := lowestPort + rand.IntN(highestPort-lowestPort) //nolint:gosec // any will do
		if !given.ports[p] && free(p) {
			given.ports[p] = true
			out = append(out, p)
		}
	}
	if len(out) < n {
		return nil, errors.New("no free ports between 12000 and 32000 on 127.0.0.1")
	}
	return out, nil
}

func free(port int) bool {
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	tcp, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer tcp.Close() //nolint:errcheck // only tried
	udp, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	_ = udp.Close()
	return true
}
