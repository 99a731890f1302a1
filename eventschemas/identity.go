package eventschemas

import (
	"github.com/emet-node/emet/domain/identity/account"
	"github.com/emet-node/emet/domain/identity/appkey"
	"github.com/emet-node/emet/domain/identity/contact"
)

var identityFacts = []entry{
	reg[account.Created]("identity.created.v1"),
	reg[account.Aliased]("identity.aliased.v1"),
	reg[account.MadeDefault]("identity.made_default.v1"),
	reg[account.Locked]("identity.locked.v1"),
	reg[account.Unlocked]("identity.unlocked.v1"),
	reg[account.Dropped]("identity.dropped.v1"),
	reg[account.KeyDelegated]("identity.key_delegated.v1"),
	reg[account.KeyRevoked]("identity.key_revoked.v1"),

	reg[contact.Met]("peer.met.v1"),
	reg[contact.CheckpointCosigned]("peer.checkpoint_cosigned.v1"),
	reg[contact.ConflictFound]("peer.conflict_found.v1"),

	reg[appkey.Created]("appkey.created.v1"),
	reg[appkey.Dropped]("appkey.dropped.v1"),
}
