package node

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/emet-node/emet/api/control"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity/appkey"
)

// running is a node as its operator sees it.
type running struct {
	*Operator
	n     *Node
	since time.Time
	stop  func()
}

// Control is what the operator may do with the node while it runs. stop is
// called when it is asked to end.
func (n *Node) Control(stop func()) control.Daemon {
	return running{
		Operator: &Operator{l: n.Ledger, agg: n.Aggregates, people: n.people, courier: n.courier},
		n:        n, since: time.Now().UTC(), stop: stop,
	}
}

// CreateIdentity, UnlockIdentity and DropIdentity implement control.Deps. Other
// nodes are told which identities this host speaks for at present.
func (r running) CreateIdentity(ctx context.Context, n control.NewIdentity) (control.Identity, error) {
	defer r.n.present(ctx)
	return r.Operator.CreateIdentity(ctx, n)
}

// UnlockIdentity implements control.Deps.
func (r running) UnlockIdentity(ctx context.Context, ref, passphrase string) (control.Identity, error) {
	defer r.n.present(ctx)
	return r.Operator.UnlockIdentity(ctx, ref, passphrase)
}

// DropIdentity implements control.Deps.
func (r running) DropIdentity(ctx context.Context, ref string) (control.Identity, error) {
	defer r.n.present(ctx)
	return r.Operator.DropIdentity(ctx, ref)
}

// DropAppKey implements control.Deps. What the key's clients serve to others
// ends with it.
func (r running) DropAppKey(ctx context.Context, name, owner string) error {
	if err := r.Operator.DropAppKey(ctx, name, owner); err != nil {
		return err
	}
	r.n.bridge.UnbindKey(appkey.StreamID(name))
	return nil
}

// openSocket listens for the operator. A directory in which others could take
// its place is no reason not to start: the operator is told, and goes without.
func (n *Node) openSocket() (err error) {
	if n.o.Socket == "" {
		return nil
	}
	l, err := control.Listen(n.o.Socket)
	if errors.Is(err, control.ErrUnsafe) {
		n.log.Warn("commands cannot reach this node", "error", err)
		return nil
	}
	if err == nil {
		n.socket = l
	}
	return err
}

// Status implements control.Daemon.
func (r running) Status(ctx context.Context) (control.Status, error) {
	head, err := r.l.Store.Head(ctx)
	frozen := ""
	if err := r.n.Watch.Held(ctx); err != nil {
		frozen = err.Error()
	}
	ids := r.people.All()
	slices.Sort(ids)
	return control.Status{
		DataDir: r.n.o.Dir, Frozen: frozen, Identities: ids, PID: os.Getpid(), Position: uint64(head), REST: r.n.URL(),
		Since: r.since, Version: r.n.o.Version,
	}, err
}

// Stop implements control.Daemon.
func (r running) Stop(context.Context) error {
	r.stop()
	return nil
}

// Follow implements control.Daemon.
func (r running) Follow(ctx context.Context, from uint64, hear func(control.Fact) error) error {
	next := es.Position(from)
	for {
		for f, err := range r.l.Log.ReadAll(ctx, next, es.Filter{}) {
			if err == nil {
				err = hear(control.Show(f))
			}
			if err != nil {
				return err
			}
			next = f.Position + 1
		}
		if err := r.l.Log.Wait(ctx, next, es.Filter{}); err != nil {
			return err
		}
	}
}
