package projections

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/cycle"
	"github.com/emet-node/emet/domain/payment/wallet"
)

// accounts answers "which wallets do I have, what do they hold, when do they
// settle?".
type accounts struct{}

func (accounts) Name() string { return "accounts/1" }

func (accounts) Schema() string {
	return `CREATE TABLE wallets (
		chain_id INTEGER NOT NULL, address TEXT NOT NULL, owner TEXT NOT NULL, platform TEXT NOT NULL, token TEXT NOT NULL, native TEXT NOT NULL,
		reserved TEXT NOT NULL, block INTEGER NOT NULL, suspended TEXT NOT NULL, recorded INTEGER NOT NULL, observed INTEGER NOT NULL,
		PRIMARY KEY (chain_id, address)) WITHOUT ROWID;
	CREATE TABLE cycles (
		platform TEXT NOT NULL, address TEXT NOT NULL, owner TEXT NOT NULL, cron TEXT NOT NULL, interval INTEGER NOT NULL, extra INTEGER NOT NULL,
		next INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (platform, address)) WITHOUT ROWID`
}

func (accounts) Hears() []string {
	return []string{
		"wallet.opened.v1", "wallet.funds_observed.v1", "wallet.funds_reserved.v1", "wallet.funds_returned.v1", "wallet.funds_spent.v1",
		"wallet.spending_suspended.v1", "wallet.spending_resumed.v1", "cycle.configured.v1", "cycle.run_requested.v1",
	}
}

func (v accounts) Apply(tx *Tx, r es.Recorded) error {
	switch e := r.Data.(type) {
	case wallet.Opened:
		return tx.insertNew("wallets", e.ChainID, strings.ToLower(e.Address), e.OwnerID, e.Platform, "0", "0", "0", 0, "", r.Recorded, 0)
	case wallet.FundsObserved:
		return v.update(tx, e.ChainID, e.Address, func(w *row) {
			w.set("token", e.Token)
			w.set("native", e.Native)
			w.set("block", e.Block)
			w.set("observed", r.Recorded)
		})
	case wallet.FundsReserved:
		return v.reserve(tx, e.ChainID, e.Address, e.Amount)
	case wallet.FundsReturned:
		return v.reserve(tx, e.ChainID, e.Address, e.Amount.Neg())
	case wallet.FundsSpent:
		return v.reserve(tx, e.ChainID, e.Address, e.Amount.Neg())
	case wallet.SpendingSuspended:
		return v.update(tx, e.ChainID, e.Address, func(w *row) { w.set("suspended", e.Why) })
	case wallet.SpendingResumed:
		return v.update(tx, e.ChainID, e.Address, func(w *row) { w.set("suspended", "") })
	case cycle.Configured:
		return tx.merge("cycles", []string{"cron", "interval", "extra", "next"},
			e.Platform, strings.ToLower(e.Address), e.OwnerID, e.Cron, e.IntervalSec, e.ExtraPayTimeSec, e.NextAt, 0)
	case cycle.RunRequested:
		return tx.update("cycles", func(c *row) {
			c.set("last", e.At)
			c.set("next", e.NextAt)
		}, e.Platform, strings.ToLower(e.Address))
	}
	return nil
}

func (accounts) update(tx *Tx, chain uint64, address string, change func(w *row)) error {
	return tx.update("wallets", change, chain, strings.ToLower(address))
}

func (accounts) reserve(tx *Tx, chain uint64, address string, delta money.Amount) error {
	w, err := tx.get("wallets", chain, strings.ToLower(address))
	if err != nil || w == nil {
		return cmp.Or(err, errNoRow)
	}
	return w.add("reserved", delta)
}

// AccountRow is a wallet in use.
type AccountRow struct {
	ChainID   uint64
	Address   string // lower case
	Owner     identity.NodeID
	Platform  payment.Platform
	Token     money.Amount // held, as last observed
	Native    money.Amount
	Reserved  money.Amount // by allocations
	Block     uint64
	Suspended string // why no nonce is given out, "" = it is
	Observed  time.Time
}

// Accounts lists wallets, oldest first. Owner "" means all.
func (p *Payment) Accounts(ctx context.Context, owner identity.NodeID) ([]AccountRow, error) {
	var c conditions
	c.add(owner != "", "owner = ?", owner)
	return query(ctx, p.DB, func(s scanner) (r AccountRow, err error) {
		return r, s.Scan(&r.ChainID, &r.Address, &r.Owner, &r.Platform, amount{&r.Token}, amount{&r.Native}, amount{&r.Reserved},
			&r.Block, &r.Suspended, moment{&r.Observed})
	}, `SELECT chain_id, address, owner, platform, token, native, reserved, block, suspended, observed FROM wallets`+c.text+` ORDER BY recorded`, c.args...)
}

// CycleRow is how often a payer settles on a platform.
type CycleRow struct {
	Platform     payment.Platform
	Address      string
	Owner        identity.NodeID
	Cron         string // "" when the interval counts
	Interval     time.Duration
	ExtraPayTime time.Duration
	Next         time.Time
	Last         time.Time // zero = never
}

// Cycles lists the settlement schedules of owner. Platform "" means all.
func (p *Payment) Cycles(ctx context.Context, owner identity.NodeID, platform payment.Platform) ([]CycleRow, error) {
	var c conditions
	c.add(owner != "", "owner = ?", owner)
	c.add(platform != "", "platform = ?", string(platform))
	return query(ctx, p.DB, func(s scanner) (r CycleRow, err error) {
		var every, extra int64
		err = s.Scan(&r.Platform, &r.Address, &r.Owner, &r.Cron, &every, &extra, moment{&r.Next}, moment{&r.Last})
		r.Interval, r.ExtraPayTime = time.Duration(every)*time.Second, time.Duration(extra)*time.Second
		return r, err
	}, `SELECT platform, address, owner, cron, interval, extra, next, last FROM cycles`+c.text+` ORDER BY platform`, c.args...)
}
