package keep

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
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
	ports map[int]io.Closer // what shows others that it is given
}

// Ports finds free ports of the loopback, for TCP and UDP. This process gives
// each of them away once, and as long as it lives no other one does (on Linux),
// though nobody may listen there yet, or for a moment.
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
				dropLocked(taken)
			}
			return false
		}
	}
	return true
}

// claimLocked takes a port, if it is free. The caller holds the lock.
func claimLocked(port int) bool {
	if given.ports == nil {
		given.ports = map[int]io.Closer{}
	}
	if _, is := given.ports[port]; is || !free(port) {
		return false
	}
	sign, err := show(port)
	if err != nil {
		return false
	}
	given.ports[port] = sign
	return true
}

// dropLocked takes a port back. The caller holds the lock.
func dropLocked(port int) {
	_ = given.ports[port].Close()
	delete(given.ports, port)
}

// show tells other processes that a port is given, by a name that they cannot
// take then. It goes with this process, and is in no file system.
func show(port int) (io.Closer, error) {
	if runtime.GOOS != "linux" {
		return io.NopCloser(nil), nil
	}
	return net.Listen("unix", fmt.Sprintf("@emet-port-%d", port))
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
