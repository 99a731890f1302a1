package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/adapters/secrets"
	"github.com/emet-node/emet/api/rest"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/account"
	"github.com/emet-node/emet/domain/identity/appkey"
	"github.com/emet-node/emet/projections"
)

// operator is the caller of what the person at the machine asks for.
var operator = identity.Caller{Actor: es.ActorOperator, Grade: es.GradeSelf}

func operatorMeta(id identity.NodeID, key string) es.Meta {
	return es.Meta{Key: key, Actor: es.ActorOperator, Identity: string(id), Grade: es.GradeSelf}
}

// people are the identities of this node and the keys by which clients speak
// for them.
type people struct {
	l    *Ledger
	agg  *Aggregates
	mu   sync.Mutex
	ours map[identity.NodeID]bool
	// main is the default identity.
	main     identity.NodeID
	fleeting map[string]rest.Key // by secret
}

// settle makes the identities and keys that are asked for and are not there.
func (p *people) settle(ctx context.Context, wanted []Identity) ([]identity.NodeID, error) {
	p.ours, p.fleeting = make(map[identity.NodeID]bool), make(map[string]rest.Key)
	known, err := p.known(ctx)
	if err != nil {
		return nil, err
	}
	if len(wanted) == 0 {
		wanted = []Identity{{}}
	}
	ids := make([]identity.NodeID, len(wanted))
	for i, w := range wanted {
		if ids[i], err = p.identity(ctx, w, i, known); err != nil {
			return nil, err
		}
		for _, k := range w.AppKeys {
			if _, err := p.AppKey(ctx, ids[i], k); err != nil {
				return nil, err
			}
		}
	}
	if err := p.awake(ctx, known); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range known {
		p.ours[r.ID] = true
		if r.Default {
			p.main = r.ID
		}
	}
	for _, id := range ids {
		p.ours[id] = true
	}
	if p.main == "" {
		p.main = ids[0]
	}
	return ids, nil
}

func (p *people) known(ctx context.Context) ([]projections.IdentityRow, error) {
	if err := p.l.Node.Fresh(ctx); err != nil {
		return nil, err
	}
	return p.l.Node.Identities(ctx)
}

// awake writes down what the start changed: a key with a passphrase is locked
// again, one without is not. Else nobody would hear that it is unlocked later,
// and what waits for that would wait for ever.
func (p *people) awake(ctx context.Context, known []projections.IdentityRow) error {
	for _, r := range known {
		info, err := p.l.Secrets.Keys.Info(r.ID)
		if errors.Is(err, secrets.ErrNoKey) || err == nil && info.Locked == r.Locked {
			continue
		}
		if err != nil {
			return fmt.Errorf("identity %s: %w", r.ID, err)
		}
		var c account.Command = account.Unlock{By: effects.Own()}
		if info.Locked {
			c = account.Lock{By: effects.Own()}
		}
		if _, err := p.agg.Accounts.Do(ctx, string(r.ID), c, es.Meta{
			Key: "start/" + randomHex(8), Actor: es.ActorEffect, Identity: string(r.ID), Grade: es.GradeSelf,
		}); err != nil {
			return err
		}
	}
	return nil
}

// identity finds one by alias or secret, or makes it. The first of a new node
// becomes the default.
func (p *people) identity(ctx context.Context, w Identity, i int, known []projections.IdentityRow) (identity.NodeID, error) {
	main := slices.ContainsFunc(known, func(r projections.IdentityRow) bool { return r.Default })
	for _, r := range known {
		// Without a default the first start ended before it was made one.
		if w.Secret == "" && (w.Alias != "" && r.Alias == w.Alias || w.Alias == "" && (r.Default || !main)) {
			return r.ID, p.promote(ctx, r.ID, i == 0 && !main)
		}
	}
	var (
		info secrets.KeyInfo
		err  error
	)
	origin := account.Generated
	if w.Secret != "" {
		origin = account.Imported
		info, err = p.l.Secrets.Keys.Import(w.Secret, "")
	} else {
		info, err = p.l.Secrets.Keys.Create("")
	}
	if err != nil {
		return "", fmt.Errorf("identity: %w", err)
	}
	if _, err := p.agg.Accounts.Do(ctx, string(info.ID), account.Create{
		Alias: w.Alias, By: operator, Identity: info.ID, Origin: origin, PublicKey: info.PublicKey,
	}, operatorMeta(info.ID, "create")); err != nil {
		return "", err
	}
	return info.ID, p.promote(ctx, info.ID, i == 0 && !main)
}

// promote makes an identity the default one, if it is to be.
func (p *people) promote(ctx context.Context, id identity.NodeID, so bool) error {
	if !so {
		return nil
	}
	_, err := p.agg.Accounts.Do(ctx, string(id), account.MakeDefault{By: operator}, operatorMeta(id, "default"))
	return err
}

// AppKey returns the secret of a key, which is made if it is not there.
func (p *people) AppKey(ctx context.Context, owner identity.NodeID, k AppKey) (string, error) {
	if k.Fleeting {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.fleeting[k.Secret] = rest.Key{ID: appkey.StreamID(k.Name), Name: k.Name, Identity: owner, Role: identity.RoleManager}
		return k.Secret, nil
	}
	s, _, err := p.agg.AppKeys.Load(ctx, appkey.StreamID(k.Name))
	if err != nil {
		return "", err
	}
	if s.Name == k.Name {
		return p.kept(s, owner, k)
	}
	secret := cmp.Or(k.Secret, secrets.NewAppKey())
	create := appkey.Create{
		At: time.Now().UTC(), By: operator, Hash: secrets.HashAppKey(secret), Identity: owner, Name: k.Name,
		Prefix: secrets.AppKeyPrefix(secret), Role: k.Role,
	}
	if _, err := appkey.Rules.Decide(s, create); err != nil {
		return "", err
	}
	if err := p.l.Secrets.AppKeys.Put(k.Name, secret); err != nil {
		return "", err
	}
	_, err = p.agg.AppKeys.Do(ctx, appkey.StreamID(k.Name), create, operatorMeta(owner, "create/"+randomHex(8)))
	return secret, err
}

// kept is the secret of a key that there is. The log has only its hash.
func (p *people) kept(s appkey.State, owner identity.NodeID, k AppKey) (string, error) {
	if s.Identity != owner {
		return "", fmt.Errorf("app-key %q: %w: it speaks for %s", k.Name, appkey.ErrTaken, s.Identity)
	}
	secret, ok := p.l.Secrets.AppKeys.Get(k.Name)
	switch {
	case ok && secrets.HashAppKey(secret) == s.Hash:
		return secret, nil
	case k.Secret != "" && secrets.HashAppKey(k.Secret) == s.Hash:
		return k.Secret, p.l.Secrets.AppKeys.Put(k.Name, k.Secret)
	}
	return "", fmt.Errorf("app-key %q exists and its secret is not in the data directory: put its folder secrets back from a backup, or end the key with emet app-key drop %s, and it is made anew", k.Name, k.Name)
}

// Local says whether an identity is ours.
func (p *people) Local(id identity.NodeID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ours[id]
}

// Default is the identity that speaks when none is named.
func (p *people) Default() identity.NodeID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.main
}

// All lists our identities.
func (p *people) All() []identity.NodeID {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]identity.NodeID, 0, len(p.ours))
	for id := range p.ours {
		out = append(out, id)
	}
	return out
}

func (p *people) add(id identity.NodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ours[id] = true
}

func (p *people) remove(id identity.NodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.ours, id)
}

// prefer makes an identity the one that speaks when none is named.
func (p *people) prefer(id identity.NodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.main = id
}

// Find implements rest.Keys.
func (p *people) Find(secret string) (rest.Key, bool) {
	p.mu.Lock()
	k, ok := p.fleeting[secret]
	p.mu.Unlock()
	if ok {
		return k, true
	}
	row, ok, err := p.l.Node.AppKey(context.Background(), secrets.HashAppKey(secret), time.Now())
	if err != nil || !ok {
		return rest.Key{}, false
	}
	return rest.Key{ID: row.ID, Name: row.Name, Identity: row.Identity, Role: row.Role, AllowOrigins: row.Origins}, true
}

// Origins implements rest.Keys.
func (p *people) Origins() []string { return p.l.Node.Origins() }
