package projections

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/ledger"
)

// kinds of accounts, as accounting programs have them.
var kinds = map[ledger.Name]string{
	ledger.Available: "Assets:Available", ledger.Reserved: "Assets:Reserved", ledger.Committed: "Assets:Committed",
	ledger.Receivable: "Assets:Receivable", ledger.Received: "Assets:Received",
	ledger.Expense: "Expenses:Computing", ledger.GasFee: "Expenses:Fees",
	ledger.Payable: "Liabilities:Payable", ledger.Scheduled: "Liabilities:Scheduled", ledger.Shortfall: "Liabilities:Shortfall",
	ledger.Income: "Income:Computing", ledger.External: "Equity:External",
}

// AccountPath is the name of an account in plain-text accounting: a class, a
// kind, the identity, and what it belongs to. Agreements and the like keep
// their ids, with what such names cannot hold replaced by a dash.
func AccountPath(r PostingRow) string {
	kind, ok := kinds[r.Account.Name]
	if !ok {
		kind = "Equity:" + component(string(r.Account.Name))
	}
	path := kind + ":" + component(string(r.Owner))
	if r.Account.Key != "" {
		path += ":" + component(strings.TrimSuffix(r.Account.Key, "/"))
	}
	return path
}

// component spells a part of an account's name: letters, digits and dashes,
// beginning with a capital or a digit.
func component(s string) string {
	s = strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return '-'
	}, s)
	if s == "" {
		return "None"
	}
	if s[0] == '-' || s[0] >= 'a' && s[0] <= 'z' {
		return "X" + s
	}
	return s
}

// Commodity is the name of what a posting moves: the token of the platform, or
// the coin that pays for gas there, with the network: "TGLM.HOODI", "GAS.HOODI".
func Commodity(p payment.Platform, a ledger.Asset) string {
	parts := strings.Split(strings.ToUpper(string(p)), "-")
	if len(parts) != 3 {
		return "X." + strings.ToUpper(string(a))
	}
	if a == ledger.Native {
		return "GAS." + parts[1]
	}
	return parts[2] + "." + parts[1]
}

// signed is what a posting adds to its account, counted as debit.
func signed(r PostingRow) money.Amount { return r.Debit.Sub(r.Credit) }

// Beancount writes postings in the order of the log as a beancount file: one
// transaction for each fact, which balances exactly. names tells the type of
// the fact at a position.
func Beancount(w io.Writer, rows []PostingRow, names func(PostingRow) string) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "option \"title\" \"emet\"\n\n")
	first := make(map[string]time.Time)
	var accounts []string
	for _, r := range rows {
		path := AccountPath(r)
		if _, known := first[path]; !known {
			first[path] = r.Recorded
			accounts = append(accounts, path)
		}
	}
	slices.Sort(accounts)
	for _, a := range accounts {
		fmt.Fprintf(b, "%s open %s\n", first[a].UTC().Format(time.DateOnly), a)
	}
	for i := 0; i < len(rows); {
		end := i + 1
		for end < len(rows) && rows[end].Position == rows[i].Position {
			end++
		}
		r := rows[i]
		fmt.Fprintf(b, "\n%s * %q\n  position: %d\n  recorded: %q\n", r.Recorded.UTC().Format(time.DateOnly), names(r), r.Position, r.Recorded.UTC().Format(time.RFC3339Nano))
		for _, p := range rows[i:end] {
			fmt.Fprintf(b, "  %s  %s %s\n", AccountPath(p), signed(p), Commodity(p.Platform, p.Asset))
		}
		i = end
	}
	return b.Flush()
}
