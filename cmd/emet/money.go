package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment/ledger"
	"github.com/emet-node/emet/projections"
)

func newMoneyCommand() *cobra.Command {
	status := &cobra.Command{
		Use: "status", Short: "Show what each wallet holds and what of it is promised", Args: cobra.NoArgs,
		Long: `status shows what the chain held when it was last looked at, what budgets
reserve, what of that is promised to providers, and what was paid or earned.`,
		Example: "  emet money status\n  emet money status --json",
		RunE:    reading(runMoneyStatus),
	}
	books := &cobra.Command{
		Use: "ledger", Short: "Show the books, kept by double entry", Args: cobra.NoArgs,
		Long: `ledger shows what stands on each account. With --postings it lists every
movement with the position of the fact that made it: debits and credits of one
fact are equal.`,
		Example: "  emet money ledger\n  emet money ledger --postings --account committed --json",
		RunE:    reading(runMoneyLedger),
	}
	books.Flags().Bool("postings", false, "list movements instead of balances")
	books.Flags().String("account", "", "only this account: "+strings.Join(accountNames(), ", "))
	locked := &cobra.Command{
		Use: "why-locked", Short: "Say which budgets hold money, and for what", Args: cobra.NoArgs,
		Example: "  emet money why-locked\n  emet money why-locked --json",
		RunE:    reading(runWhyLocked),
	}
	payments := &cobra.Command{
		Use: "payments", Short: "List payments sent and received", Args: cobra.NoArgs,
		Example: "  emet money payments\n  emet money payments -o csv",
		RunE:    reading(runPayments),
	}
	for _, c := range []*cobra.Command{status, books, locked, payments} {
		c.Flags().String("id", "", "only this identity (id or alias)")
		outputFlags(c)
	}
	return group("money", "Where the money is", "  emet money status\n  emet money why-locked", status, books, locked, payments)
}

// owners are the identities that a command is about: the one of --id, or all.
func owners(cmd *cobra.Command, r *node.Reading) ([]projections.IdentityRow, error) {
	rows, err := node.IdentitiesOf(cmd.Context(), r.Ledger)
	if err != nil {
		return nil, err
	}
	ref, _ := cmd.Flags().GetString("id")
	id, err := resolve(cmd, r, ref)
	if err != nil || id == "" {
		return rows, err
	}
	for _, row := range rows {
		if row.ID == id {
			return []projections.IdentityRow{row}, nil
		}
	}
	return nil, nil
}

type moneyJSON struct {
	Identity  string       `json:"identity"`
	Platform  string       `json:"platform"`
	Address   string       `json:"address"`
	Token     money.Amount `json:"token"`     // held, as last observed
	Native    money.Amount `json:"native"`    // the coin that pays for gas
	Reserved  money.Amount `json:"reserved"`  // by budgets, not promised yet
	Committed money.Amount `json:"committed"` // promised to providers, not final on the chain
	Available money.Amount `json:"available"` // free for new budgets
	Expense   money.Amount `json:"expense"`
	Income    money.Amount `json:"income"`
	Received  money.Amount `json:"received"`
	Suspended string       `json:"suspended,omitzero"`
	Observed  *time.Time   `json:"observed,omitzero"`
	Block     uint64       `json:"block"`
}

func runMoneyStatus(cmd *cobra.Command, _ []string, r *node.Reading) error {
	who, err := owners(cmd, r)
	if err != nil {
		return err
	}
	l := listing{
		header: []string{"Identity", "Platform", "Holds", "Gas coin", "Free", "Reserved", "Promised", "Spent", "Earned", "Received", "Observed"},
		empty:  "There are no wallets yet; the first budget or offer opens one.",
	}
	for _, id := range who {
		accounts, err := r.Payment.Accounts(cmd.Context(), id.ID)
		if err != nil {
			return err
		}
		balances, err := r.Payment.Balances(cmd.Context(), id.ID)
		if err != nil {
			return err
		}
		for _, v := range moneyOf(accounts, balances, string(id.ID)) {
			observed := "never"
			if v.Observed != nil {
				observed = when(*v.Observed)
			}
			l.add(v, cut(v.Identity, 12), v.Platform, v.Token.String(), v.Native.String(), v.Available.String(), v.Reserved.String(), v.Committed.String(),
				v.Expense.String(), v.Income.String(), v.Received.String(), observed)
		}
	}
	return l.print(cmd)
}

// moneyOf joins wallets and books of one identity, by platform.
func moneyOf(accounts []projections.AccountRow, balances []projections.BalanceRow, id string) []moneyJSON {
	var out []moneyJSON
	at := map[string]int{}
	row := func(platform string) *moneyJSON {
		if _, ok := at[platform]; !ok {
			at[platform] = len(out)
			out = append(out, moneyJSON{Identity: id, Platform: platform})
		}
		return &out[at[platform]]
	}
	for _, a := range accounts {
		m := row(string(a.Platform))
		m.Address, m.Token, m.Native, m.Suspended, m.Observed, m.Block = a.Address, a.Token, a.Native, a.Suspended, optional(a.Observed), a.Block
	}
	for _, b := range balances {
		if b.Asset != ledger.Token {
			continue
		}
		m := row(string(b.Platform))
		for name, to := range map[ledger.Name]*money.Amount{
			ledger.Available: &m.Available, ledger.Reserved: &m.Reserved, ledger.Committed: &m.Committed,
			ledger.Expense: &m.Expense, ledger.Income: &m.Income, ledger.Received: &m.Received,
		} {
			if b.Account.Name == name {
				*to = to.Add(b.Amount)
			}
		}
	}
	return out
}

func accountNames() []string {
	var out []string
	for _, n := range []ledger.Name{
		ledger.Available, ledger.Reserved, ledger.Committed, ledger.Expense, ledger.GasFee, ledger.Receivable, ledger.Received,
		ledger.Payable, ledger.Scheduled, ledger.Income, ledger.Shortfall, ledger.External,
	} {
		out = append(out, string(n))
	}
	return out
}

type balanceJSON struct {
	Identity string       `json:"identity"`
	Platform string       `json:"platform"`
	Asset    string       `json:"asset"` // "token", "native"
	Account  string       `json:"account"`
	Key      string       `json:"key"` // what the account is of
	Normal   string       `json:"normal"`
	Amount   money.Amount `json:"amount"`
}

func runMoneyLedger(cmd *cobra.Command, _ []string, r *node.Reading) error {
	account, _ := cmd.Flags().GetString("account")
	if account != "" && !contains(accountNames(), account) {
		return usageError{fmt.Errorf("--account %q: want one of %s", account, strings.Join(accountNames(), ", "))}
	}
	ref, _ := cmd.Flags().GetString("id")
	owner, err := resolve(cmd, r, ref)
	if err != nil {
		return err
	}
	if postings, _ := cmd.Flags().GetBool("postings"); postings {
		rows, err := r.Payment.Postings(cmd.Context(), owner, ledger.Name(account), 0, 0)
		if err != nil {
			return err
		}
		return listPostings(rows).print(cmd)
	}
	rows, err := r.Payment.Balances(cmd.Context(), owner)
	if err != nil {
		return err
	}
	l := listing{header: []string{"Identity", "Platform", "Asset", "Account", "Of", "Debit", "Credit"}, empty: "The books are empty."}
	for _, b := range rows {
		if account != "" && string(b.Account.Name) != account {
			continue
		}
		normal, cells := "credit", [2]string{"", b.Amount.String()}
		if b.Account.Name.DebitNormal() {
			normal, cells = "debit", [2]string{b.Amount.String(), ""}
		}
		l.add(balanceJSON{string(b.Owner), string(b.Platform), string(b.Asset), string(b.Account.Name), b.Account.Key, normal, b.Amount},
			cut(string(b.Owner), 12), string(b.Platform), string(b.Asset), string(b.Account.Name), cut(b.Account.Key, 28), cells[0], cells[1])
	}
	return l.print(cmd)
}

type postingJSON struct {
	Position uint64       `json:"position"`
	Recorded time.Time    `json:"recorded"`
	Identity string       `json:"identity"`
	Platform string       `json:"platform"`
	Asset    string       `json:"asset"`
	Account  string       `json:"account"`
	Key      string       `json:"key"`
	Debit    money.Amount `json:"debit"`
	Credit   money.Amount `json:"credit"`
}

func listPostings(rows []projections.PostingRow) *listing {
	l := &listing{header: []string{"Position", "Recorded", "Identity", "Asset", "Account", "Of", "Debit", "Credit"}, empty: "The books are empty."}
	for _, p := range rows {
		l.add(postingJSON{
			uint64(p.Position), p.Recorded, string(p.Owner), string(p.Platform), string(p.Asset), string(p.Account.Name), p.Account.Key, p.Debit, p.Credit,
		}, fmt.Sprint(p.Position), when(p.Recorded), cut(string(p.Owner), 12), string(p.Asset), string(p.Account.Name), cut(p.Account.Key, 28),
			blankZero(p.Debit), blankZero(p.Credit))
	}
	return l
}

func blankZero(a money.Amount) string {
	if a.IsZero() {
		return ""
	}
	return a.String()
}

type lockJSON struct {
	Allocation string       `json:"allocation"`
	Identity   string       `json:"identity"`
	Platform   string       `json:"platform"`
	Total      money.Amount `json:"total"`
	Remaining  money.Amount `json:"remaining"` // reserved, not promised
	Committed  money.Amount `json:"committed"` // promised since it was made
	Paid       money.Amount `json:"paid"`      // of that, final on the chain
	Locked     money.Amount `json:"locked"`    // what it holds now
	Closed     string       `json:"closed,omitzero"`
	Timeout    *time.Time   `json:"timeout,omitzero"` // when what remains is free again
	Owed       []lockReason `json:"owed"`
	Session    string       `json:"appSessionId,omitzero"`
	Created    time.Time    `json:"created"`
	Why        string       `json:"why"`
}

type lockReason struct {
	AgreementID string       `json:"agreementId"`
	ActivityID  string       `json:"activityId,omitzero"` // "" = what the invoice adds
	Accepted    money.Amount `json:"accepted"`
	Scheduled   money.Amount `json:"scheduled"`
}

func runWhyLocked(cmd *cobra.Command, _ []string, r *node.Reading) error {
	who, err := owners(cmd, r)
	if err != nil {
		return err
	}
	l := listing{header: []string{"Budget", "Identity", "Platform", "Holds", "Why"}, empty: "No money is locked."}
	for _, id := range who {
		rows, err := r.Payment.Allocations(cmd.Context(), projections.AllocationFilter{Owner: id.ID})
		if err != nil {
			return err
		}
		for _, a := range rows {
			v := lockOf(a)
			if v.Locked.IsZero() {
				continue
			}
			owed, err := r.Payment.Expenditures(cmd.Context(), id.ID, a.ID)
			if err != nil {
				return err
			}
			for _, e := range owed {
				v.Owed = append(v.Owed, lockReason{e.AgreementID, e.ActivityID, e.Accepted, e.Scheduled})
			}
			l.add(v, v.Allocation, cut(v.Identity, 12), v.Platform, v.Locked.String(), v.Why)
		}
	}
	return l.print(cmd)
}

// lockOf says what a budget holds: what can still be taken from it while it is
// open, and what was promised and has not become final on the chain.
func lockOf(a projections.AllocationRow) lockJSON {
	v := lockJSON{
		Allocation: a.ID, Identity: string(a.Owner), Platform: string(a.Platform), Total: a.Total, Committed: a.Committed, Paid: a.Paid,
		Closed: a.Closed, Timeout: optional(a.Timeout), Owed: []lockReason{}, Session: a.Session, Created: a.Created,
	}
	var why []string
	if a.Closed == "" {
		v.Remaining = a.Remaining()
		until := "until it is released"
		if !a.Timeout.IsZero() {
			until += " or times out at " + when(a.Timeout)
		}
		if !v.Remaining.IsZero() {
			why = append(why, fmt.Sprintf("%s reserved %s", v.Remaining, until))
		}
	}
	open := a.Committed.Sub(a.Paid)
	if !open.IsZero() {
		why = append(why, fmt.Sprintf("%s accepted and not final on the chain yet", open))
	}
	v.Locked, v.Why = v.Remaining.Add(open), strings.Join(why, "; ")
	return v
}

type paymentJSON struct {
	ID        string       `json:"id"`
	Side      string       `json:"side"` // "R" sent, "P" received
	State     string       `json:"state"`
	Amount    money.Amount `json:"amount"`
	Platform  string       `json:"platform"`
	Payer     string       `json:"payer"`
	Payee     string       `json:"payee"`
	TxHash    string       `json:"txHash"`
	Shares    []shareJSON  `json:"shares"`
	Why       string       `json:"why,omitzero"`
	Timestamp time.Time    `json:"timestamp"`
}

type shareJSON struct {
	AgreementID string       `json:"agreementId"`
	ActivityID  string       `json:"activityId,omitzero"`
	Amount      money.Amount `json:"amount"`
}

func runPayments(cmd *cobra.Command, _ []string, r *node.Reading) error {
	who, err := owners(cmd, r)
	if err != nil {
		return err
	}
	l := listing{header: []string{"Payment", "Side", "State", "Amount", "Platform", "With", "Transaction", "Time"}, empty: "There are no payments."}
	for _, id := range who {
		rows, err := r.Payment.Payments(cmd.Context(), projections.PaymentFilter{Owner: id.ID, Unlisted: true})
		if err != nil {
			return err
		}
		for _, p := range rows {
			v := paymentJSON{p.ID, string(p.Side), p.State, p.Amount, string(p.Platform), string(p.Payer), string(p.Payee), p.TxHash, []shareJSON{}, p.Why, p.Timestamp}
			for _, s := range p.Shares {
				v.Shares = append(v.Shares, shareJSON{s.AgreementID, s.ActivityID, s.Amount})
			}
			with, side := v.Payee, "sent"
			if v.Side == "P" {
				with, side = v.Payer, "received"
			}
			l.add(v, cut(p.ID, 16), side, p.State, p.Amount.String(), v.Platform, cut(with, 12), cut(p.TxHash, 18), when(p.Timestamp))
		}
	}
	return l.print(cmd)
}
