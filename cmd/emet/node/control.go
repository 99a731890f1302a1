package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/emet-node/emet/adapters/bus"
	"github.com/emet-node/emet/adapters/secrets"
	"github.com/emet-node/emet/api/control"
	"github.com/emet-node/emet/api/rest"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/account"
	"github.com/emet-node/emet/domain/identity/appkey"
	"github.com/emet-node/emet/domain/provider/agent"
	"github.com/emet-node/emet/projections"
)

// Operator is what the person at the machine may do with a node. It is a
// control.Deps on a ledger that is open for writing.
type Operator struct {
	l       *Ledger
	agg     *Aggregates
	people  *people
	courier *bus.Courier
}

var _ control.Deps = (*Operator)(nil)

// OpenOperator opens a data directory, on which no node runs, for the
// operator. It fails with es.ErrLocked when one does. Close ends it.
func OpenOperator(ctx context.Context, o Options) (*Operator, func() error, error) {
	l, err := OpenLedger(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	stop := follow(ctx, l.Views())
	agg := newAggregates(l.Log)
	p := &people{l: l, agg: agg, ours: make(map[identity.NodeID]bool), fleeting: make(map[string]rest.Key)}
	return &Operator{l: l, agg: agg, people: p, courier: newCourier(l, o)}, func() error { stop(); return l.Close() }, nil
}

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

func newKey() string { return "operator/" + randomHex(16) }

// find resolves a node id or alias, "" to the default identity.
func (o *Operator) find(ctx context.Context, ref string) (projections.IdentityRow, error) {
	rows, err := o.rows(ctx)
	if err != nil {
		return projections.IdentityRow{}, err
	}
	id, isID := identity.ParseNodeID(ref)
	for _, r := range rows {
		if ref == "" && r.Default || ref != "" && (isID == nil && r.ID == id || r.Alias == ref) {
			return r, nil
		}
	}
	if ref == "" {
		return projections.IdentityRow{}, fmt.Errorf("%w: this node has no identity yet; make one with: emet id create", control.ErrNotFound)
	}
	return projections.IdentityRow{}, fmt.Errorf("%w: no identity %q on this node; emet id list shows all", control.ErrNotFound, ref)
}

// rows lists the identities; exactly one of them is the default.
func (o *Operator) rows(ctx context.Context) ([]projections.IdentityRow, error) {
	return IdentitiesOf(ctx, o.l)
}

// IdentitiesOf lists the identities of a node, oldest first. One of them is
// the default: the oldest, when none was chosen.
func IdentitiesOf(ctx context.Context, l *Ledger) ([]projections.IdentityRow, error) {
	rows, err := l.Node.Identities(ctx)
	if err != nil || len(rows) == 0 || slices.ContainsFunc(rows, func(r projections.IdentityRow) bool { return r.Default }) {
		return rows, err
	}
	rows[0].Default = true
	return rows, nil
}

// ShowIdentity is a row as the operator sees it.
func ShowIdentity(r projections.IdentityRow) control.Identity {
	return control.Identity{
		Alias: r.Alias, Created: r.Recorded, IsDefault: r.Default, IsLocked: r.Locked, NodeID: r.ID,
		Origin: string(r.Origin), PublicKey: r.PublicKey,
	}
}

// Identities implements control.Deps.
func (o *Operator) Identities(ctx context.Context) ([]control.Identity, error) {
	rows, err := o.rows(ctx)
	out := make([]control.Identity, len(rows))
	for i, r := range rows {
		out[i] = ShowIdentity(r)
	}
	return out, err
}

// Identity implements control.Deps.
func (o *Operator) Identity(ctx context.Context, ref string) (control.Identity, error) {
	r, err := o.find(ctx, ref)
	return ShowIdentity(r), err
}

// CreateIdentity implements control.Deps.
func (o *Operator) CreateIdentity(ctx context.Context, n control.NewIdentity) (control.Identity, error) {
	rows, err := o.rows(ctx)
	if err != nil {
		return control.Identity{}, err
	}
	if err := o.freeAlias(rows, n.Alias, ""); err != nil {
		return control.Identity{}, err
	}
	info, origin, err := o.secret(n)
	if err != nil {
		return control.Identity{}, bad(err)
	}
	create := account.Create{Alias: n.Alias, By: operator, Identity: info.ID, Locked: info.Locked, Origin: origin, PublicKey: info.PublicKey}
	before := slices.ContainsFunc(rows, func(r projections.IdentityRow) bool { return r.ID == info.ID })
	if before {
		return control.Identity{}, fmt.Errorf("%w: identity %s exists already", control.ErrBad, info.ID)
	}
	if _, err := o.agg.Accounts.Do(ctx, string(info.ID), create, operatorMeta(info.ID, newKey())); err != nil {
		return control.Identity{}, bad(err)
	}
	if n.Default || len(rows) == 0 {
		if err := o.makeDefault(ctx, rows, info.ID); err != nil {
			return control.Identity{}, err
		}
	}
	o.people.mu.Lock()
	o.people.ours[info.ID] = true
	o.people.mu.Unlock()
	return o.Identity(ctx, string(info.ID))
}

func (o *Operator) secret(n control.NewIdentity) (secrets.KeyInfo, account.Origin, error) {
	keys := o.l.Secrets.Keys
	switch {
	case n.Secret != "" && n.KeyFile != "":
		return secrets.KeyInfo{}, "", errors.New("give a secret key or a key file, not both")
	case n.Secret != "":
		info, err := keys.Import(strings.TrimPrefix(n.Secret, "0x"), n.Passphrase)
		return info, account.Imported, err
	case n.KeyFile != "":
		info, err := keys.ImportFile([]byte(n.KeyFile), n.Passphrase)
		return info, account.Imported, err
	}
	info, err := keys.Create(n.Passphrase)
	return info, account.Generated, err
}

func (o *Operator) freeAlias(rows []projections.IdentityRow, alias string, except identity.NodeID) error {
	if err := account.CheckAlias(alias); err != nil {
		return bad(err)
	}
	for _, r := range rows {
		if alias != "" && r.Alias == alias && r.ID != except {
			return fmt.Errorf("%w: the alias %q belongs to %s", control.ErrBad, alias, r.ID)
		}
	}
	return nil
}

func (o *Operator) makeDefault(ctx context.Context, rows []projections.IdentityRow, id identity.NodeID) error {
	var present identity.NodeID
	for _, r := range rows {
		if r.Default {
			present = r.ID
		}
	}
	if _, err := o.agg.Accounts.Do(ctx, string(id), account.MakeDefault{By: operator, Present: present}, operatorMeta(id, newKey())); err != nil {
		return bad(err)
	}
	o.people.mu.Lock()
	defer o.people.mu.Unlock()
	o.people.main = id
	return nil
}

// UpdateIdentity implements control.Deps.
func (o *Operator) UpdateIdentity(ctx context.Context, ref string, c control.IdentityChange) (control.Identity, error) {
	r, err := o.find(ctx, ref)
	if err != nil {
		return control.Identity{}, err
	}
	rows, err := o.rows(ctx)
	if err != nil {
		return control.Identity{}, err
	}
	if c.Alias != nil {
		if err := o.freeAlias(rows, *c.Alias, r.ID); err != nil {
			return control.Identity{}, err
		}
		if err := o.account(ctx, r.ID, account.SetAlias{Alias: *c.Alias, By: operator}); err != nil {
			return control.Identity{}, err
		}
	}
	if c.Default {
		if err := o.makeDefault(ctx, rows, r.ID); err != nil {
			return control.Identity{}, err
		}
	}
	return o.Identity(ctx, string(r.ID))
}

func (o *Operator) account(ctx context.Context, id identity.NodeID, c account.Command) error {
	_, err := o.agg.Accounts.Do(ctx, string(id), c, operatorMeta(id, newKey()))
	return bad(err)
}

// LockIdentity implements control.Deps.
func (o *Operator) LockIdentity(ctx context.Context, ref string) (control.Identity, error) {
	r, err := o.find(ctx, ref)
	if err != nil {
		return control.Identity{}, err
	}
	if err := o.l.Secrets.Keys.Lock(r.ID); err != nil {
		return control.Identity{}, bad(err)
	}
	if err := o.account(ctx, r.ID, account.Lock{By: operator}); err != nil {
		return control.Identity{}, err
	}
	return o.Identity(ctx, string(r.ID))
}

// UnlockIdentity implements control.Deps.
func (o *Operator) UnlockIdentity(ctx context.Context, ref, passphrase string) (control.Identity, error) {
	r, err := o.find(ctx, ref)
	if err != nil {
		return control.Identity{}, err
	}
	if err := o.l.Secrets.Keys.Unlock(r.ID, passphrase); err != nil {
		return control.Identity{}, bad(err)
	}
	if err := o.account(ctx, r.ID, account.Unlock{By: operator}); err != nil {
		return control.Identity{}, err
	}
	return o.Identity(ctx, string(r.ID))
}

// DropIdentity implements control.Deps.
func (o *Operator) DropIdentity(ctx context.Context, ref string) (control.Identity, error) {
	r, err := o.find(ctx, ref)
	if err != nil {
		return control.Identity{}, err
	}
	main, err := o.find(ctx, "")
	if err != nil {
		return control.Identity{}, err
	}
	if err := o.account(ctx, r.ID, account.Drop{By: operator, Default: main.ID}); err != nil {
		return control.Identity{}, err
	}
	o.people.mu.Lock()
	delete(o.people.ours, r.ID)
	o.people.mu.Unlock()
	if err := o.l.Secrets.Keys.Delete(r.ID); err != nil && !errors.Is(err, secrets.ErrNoKey) {
		return control.Identity{}, fmt.Errorf("the identity was dropped, its key file is still there: %w", err)
	}
	return ShowIdentity(r), nil
}

// ExportIdentity implements control.Deps.
func (o *Operator) ExportIdentity(ctx context.Context, ref string, plain bool) (string, error) {
	r, err := o.find(ctx, ref)
	if err != nil {
		return "", err
	}
	if plain {
		s, err := o.l.Secrets.Keys.ExportPlain(r.ID)
		return s, bad(err)
	}
	b, err := o.l.Secrets.Keys.Export(r.ID)
	return string(b), bad(err)
}

// AppKeys implements control.Deps.
func (o *Operator) AppKeys(ctx context.Context) ([]control.AppKey, error) {
	return AppKeysOf(ctx, o.l)
}

// AppKeysOf lists the app-keys of a node, oldest first.
func AppKeysOf(ctx context.Context, l *Ledger) ([]control.AppKey, error) {
	rows, err := l.Node.AppKeys(ctx)
	out := make([]control.AppKey, len(rows))
	for i, r := range rows {
		secret, ok := l.Secrets.AppKeys.Get(r.Name)
		if !ok || secrets.HashAppKey(secret) != r.Hash {
			secret = ""
		}
		out[i] = control.AppKey{
			AllowOrigins: append([]string{}, r.Origins...), Created: r.Recorded, Identity: r.Identity, Key: secret, Name: r.Name, Role: r.Role,
		}
	}
	return out, err
}

// CreateAppKey implements control.Deps.
func (o *Operator) CreateAppKey(ctx context.Context, n control.NewAppKey) (control.AppKey, error) {
	owner, err := o.find(ctx, n.Identity)
	if err != nil {
		return control.AppKey{}, err
	}
	s, _, err := o.agg.AppKeys.Load(ctx, appkey.StreamID(n.Name))
	if err != nil {
		return control.AppKey{}, err
	}
	if s.Name != "" {
		return control.AppKey{}, fmt.Errorf("%w: an app-key %q exists already: %w", control.ErrBad, n.Name, appkey.ErrTaken)
	}
	secret := secrets.NewAppKey()
	create := appkey.Create{
		At: time.Now().UTC(), By: operator, Hash: secrets.HashAppKey(secret), Identity: owner.ID, Name: n.Name,
		Origins: n.AllowOrigins, Prefix: secrets.AppKeyPrefix(secret), Role: n.Role,
	}
	if _, err := appkey.Rules.Decide(s, create); err != nil {
		return control.AppKey{}, bad(err)
	}
	if err := o.l.Secrets.AppKeys.Put(n.Name, secret); err != nil {
		return control.AppKey{}, err
	}
	if _, err := o.agg.AppKeys.Do(ctx, appkey.StreamID(n.Name), create, operatorMeta(owner.ID, newKey())); err != nil {
		return control.AppKey{}, bad(err)
	}
	return o.appKey(ctx, n.Name)
}

func (o *Operator) appKey(ctx context.Context, name string) (control.AppKey, error) {
	all, err := o.AppKeys(ctx)
	if err != nil {
		return control.AppKey{}, err
	}
	for _, k := range all {
		if k.Name == name {
			return k, nil
		}
	}
	return control.AppKey{}, fmt.Errorf("%w: no app-key %q; emet app-key list shows all", control.ErrNotFound, name)
}

// DropAppKey implements control.Deps.
func (o *Operator) DropAppKey(ctx context.Context, name, owner string) error {
	k, err := o.appKey(ctx, name)
	if err != nil {
		return err
	}
	if owner != "" {
		r, err := o.find(ctx, owner)
		if err != nil {
			return err
		}
		if r.ID != k.Identity {
			return fmt.Errorf("%w: the app-key %q belongs to %s", control.ErrNotFound, name, k.Identity)
		}
	}
	if _, err := o.agg.AppKeys.Do(ctx, appkey.StreamID(name), appkey.Drop{By: operator, Name: name}, operatorMeta(k.Identity, newKey())); err != nil {
		return bad(err)
	}
	return o.l.Secrets.AppKeys.Delete(name)
}

// Providers implements control.Deps.
func (o *Operator) Providers(ctx context.Context) ([]control.Provider, error) {
	return ProvidersOf(ctx, o.l, "")
}

// ProvidersOf lists the identities that sell, or did; id "" means all.
func ProvidersOf(ctx context.Context, l *Ledger, id identity.NodeID) ([]control.Provider, error) {
	rows, err := l.Node.Providers(ctx, id)
	out := make([]control.Provider, len(rows))
	for i, r := range rows {
		out[i] = control.Provider{
			Hardware: r.Hardware, NodeID: r.ID, NodeName: r.NodeName, Platforms: append([]agent.Platform{}, r.Platforms...),
			Presets: append([]agent.Preset{}, r.Presets...), Rules: r.Rules, Runtimes: make([]control.Runtime, len(r.Runtimes)),
			State: r.State, Subnet: r.Subnet, Updated: r.Updated,
		}
		for j, t := range r.Runtimes {
			out[i].Runtimes[j] = control.Runtime{Runtime: t.Runtime, Failure: t.Failure, Tested: t.Tested}
		}
	}
	return out, err
}

// SwitchProvider implements control.Deps. Without ref it is about the only
// provider there is, or the default identity.
func (o *Operator) SwitchProvider(ctx context.Context, ref string, to control.Switch) (control.Provider, error) {
	id, err := o.seller(ctx, ref)
	if err != nil {
		return control.Provider{}, err
	}
	s, _, err := o.agg.Providers.Load(ctx, string(id))
	if err != nil {
		return control.Provider{}, err
	}
	if s.Provider == "" {
		return control.Provider{}, fmt.Errorf("%w: %s was never set up to sell; emet up does that unless provider.enabled is false", control.ErrNotFound, id)
	}
	var c agent.Command
	switch to {
	case control.Enable:
		c = agent.Enable{
			By: operator, NodeName: s.Enabled.NodeName, Platforms: s.Enabled.Platforms, Provider: id, Public: s.Enabled.Public, Subnet: s.Enabled.Subnet,
		}
	case control.Drain:
		c = agent.Drain{By: operator}
	case control.Disable:
		c = agent.Disable{By: operator}
	default:
		return control.Provider{}, fmt.Errorf("%w: a provider can be switched to enable, drain or disable, not to %q", control.ErrBad, to)
	}
	if _, err := o.agg.Providers.Do(ctx, string(id), c, operatorMeta(id, newKey())); err != nil {
		return control.Provider{}, bad(err)
	}
	all, err := ProvidersOf(ctx, o.l, id)
	if err != nil || len(all) == 0 {
		return control.Provider{}, err
	}
	return all[0], nil
}

func (o *Operator) seller(ctx context.Context, ref string) (identity.NodeID, error) {
	if ref == "" {
		rows, err := o.l.Node.Providers(ctx, "")
		if err != nil {
			return "", err
		}
		if len(rows) == 1 {
			return rows[0].ID, nil
		}
	}
	r, err := o.find(ctx, ref)
	return r.ID, err
}

// bad says that an error of the rules is the asker's matter.
func bad(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, identity.ErrForbidden):
		return fmt.Errorf("%w: %w", control.ErrRefused, err)
	case errors.Is(err, appkey.ErrUnknown), errors.Is(err, account.ErrUnknown), errors.Is(err, secrets.ErrNoKey):
		return fmt.Errorf("%w: %w", control.ErrNotFound, err)
	case errors.Is(err, es.ErrDegraded), errors.Is(err, es.ErrClosed), errors.Is(err, es.ErrCommitUnknown):
		return err
	}
	return fmt.Errorf("%w: %w", control.ErrBad, err)
}
