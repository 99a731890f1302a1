package node

import (
	"context"
	"fmt"
	"time"

	"github.com/emet-node/emet/adapters/secrets"
	"github.com/emet-node/emet/api/control"
	"github.com/emet-node/emet/domain/identity/appkey"
)

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
