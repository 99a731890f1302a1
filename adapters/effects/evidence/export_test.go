package evidence

import "github.com/emet-node/emet/domain/identity"

// Asked says whether a node was asked what it saw.
func (d *Desk) Asked(node identity.NodeID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[node]
}

// Forget lets a node be asked once more.
func (d *Desk) Forget(node identity.NodeID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.asked, node)
}
