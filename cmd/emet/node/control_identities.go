package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emet-node/emet/adapters/secrets"
	"github.com/emet-node/emet/api/control"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/account"
	"github.com/emet-node/emet/projections"
)

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
	if slices.ContainsFunc(rows, func(r projections.IdentityRow) bool { return r.ID == info.ID }) {
		return control.Identity{}, fmt.Errorf("%w: identity %s exists already", control.ErrBad, info.ID)
	}
	create := account.Create{Alias: n.Alias, By: operator, Identity: info.ID, Locked: info.Locked, Origin: origin, PublicKey: info.PublicKey}
	if err := o.account(ctx, info.ID, create); err != nil {
		return control.Identity{}, err
	}
	if n.Default || len(rows) == 0 {
		if err := o.makeDefault(ctx, rows, info.ID); err != nil {
			return control.Identity{}, err
		}
	}
	o.people.add(info.ID)
	return o.Identity(ctx, string(info.ID))
}

// secret makes a key, or takes in the one that is given.
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

// freeAlias says why no identity but one may be called so.
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
	if err := o.account(ctx, id, account.MakeDefault{By: operator, Present: present}); err != nil {
		return err
	}
	o.people.prefer(id)
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

// account tells the account of an identity what its operator wants.
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
	o.people.remove(r.ID)
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
