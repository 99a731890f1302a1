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
	var out []int
	for range 2000 {
		if len(out) == n {
			return out, nil
		}
		p := lowestPort + rand.IntN(highestPort-lowestPort) //nolint:gosec // any will do
		if claimLocked(p) {
			out = append(out, p)
		}
	}
	if len(out) < n {
		return nil, errors.New("no free ports between 12000 and 32000 on 127.0.0.1")
	}
	return out, nil
}

// claim takes certain ports, all or none.
func claim(ports []int) bool {
	given.Lock()
	defer given.Unlock()
	for i, p := range ports {
		if !claimLocked(p) {
			for _, taken := range ports[:i] {
				delete(given.ports, taken)
			}
			return false
		}
	}
	return true
}

// claimLocked takes a port, if it is free. The caller holds the lock.
func claimLocked(port int) bool {
	if given.ports == nil {
		given.ports = map[int]bool{}
	}
	if given.ports[port] || !free(port) {
		return false
	}
	given.ports[port] = true
	return true
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
