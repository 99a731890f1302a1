package gsb

import "github.com/emet-node/emet/domain/identity"

// Queued is the number of requests that wait for a socket.
func Queued(b *Bridge, node identity.NodeID, on string) int {
	s, err := b.find(node, on)
	if err != nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)
}
