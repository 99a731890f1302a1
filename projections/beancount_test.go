package projections_test

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment/ledger"
	"github.com/emet-node/emet/projections"
	"github.com/emet-node/emet/projections/story/storytest"
)

// The lines that a beancount file of ours is made of, as its language defines
// them.
var (
	beanName = `(?:Assets|Liabilities|Equity|Income|Expenses)(?::[A-Z0-9][A-Za-z0-9-]*)+`
	beanOpen = regexp.MustCompile(`^\d{4}-\d\d-\d\d open (` + beanName + `)$`)
	beanTx   = regexp.MustCompile(`^(\d{4}-\d\d-\d\d) \* "[^"]*"$`)
	beanMeta = regexp.MustCompile(`^  [a-z][a-z0-9_-]*: (?:\d+|"[^"]*")$`)
	beanLine = regexp.MustCompile(`^  (` + beanName + `)  (-?\d+(?:\.\d+)?) ([A-Z][A-Z0-9'._-]{0,22}[A-Z0-9])$`)
	beanOpt  = regexp.MustCompile(`^option "[a-z_]+" "[^"]*"$`)
)

func decimal(t *testing.T, s string) money.Amount {
	t.Helper()
	abs, negative := strings.CutPrefix(s, "-")
	a := amount(t, abs)
	if negative {
		return a.Neg()
	}
	return a
}

// checkBeans reads a file as beancount does: accounts are opened before they
// are used, dates do not go back, every transaction balances in every
// commodity.
func checkBeans(t *testing.T, text string) (transactions int) {
	t.Helper()
	opened, sums, date := map[string]bool{}, map[string]money.Amount{}, ""
	balanced := func(line int) {
		for c, sum := range sums {
			if !sum.IsZero() {
				t.Errorf("line %d: the transaction before leaves %s %s", line, sum, c)
			}
		}
		clear(sums)
	}
	for i, line := range strings.Split(text, "\n") {
		switch {
		case line == "":
			balanced(i)
		case beanOpt.MatchString(line), beanMeta.MatchString(line):
		case beanOpen.MatchString(line):
			opened[beanOpen.FindStringSubmatch(line)[1]] = true
		case beanTx.MatchString(line):
			d := beanTx.FindStringSubmatch(line)[1]
			if d < date {
				t.Errorf("line %d: %s comes after %s", i, d, date)
			}
			date = d
			transactions++
		case beanLine.MatchString(line):
			m := beanLine.FindStringSubmatch(line)
			if !opened[m[1]] {
				t.Errorf("line %d: %s was never opened", i, m[1])
			}
			sums[m[3]] = sums[m[3]].Add(decimal(t, m[2]))
		default:
			t.Errorf("line %d is no beancount: %s", i, line)
		}
	}
	return transactions
}

func TestTheBooksBalanceAtEveryPosition(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	history(t, w.log, []int{int(storytest.Paid), int(storytest.Owing), int(storytest.Working), int(storytest.Refused), int(storytest.Paid)})
	_, _, p, _ := openAll(t, w, projections.Memory)
	rows, err := p.Postings(t.Context(), "", "", 0, 0)
	must(t, err)
	type purse struct {
		asset ledger.Asset
		owner string
	}
	at, facts := map[purse]money.Amount{}, 0
	last := es.Position(0)
	for i, r := range rows {
		if i > 0 && r.Position != last {
			for a, sum := range at {
				if !sum.IsZero() {
					t.Fatalf("at position %d the books of %s are %s %s off", last, a.owner, sum, a.asset)
				}
			}
		}
		if i == 0 || r.Position != last {
			facts++
		}
		last = r.Position
		k := purse{r.Asset, string(r.Owner)}
		at[k] = at[k].Add(r.Debit).Sub(r.Credit)
		if r.Debit.IsZero() == r.Credit.IsZero() {
			t.Fatalf("posting %d has %s and %s", i, r.Debit, r.Credit)
		}
	}
	for a, sum := range at {
		if !sum.IsZero() {
			t.Fatalf("in the end the books of %s are %s %s off", a.owner, sum, a.asset)
		}
	}
	var b bytes.Buffer
	must(t, projections.Beancount(&b, rows, func(projections.PostingRow) string { return "fact" }))
	if n := checkBeans(t, b.String()); n != facts || n < 40 {
		t.Errorf("%d transactions of %d facts", n, facts)
	}
}

func TestNamesThatAccountingProgramsTake(t *testing.T) {
	t.Parallel()
	row := func(owner, key string, name ledger.Name) projections.PostingRow {
		r := projections.PostingRow{Account: ledger.Account{Name: name, Key: key}}
		r.Owner = storytest.Buyer
		if owner == "" {
			r.Owner = ""
		}
		return r
	}
	valid := regexp.MustCompile(`^` + beanName + `$`)
	for _, r := range []projections.PostingRow{
		row("x", "ab/cd", ledger.Payable), row("x", "ab/", ledger.Payable), row("", "", ledger.Income), row("x", "-", ledger.External),
		row("x", "ünïcode", ledger.Expense), row("x", "a b", ledger.Name("new-one")),
	} {
		if p := projections.AccountPath(r); !valid.MatchString(p) {
			t.Errorf("%s", p)
		}
	}
	if c := projections.Commodity("erc20-hoodi-tglm", ledger.Token) + " " + projections.Commodity("erc20-mainnet-glm", ledger.Native) + " " + projections.Commodity("?", ledger.Token); c != "TGLM.HOODI GAS.MAINNET X.TOKEN" {
		t.Error(c)
	}
}
