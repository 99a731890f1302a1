package projections

import (
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
		return exec(tx, `INSERT OR IGNORE INTO wallets VALUES (?, ?, ?, ?, '0', '0', '0', 0, '', ?, 0)`,
			int64(e.ChainID), strings.ToLower(e.Address), e.OwnerID, string(e.Platform), r.Recorded) //nolint:gosec // chain ids are small
	case wallet.FundsObserved:
		return v.set(tx, e.ChainID, e.Address, `token = ?, native = ?, block = ?, observed = ?`, e.Token, e.Native, int64(e.Block), r.Recorded) //nolint:gosec // block numbers are small
	case wallet.FundsReserved:
		return v.reserve(tx, e.ChainID, e.Address, e.Amount)
	case wallet.FundsReturned:
		return v.reserve(tx, e.ChainID, e.Address, e.Amount.Neg())
	case wallet.FundsSpent:
		return v.reserve(tx, e.ChainID, e.Address, e.Amount.Neg())
	case wallet.SpendingSuspended:
		return v.set(tx, e.ChainID, e.Address, `suspended = ?`, e.Why)
	case wallet.SpendingResumed:
		return v.set(tx, e.ChainID, e.Address, `suspended = ''`)
	case cycle.Configured:
		return exec(tx, `INSERT INTO cycles VALUES (?, ?, ?, ?, ?, ?, ?, 0) ON CONFLICT DO UPDATE SET
			cron = excluded.cron, interval = excluded.interval, extra = excluded.extra, next = excluded.next`,
			string(e.Platform), strings.ToLower(e.Address), e.OwnerID, e.Cron, e.IntervalSec, e.ExtraPayTimeSec, e.NextAt)
	case cycle.RunRequested:
		return exec(tx, `UPDATE cycles SET last = ?, next = ? WHERE platform = ? AND address = ?`,
			e.At, e.NextAt, string(e.Platform), strings.ToLower(e.Address))
	}
	return nil
}

func (accounts) set(tx *Tx, chain uint64, address, what string, args ...any) error {
	return exec(tx, `UPDATE wallets SET `+what+` WHERE chain_id = ? AND address = ?`, append(args, int64(chain), strings.ToLower(address))...) //nolint:gosec // chain ids are small
}

func (v accounts) reserve(tx *Tx, chain uint64, address string, delta money.Amount) error {
	var old money.Amount
	err := tx.QueryRow(`SELECT reserved FROM wallets WHERE chain_id = ? AND address = ?`, int64(chain), strings.ToLower(address)).Scan(amount{&old}) //nolint:gosec // chain ids are small
	if err != nil {
		return err
	}
	return v.set(tx, chain, address, `reserved = ?`, old.Add(delta))
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
