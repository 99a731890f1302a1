package projections

import (
	"context"
	"strings"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/ledger"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
)

// books answers "where is the money?", by double entry. It comes last in its
// group and reads the tables of the others to know whose money it is.
type books struct{ memory *ledger.Books }

func (books) fresh() remembering { return books{memory: &ledger.Books{}} }

func (b books) remember(r es.Recorded) { b.memory.Post(r.Data) }

func (books) Name() string { return "ledger/2" }

func (books) Schema() string {
	return `CREATE TABLE postings (
		position INTEGER NOT NULL, n INTEGER NOT NULL, owner TEXT NOT NULL, platform TEXT NOT NULL, asset TEXT NOT NULL, account TEXT NOT NULL,
		key TEXT NOT NULL, debit TEXT NOT NULL, credit TEXT NOT NULL, recorded INTEGER NOT NULL, PRIMARY KEY (position, n)) WITHOUT ROWID;
	CREATE INDEX postings_by_account ON postings (account, key);
	CREATE TABLE balances (
		owner TEXT NOT NULL, platform TEXT NOT NULL, asset TEXT NOT NULL, account TEXT NOT NULL, key TEXT NOT NULL, amount TEXT NOT NULL,
		PRIMARY KEY (owner, platform, asset, account, key)) WITHOUT ROWID`
}

func (books) Hears() []string {
	return []string{
		"wallet.funds_observed.v1", "wallet.funds_spent.v1", "tx.finalised.v1", "tx.reverted.v1",
		"allocation.created.v1", "allocation.amended.v1", "allocation.committed.v1", "allocation.spent.v1",
		"allocation.released.v1", "allocation.expired.v1",
		"bill.note_accepted.v1", "bill.invoice_accepted.v1", "bill.note_accepted_by_peer.v1", "bill.invoice_accepted_by_peer.v1",
		"bill.scheduled.v1", "bill.paid.v1", "bill.payment_reversed.v1",
	}
}

func (b books) Apply(t *Tx, r es.Recorded) error {
	postings := b.memory.Post(r.Data)
	if len(postings) == 0 {
		return nil
	}
	owner, platform, err := whose(t, r)
	if err != nil {
		return err
	}
	for i, p := range postings {
		err := t.insert("postings", r.Position, i, owner, platform, p.Asset, p.Account.Name, p.Account.Key, p.Debit, p.Credit, r.Recorded)
		if err != nil {
			return err
		}
		if err := balance(t, owner, platform, p); err != nil {
			return err
		}
	}
	return nil
}

func balance(t *Tx, owner, platform string, p ledger.Posting) error {
	change := p.Debit.Sub(p.Credit)
	if !p.Account.Name.DebitNormal() {
		change = change.Neg()
	}
	b, err := t.get("balances", owner, platform, p.Asset, p.Account.Name, p.Account.Key)
	if err != nil {
		return err
	}
	if b == nil {
		return t.insert("balances", owner, platform, p.Asset, p.Account.Name, p.Account.Key, change)
	}
	return b.add("amount", change)
}

// whose finds the identity and the platform that a fact about money is about.
func whose(t *Tx, r es.Recorded) (owner, platform string, err error) {
	of := func(table string, key ...any) (string, string, error) {
		x, err := t.get(table, key...)
		if x == nil {
			return "", "", err
		}
		return x.text("owner"), x.text("platform"), nil
	}
	switch e := r.Data.(type) {
	case wallet.FundsObserved:
		return of("wallets", e.ChainID, strings.ToLower(e.Address))
	case wallet.FundsSpent:
		return of("wallets", e.ChainID, strings.ToLower(e.Address))
	case tx.Finalised:
		return of("wallets", e.ChainID, strings.ToLower(e.Address))
	case tx.Reverted:
		return of("wallets", e.ChainID, strings.ToLower(e.Address))
	case allocation.Event:
		return of("allocations", r.Stream.Key())
	}
	side, deal := sideOf(r.Stream) // the rest is about bills
	return of("bills", side, deal)
}

// PostingRow is one movement of an account: one of Debit and Credit is zero.
type PostingRow struct {
	Position es.Position
	Owner    identity.NodeID
	Platform payment.Platform
	Asset    ledger.Asset
	Account  ledger.Account
	Debit    money.Amount
	Credit   money.Amount
	Recorded time.Time
}

// Postings lists movements of owner's accounts, in the order of the log. An
// empty account name means all accounts, an empty owner all identities.
func (p *Payment) Postings(ctx context.Context, owner identity.NodeID, account ledger.Name, from es.Position, max int) ([]PostingRow, error) {
	var c conditions
	c.add(true, "position >= ?", int64(from)) //nolint:gosec // far below 2^63
	c.add(owner != "", "owner = ?", owner)
	c.add(account != "", "account = ?", string(account))
	return query(ctx, p.DB, func(s scanner) (r PostingRow, err error) {
		return r, s.Scan(&r.Position, &r.Owner, &r.Platform, &r.Asset, &r.Account.Name, &r.Account.Key, amount{&r.Debit}, amount{&r.Credit}, moment{&r.Recorded})
	}, `SELECT position, owner, platform, asset, account, key, debit, credit, recorded FROM postings`+c.text+
		` ORDER BY position, n LIMIT ?`, append(c.args, limit(max))...)
}

// BalanceRow is what stands on an account. It grows by debit or credit as the
// account does.
type BalanceRow struct {
	Owner    identity.NodeID
	Platform payment.Platform
	Asset    ledger.Asset
	Account  ledger.Account
	Amount   money.Amount
}

// Balances lists owner's accounts that do not stand at zero. An empty owner
// means all identities.
func (p *Payment) Balances(ctx context.Context, owner identity.NodeID) ([]BalanceRow, error) {
	var c conditions
	c.add(true, "amount <> '0'")
	c.add(owner != "", "owner = ?", owner)
	return query(ctx, p.DB, func(s scanner) (r BalanceRow, err error) {
		return r, s.Scan(&r.Owner, &r.Platform, &r.Asset, &r.Account.Name, &r.Account.Key, amount{&r.Amount})
	}, `SELECT owner, platform, asset, account, key, amount FROM balances`+c.text+` ORDER BY owner, platform, asset, account, key`, c.args...)
}
