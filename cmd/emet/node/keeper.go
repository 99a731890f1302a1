package node

import (
	"context"
	"path/filepath"

	"github.com/emet-node/emet/adapters/ledger"
	"github.com/emet-node/emet/adapters/store/vfs"
)

// openKeeper opens what signs the log, in the name of the default identity. It
// refuses a log that is not the one which was signed before: a node that wrote
// on would contradict itself before everybody.
func (n *Node) openKeeper(ctx context.Context) error {
	key, err := n.Secrets.LogKey()
	if err != nil {
		return err
	}
	n.keeper, err = ledger.Open(ctx, n.Log, ledger.Options{
		Disk: vfs.Files{FS: vfs.OS{}}, Dir: filepath.Join(n.o.Dir, "store"), LogID: n.Store.LogID(), Identity: n.people.Default(), Key: key,
		Attest: n.Secrets.Keys.SignDelegation, Logger: n.log,
	})
	return err
}
