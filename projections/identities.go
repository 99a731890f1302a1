package projections

import (
	"context"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/account"
)

// identities answers "who am I?".
type identities struct{}

func (identities) Name() string { return "identities/1" }

func (identities) Schema() string {
	return `CREATE TABLE identities (
		id TEXT PRIMARY KEY, alias TEXT NOT NULL, origin TEXT NOT NULL, public_key TEXT NOT NULL,
		locked INTEGER NOT NULL, dropped INTEGER NOT NULL, preferred INTEGER NOT NULL, recorded INTEGER NOT NULL)`
}

func (identities) Hears() []string {
	return []string{
		"identity.created.v1", "identity.aliased.v1", "identity.made_default.v1",
		"identity.locked.v1", "identity.unlocked.v1", "identity.dropped.v1",
	}
}

func (identities) Apply(tx *Tx, r es.Recorded) error {
	switch e := r.Data.(type) {
	case account.Created:
		return tx.merge("identities", []string{"alias", "origin", "public_key", "locked", "dropped"},
			e.Identity, e.Alias, e.Origin, e.PublicKey, 0, 0, 0, r.Recorded)
	case account.Aliased:
		return tx.update("identities", func(i *row) { i.set("alias", e.Alias) }, e.Identity)
	case account.MadeDefault:
		all, err := tx.group("identities")
		for _, i := range all {
			i.set("preferred", i.text("id") == string(e.Identity))
		}
		return err
	case account.Locked:
		return tx.update("identities", func(i *row) { i.set("locked", 1) }, e.Identity)
	case account.Unlocked:
		return tx.update("identities", func(i *row) { i.set("locked", 0) }, e.Identity)
	case account.Dropped:
		return tx.update("identities", func(i *row) {
			i.set("locked", 1)
			i.set("dropped", 1)
			i.set("preferred", 0)
		}, e.Identity)
	}
	return nil
}

// IdentityRow is one identity of this node.
type IdentityRow struct {
	ID        identity.NodeID
	Alias     string
	Origin    account.Origin
	PublicKey string
	Locked    bool
	Default   bool
	Recorded  time.Time
}

// Identities lists the identities that were not dropped, oldest first.
func (n *Node) Identities(ctx context.Context) ([]IdentityRow, error) {
	return query(ctx, n.DB, func(s scanner) (r IdentityRow, err error) {
		return r, s.Scan(&r.ID, &r.Alias, &r.Origin, &r.PublicKey, &r.Locked, &r.Default, moment{&r.Recorded})
	}, `SELECT id, alias, origin, public_key, locked, preferred, recorded FROM identities WHERE dropped = 0 ORDER BY recorded`)
}
