package node

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/emet-node/emet/adapters/ledger"
	"github.com/emet-node/emet/adapters/store/vfs"
	domain "github.com/emet-node/emet/domain/ledger"
)

// openKeeper opens what signs the log, in the name of the default identity. It
// refuses a log that is not the one which was signed before: a node that wrote
// on would contradict itself before everybody.
func (n *Node) openKeeper(ctx context.Context) error {
	key, err := n.Secrets.LogKey()
	if err != nil {
		return err
	}
	dir := filepath.Join(n.o.Dir, "store")
	id, err := n.Watch.LogID(ctx, n.Store.LogID())
	if err != nil {
		return err
	}
	standing, err := n.Watch.Standing(ctx)
	if err == nil {
		err = retire(dir, standing)
	}
	if err != nil {
		return err
	}
	if err := standing.Err(); err != nil {
		n.log.Error("the log is not the newest copy", "error", err)
	}
	n.keeper, err = ledger.Open(ctx, n.Log, ledger.Options{
		Disk: vfs.Files{FS: vfs.OS{}}, Dir: dir, LogID: id, Identity: n.people.Default(), Key: key,
		Attest: n.Secrets.Keys.SignDelegation, Logger: n.log, Hold: n.Watch.Held,
	})
	return err
}

// LogID is the name of the log, which is in its checkpoints.
func (l *Ledger) LogID(ctx context.Context) ([16]byte, error) {
	return ledger.NewWatch(l.Log, nil).LogID(ctx, l.Store.LogID())
}

// retire puts the checkpoint of the log that this one continues aside, if it
// still is where the newest one belongs.
func retire(dir string, s domain.Standing) error {
	if s.Before == nil {
		return nil
	}
	c, err := ledger.Signed(vfs.Files{FS: vfs.OS{}}, dir)
	if errors.Is(err, domain.ErrUnsigned) {
		return nil
	}
	if err != nil || !strings.HasSuffix(c.Origin, "/"+s.Before.LogID) {
		return err
	}
	if b, err := hex.DecodeString(s.Before.LogID); err != nil || len(b) != 16 {
		return fmt.Errorf("%s: log id %q", dir, s.Before.LogID)
	}
	old := filepath.Join(dir, "predecessors", s.Before.LogID)
	if err := os.MkdirAll(old, 0o700); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, "checkpoint"), filepath.Join(old, "checkpoint")); err != nil {
		return err
	}
	return errors.Join(vfs.OS{}.SyncDir(old), vfs.OS{}.SyncDir(filepath.Dir(old)), vfs.OS{}.SyncDir(dir))
}
