package node

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/emet-node/emet/adapters/ledger"
	"github.com/emet-node/emet/adapters/store/vfs"
	domain "github.com/emet-node/emet/domain/ledger"
)

// lastSigned is the newest checkpoint of a data directory. Whoever holds a log
// against it takes it before the log is opened, which a node may make longer.
type lastSigned struct {
	checkpoint domain.Checkpoint
	err        error // [domain.ErrUnsigned] when there is none
}

func lastSignedOf(dir string) (s lastSigned) {
	s.checkpoint, s.err = ledger.Signed(vfs.Files{FS: vfs.OS{}}, filepath.Join(dir, "store"))
	return s
}

// HoldsSigned checks that the log is what was signed last, as far as it was when
// the log was opened, and says how many events that are, 0 = nothing was signed
// under the name that the log has now. It fails with a [*domain.Rewritten] when
// log and checkpoint contradict each other, and with an [es.ErrCorrupt] when the
// checkpoint itself is damaged.
func (r *Reading) HoldsSigned(ctx context.Context) (size uint64, err error) {
	id, ok, err := r.signedAs(ctx)
	if err != nil || !ok {
		return 0, err
	}
	c, disk, store := r.signed.checkpoint, vfs.Files{FS: vfs.OS{}}, filepath.Join(r.dir, "store")
	if err := ledger.Undamaged(ctx, r.Log, store, c); err != nil {
		return 0, err
	}
	_, err = ledger.OpenReader(ctx, r.Store, disk, store, id, c)
	return c.Size, err
}

// LostEnd is a [*domain.Rewritten] when the log is shorter than what was signed.
// It looks at nothing else, and at no other damage.
func (r *Reading) LostEnd(ctx context.Context) error {
	_, ok, err := r.signedAs(ctx)
	if err != nil || !ok {
		return nil //nolint:nilerr // others tell about it
	}
	if have, _ := r.Store.Root(); have < r.signed.checkpoint.Size {
		return &domain.Rewritten{Signed: r.signed.checkpoint.Size, SignedRoot: r.signed.checkpoint.Root, Have: have}
	}
	return nil
}

// signedAs is the name under which the log was signed last; ok is false when it
// was not since it got that name. The checkpoint of the log that this one
// continues lies there until the next start.
func (r *Reading) signedAs(ctx context.Context) (id [16]byte, ok bool, err error) {
	if errors.Is(r.signed.err, domain.ErrUnsigned) {
		return id, false, nil
	}
	if r.signed.err != nil {
		return id, false, r.signed.err
	}
	s, err := r.Standing(ctx)
	if err != nil || s.Before != nil && strings.HasSuffix(r.signed.checkpoint.Origin, "/"+s.Before.LogID) {
		return id, false, err
	}
	id, err = r.LogID(ctx)
	return id, err == nil, err
}
