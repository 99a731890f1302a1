package ledger

import (
	"context"
	"encoding/hex"
	"iter"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
)

// Ledger proves what a log says to those who do not trust its owner: which
// events it holds, and that it only ever grew. Sizes are numbers of events.
type Ledger interface {
	// Checkpoint is the newest one that was signed; [ErrUnsigned] when there is
	// none yet.
	Checkpoint(ctx context.Context) (Checkpoint, error)
	// InclusionProof proves the event at p to be in the tree over the first size
	// events (RFC 6962 §2.1.1).
	InclusionProof(ctx context.Context, p es.Position, size uint64) ([]es.Hash, error)
	// ConsistencyProof proves that the tree over the first to events continues
	// the one over the first from (RFC 6962 §2.1.2).
	ConsistencyProof(ctx context.Context, from, to uint64) ([]es.Hash, error)
	// Tile returns the first width (1 to 256) hashes of a tile of the layout
	// c2sp.org/tlog-tiles, 32 bytes each.
	Tile(ctx context.Context, level int, index uint64, width int) ([]byte, error)
}

// Checkpoint is what the owner of a log stands by: this many events have this root.
type Checkpoint struct {
	Origin string
	Root   es.Hash
	Size   uint64
	Note   []byte // as signed, c2sp.org/tlog-checkpoint
}

// Entry is one event as its leaf in the tree was made of it. Header is the
// leaf; it commits to Data and Meta by SHA-256(2 ‖ salt ‖ bytes).
type Entry struct {
	Data, DataSalt, Header, Meta, MetaSalt []byte
}

// Source is a log over which a tree can be kept and events proved.
type Source interface {
	es.Store
	// Root is the number of durable events and the root of the tree over them.
	Root() (size uint64, root es.Hash)
	// LeafHashes are the leaves over [from, to), as far as they are durable.
	LeafHashes(ctx context.Context, from, to es.Position) iter.Seq2[es.Hash, error]
	// Entry is an event as it was hashed. It fails with [ErrRange] beyond the end.
	Entry(ctx context.Context, p es.Position) (Entry, error)
}

// Origin is the first line of the checkpoints of a log: whose it is, and which.
// A store that is made anew is another log.
func Origin(node identity.NodeID, logID [16]byte) string {
	return "emet/" + string(node) + "/" + hex.EncodeToString(logID[:])
}
