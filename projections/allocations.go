package projections

import (
	"cmp"
	"context"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/bill"
)

// allocations answers "what did I set aside, and what became of it?".
type allocations struct{}

func (allocations) Name() string { return "allocations/1" }

func (allocations) Schema() string {
	return `CREATE TABLE allocations (
		id TEXT PRIMARY KEY, owner TEXT NOT NULL, address TEXT NOT NULL, platform TEXT NOT NULL, chain_id INTEGER NOT NULL,
		session TEXT NOT NULL, total TEXT NOT NULL, committed TEXT NOT NULL, paid TEXT NOT NULL, timeout INTEGER NOT NULL,
		closed TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL);
	CREATE INDEX allocations_by_owner ON allocations (owner, closed);
	CREATE TABLE expenditures (
		allocation TEXT NOT NULL, agreement_id TEXT NOT NULL, activity_id TEXT NOT NULL, accepted TEXT NOT NULL, scheduled TEXT NOT NULL,
		recorded INTEGER NOT NULL, PRIMARY KEY (allocation, agreement_id, activity_id)) WITHOUT ROWID`
}

func (allocations) Hears() []string {
	return []string{
		"allocation.created.v1", "allocation.amended.v1", "allocation.committed.v1", "allocation.spent.v1",
		"allocation.released.v1", "allocation.expired.v1", "bill.scheduled.v1",
	}
}

func (v allocations) Apply(tx *Tx, r es.Recorded) error {
	switch e := r.Data.(type) {
	case allocation.Created:
		return tx.insert("allocations", e.AllocationID, e.OwnerID, e.Address, e.Platform, e.ChainID, e.AppSessionID, e.Total, "0", "0",
			e.Timeout, "", r.Recorded, r.Recorded)
	case allocation.Amended:
		return tx.update("allocations", func(a *row) {
			a.set("total", e.Total)
			a.set("timeout", e.Timeout)
			a.set("updated", r.Recorded)
		}, e.AllocationID)
	case allocation.Committed:
		if err := v.add(tx, r, "committed", e.AllocationID, e.Delta); err != nil {
			return err
		}
		return v.expend(tx, r, e.AllocationID, e.AgreementID, e.ActivityID, "accepted", e.Delta)
	case allocation.Spent:
		return v.add(tx, r, "paid", e.AllocationID, e.Delta)
	case allocation.Released:
		return v.close(tx, r, e.AllocationID, "released")
	case allocation.Expired:
		return v.close(tx, r, e.AllocationID, "expired")
	case bill.Scheduled:
		for _, x := range e.Ranges {
			if x.AllocationID == "" {
				continue
			}
			if err := v.expend(tx, r, x.AllocationID, x.AgreementID, x.ActivityID, "scheduled", x.Amount()); err != nil {
				return err
			}
		}
	}
	return nil
}

// close gives back what was left: what was committed is all there was.
func (allocations) close(tx *Tx, r es.Recorded, id, how string) error {
	return tx.update("allocations", func(a *row) {
		a.set("closed", how)
		a.set("total", a.text("committed"))
		a.set("updated", r.Recorded)
	}, id)
}

func (allocations) add(tx *Tx, r es.Recorded, column, id string, delta money.Amount) error {
	a, err := tx.get("allocations", id)
	if err != nil || a == nil {
		return cmp.Or(err, errNoRow)
	}
	a.set("updated", r.Recorded)
	return a.add(column, delta)
}

func (allocations) expend(tx *Tx, r es.Recorded, id, deal, act, column string, delta money.Amount) error {
	if err := tx.insertNew("expenditures", id, deal, act, "0", "0", r.Recorded); err != nil {
		return err
	}
	x, err := tx.get("expenditures", id, deal, act)
	if err != nil {
		return err
	}
	return x.add(column, delta)
}

// AllocationRow is a budget. What clients call spent is Committed.
type AllocationRow struct {
	ID        string
	Owner     identity.NodeID
	Address   string // as the client spelled it
	Platform  payment.Platform
	ChainID   uint64
	Session   string
	Total     money.Amount
	Committed money.Amount
	Paid      money.Amount // of it, final on the chain
	Timeout   time.Time
	Closed    string // "", "released", "expired"
	Created   time.Time
	Updated   time.Time
}

// Remaining is what can still be taken.
func (r AllocationRow) Remaining() money.Amount { return r.Total.Sub(r.Committed) }

// AllocationFilter narrows a list. Zero fields narrow nothing.
type AllocationFilter struct {
	Owner    identity.NodeID
	ID       string
	Platform payment.Platform
	Active   bool
	After    time.Time // exclusive, of Timeout
	Limit    int
}

// Allocations lists budgets by the time of their last change.
func (p *Payment) Allocations(ctx context.Context, f AllocationFilter) ([]AllocationRow, error) {
	var c conditions
	c.add(f.Owner != "", "owner = ?", f.Owner)
	c.add(f.ID != "", "id = ?", f.ID)
	c.add(f.Platform != "", "platform = ?", string(f.Platform))
	c.add(f.Active, "closed = ''")
	c.add(!f.After.IsZero(), "timeout > ?", f.After)
	return query(ctx, p.DB, func(s scanner) (r AllocationRow, err error) {
		return r, s.Scan(&r.ID, &r.Owner, &r.Address, &r.Platform, &r.ChainID, &r.Session, amount{&r.Total}, amount{&r.Committed},
			amount{&r.Paid}, moment{&r.Timeout}, &r.Closed, moment{&r.Created}, moment{&r.Updated})
	}, `SELECT id, owner, address, platform, chain_id, session, total, committed, paid, timeout, closed, created, updated
		FROM allocations`+c.text+` ORDER BY updated LIMIT ?`, append(c.args, limit(f.Limit))...)
}

// ExpenditureRow is what one debt took from an allocation.
type ExpenditureRow struct {
	AllocationID string
	AgreementID  string
	ActivityID   string // "" = the invoice
	Accepted     money.Amount
	Scheduled    money.Amount
}

// Expenditures lists what was taken from one of owner's allocations, oldest first.
func (p *Payment) Expenditures(ctx context.Context, owner identity.NodeID, allocationID string) ([]ExpenditureRow, error) {
	return query(ctx, p.DB, func(s scanner) (r ExpenditureRow, err error) {
		return r, s.Scan(&r.AllocationID, &r.AgreementID, &r.ActivityID, amount{&r.Accepted}, amount{&r.Scheduled})
	}, `SELECT e.allocation, e.agreement_id, e.activity_id, e.accepted, e.scheduled FROM expenditures e JOIN allocations a ON a.id = e.allocation
		WHERE a.owner = ? AND a.id = ? ORDER BY e.recorded, e.agreement_id, e.activity_id`, owner, allocationID)
}
