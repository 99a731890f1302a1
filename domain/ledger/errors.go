package ledger

import (
	"errors"
	"fmt"

	"github.com/emet-node/emet/domain/es"
)

// Refusals of a [Ledger].
var (
	ErrUnsigned = errors.New("the log has no signed checkpoint yet")
	ErrRange    = errors.New("the log has no such place")
	// ErrUnprovable says that an engine does not keep what a proof is made of.
	ErrUnprovable = errors.New("the store keeps no proofs")
)

// Rewritten says that the log is not what was signed before: it is shorter, or
// its beginning is another. Nothing is signed on top of it, since two
// checkpoints that contradict each other prove a fraud to everyone who sees
// them. It is an [es.ErrCorrupt].
type Rewritten struct {
	Signed     uint64 // size of the last signed checkpoint
	SignedRoot es.Hash
	Have       uint64  // size of the log
	Root       es.Hash // of its tree at the signed size, zero when it is shorter
}

func (e *Rewritten) Error() string {
	if e.Have < e.Signed {
		return fmt.Sprintf("the log has %d events but a checkpoint over %d was signed: the end of the log is lost, nothing more is signed; "+
			"restore the whole log from a copy", e.Have, e.Signed)
	}
	return fmt.Sprintf("the first %d events have the root %s but %s was signed: the log is not the one that was signed, nothing more is signed; "+
		"restore it from a copy", e.Signed, e.Root, e.SignedRoot)
}

// Is makes errors.Is(err, es.ErrCorrupt) true.
func (e *Rewritten) Is(target error) bool { return target == es.ErrCorrupt }
