package projections

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/appkey"
)

// appKeys answers "whose key is this, and what may it do?".
type appKeys struct{}

func (appKeys) Name() string { return "appkeys/1" }

func (appKeys) Schema() string {
	return `CREATE TABLE appkeys (
		name TEXT PRIMARY KEY, hash TEXT NOT NULL, prefix TEXT NOT NULL, identity TEXT NOT NULL, role TEXT NOT NULL,
		origins TEXT NOT NULL, expires INTEGER NOT NULL, recorded INTEGER NOT NULL);
	CREATE INDEX appkeys_by_hash ON appkeys (hash)`
}

func (appKeys) Hears() []string { return []string{"appkey.created.v1", "appkey.dropped.v1"} }

func (appKeys) Apply(tx *Tx, r es.Recorded) error {
	switch e := r.Data.(type) {
	case appkey.Created:
		origins, err := json.Marshal(e.Origins)
		if err != nil {
			return err
		}
		return tx.put("appkeys", e.Name, e.Hash, e.Prefix, e.Identity, e.Role, string(origins), e.Limit.Expires, r.Recorded)
	case appkey.Dropped:
		return tx.remove("appkeys", e.Name)
	}
	return nil
}

// AppKeyRow is a key that counts. Its secret is nowhere here.
type AppKeyRow struct {
	Name     string
	ID       string // of the stream: what metadata calls the key
	Hash     string // SHA-256 of the secret, hex
	Prefix   string
	Identity identity.NodeID
	Role     identity.Role
	Origins  []string
	Expires  time.Time // zero = never
	Recorded time.Time
}

// AppKeys lists the keys, oldest first.
func (n *Node) AppKeys(ctx context.Context) ([]AppKeyRow, error) {
	if err := n.Fresh(ctx); err != nil {
		return nil, err
	}
	return allKeys(ctx, n.DB)
}

func allKeys(ctx context.Context, db *DB) ([]AppKeyRow, error) {
	return queryNow(ctx, db, func(s scanner) (r AppKeyRow, err error) {
		var origins string
		err = s.Scan(&r.Name, &r.Hash, &r.Prefix, &r.Identity, &r.Role, &origins, moment{&r.Expires}, moment{&r.Recorded})
		if err == nil {
			err = json.Unmarshal([]byte(origins), &r.Origins)
		}
		r.ID = appkey.StreamID(r.Name)
		return r, err
	}, `SELECT name, hash, prefix, identity, role, origins, expires, recorded FROM appkeys ORDER BY recorded`)
}

// AppKey finds the key with that hash at a moment, from memory. A key that was
// created or dropped before the call counts as such.
func (n *Node) AppKey(ctx context.Context, hash string, at time.Time) (AppKeyRow, bool, error) {
	if err := n.Fresh(ctx); err != nil {
		return AppKeyRow{}, false, err
	}
	keys := n.keys
	if keys == nil {
		keys = &keyMemory{}
		if err := keys.load(ctx, n.DB); err != nil {
			return AppKeyRow{}, false, err
		}
	}
	r, ok := keys.get(hash)
	if ok && !r.Expires.IsZero() && !at.Before(r.Expires) {
		return AppKeyRow{}, false, nil
	}
	return r, ok, nil
}

// Origins are those that some key lets browsers call from, sorted.
func (n *Node) Origins() []string { return n.keys.origins() }

// keyMemory is the table of keys in memory.
type keyMemory struct {
	mu     sync.RWMutex
	byHash map[string]AppKeyRow
}

func (k *keyMemory) get(hash string) (AppKeyRow, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	r, ok := k.byHash[hash]
	return r, ok
}

func (k *keyMemory) origins() []string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	var out []string
	for _, r := range k.byHash {
		out = append(out, r.Origins...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (k *keyMemory) load(ctx context.Context, db *DB) error {
	rows, err := allKeys(ctx, db)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.byHash = make(map[string]AppKeyRow, len(rows))
	for _, r := range rows {
		k.byHash[r.Hash] = r
	}
	return nil
}

func (k *keyMemory) hear(facts []es.Recorded) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range facts {
		switch e := r.Data.(type) {
		case appkey.Created:
			k.byHash[e.Hash] = AppKeyRow{
				Name: e.Name, ID: appkey.StreamID(e.Name), Hash: e.Hash, Prefix: e.Prefix, Identity: e.Identity, Role: e.Role,
				Origins: e.Origins, Expires: e.Limit.Expires, Recorded: r.Recorded,
			}
		case appkey.Dropped:
			delete(k.byHash, e.Hash)
		}
	}
}
