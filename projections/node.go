package projections

import (
	"context"

	"github.com/emet-node/emet/domain/es"
)

// Node answers questions about the node itself: identities, app-keys, open
// intents, deadlines, and what belongs to a story.
type Node struct {
	*DB
	keys *keyMemory // nil in the past
}

// OpenNode opens the group in dir ([Memory] = none).
func OpenNode(ctx context.Context, dir string, log *es.Log) (*Node, error) {
	return nodeOf(ctx, Open, dir, log)
}

// ReadNode reads the group as another process keeps it. See [OpenReadOnly].
func ReadNode(ctx context.Context, dir string, log *es.Log) (*Node, error) {
	return nodeOf(ctx, OpenReadOnly, dir, log)
}

func nodeOf(ctx context.Context, open opener, dir string, log *es.Log) (*Node, error) {
	db, err := open(ctx, "node", in(dir, "node"), log, pending{}, timeline{}, deadlines{}, identities{}, appKeys{}, providers{})
	if err != nil {
		return nil, err
	}
	n := &Node{DB: db, keys: &keyMemory{}}
	if err := n.keys.load(ctx, db); err != nil {
		db.Close() //nolint:errcheck // the first error counts
		return nil, err
	}
	db.after = append(db.after, n.keys.hear)
	return n, nil
}

// AsOf is the group as it was when the log had pos events. Close it after use.
func (n *Node) AsOf(ctx context.Context, pos es.Position) (*Node, error) {
	db, err := n.DB.AsOf(ctx, pos)
	return &Node{DB: db}, err
}
