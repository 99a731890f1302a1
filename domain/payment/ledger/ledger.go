// Package ledger keeps the node's books by double entry: every fact about
// money moves equal amounts from credit to debit. It decides nothing; it shows
// where money is, and a mistake elsewhere shows as an account below zero.
package ledger

import (
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
)

// Asset tells the token from the coin that pays for gas.
type Asset string

// The assets.
const (
	Token  Asset = "token"
	Native Asset = "native"
)

// Name of an account.
type Name string

// The accounts. Those of the first group grow by debit, the others by credit.
const (
	Available  Name = "available"  // of a wallet: free to allocate, or its gas coin
	Reserved   Name = "reserved"   // of an allocation: not committed yet
	Committed  Name = "committed"  // of an allocation: promised, not final on the chain
	Expense    Name = "expense"    // of an agreement
	GasFee     Name = "gas-fee"    // of a wallet
	Receivable Name = "receivable" // of a provider's agreement
	Received   Name = "received"   // of a payment to the provider

	Payable   Name = "payable"   // of an agreement and activity: accepted, in no transfer
	Scheduled Name = "scheduled" // of an intent
	Income    Name = "income"    // of a provider's agreement
	Shortfall Name = "shortfall" // of a wallet: promised beyond what the chain shows
	External  Name = "external"  // of a wallet: the rest of the world; may have either sign
)

// DebitNormal says whether an account grows by debit.
func (n Name) DebitNormal() bool {
	switch n {
	case Available, Reserved, Committed, Expense, GasFee, Receivable, Received:
		return true
	}
	return false
}

// Account is one line of the books.
type Account struct {
	Name Name
	Key  string // stream id or ids that it belongs to
}

// Posting is one movement of an account: Debit or Credit is positive, the
// other is zero.
type Posting struct {
	Account       Account
	Asset         Asset
	Debit, Credit money.Amount
}

// Books remembers what it takes to post the next fact. Its zero value is
// empty books. It hears facts in the order of the log.
type Books struct {
	purses      map[string]*purse // by wallet stream id and asset
	allocations map[string]fund
	earned      map[string]*earning // by agreement, at the provider
}

// purse is what the books say of one asset of one wallet.
type purse struct {
	available, shortfall, held money.Amount
	block                      uint64 // of the last observation
}

type fund struct {
	wallet string
	total  money.Amount
}

type earning struct {
	recognised, accepted, paid money.Amount
	activities                 map[string]money.Amount // accepted
	invoice                    money.Amount            // of what was accepted, added by the invoice
}

// Post returns what a fact moves. Facts that move no money post nothing.
func (b *Books) Post(fact any) []Posting {
	if b.purses == nil {
		b.purses, b.allocations = make(map[string]*purse), make(map[string]fund)
		b.earned = make(map[string]*earning)
	}
	switch e := fact.(type) {
	case wallet.FundsObserved:
		id := wallet.StreamID(e.ChainID, e.Address)
		return append(b.observe(id, Token, e.Token, e.Block), b.observe(id, Native, e.Native, e.Block)...)
	case wallet.FundsSpent:
		return b.leave(wallet.StreamID(e.ChainID, e.Address), e.Amount, e.Block)
	case tx.Finalised:
		return b.burn(wallet.StreamID(e.ChainID, e.Address), e.Fee, e.BlockNumber)
	case tx.Reverted:
		return b.burn(wallet.StreamID(e.ChainID, e.Address), e.Fee, e.BlockNumber)
	case allocation.Event:
		return b.budget(e)
	case bill.Event:
		return b.debt(e)
	}
	return nil
}

func (b *Books) purse(id string, asset Asset) *purse {
	key := id + "/" + string(asset)
	if b.purses[key] == nil {
		b.purses[key] = new(purse)
	}
	return b.purses[key]
}

// settle moves a purse to what is free now; what cannot be free is a
// shortfall. against is who gives or takes the difference.
func (p *purse) settle(id string, asset Asset, free money.Amount, against Account) []Posting {
	available, shortfall := free.Max(money.Amount{}), free.Neg().Max(money.Amount{})
	out := move(Account{Available, id}, against, asset, available.Sub(p.available))
	out = append(out, move(against, Account{Shortfall, id}, asset, shortfall.Sub(p.shortfall))...)
	p.available, p.shortfall = available, shortfall
	return out
}

func (p *purse) free() money.Amount { return p.available.Sub(p.shortfall) }

func (b *Books) observe(id string, asset Asset, balance money.Amount, block uint64) []Posting {
	p := b.purse(id, asset)
	p.block = block
	return p.settle(id, asset, balance.Sub(p.held), Account{External, id})
}

// burn pays a fee. It is missing already in what was observed of its block or a
// later one.
func (b *Books) burn(id string, fee money.Amount, block uint64) []Posting {
	p := b.purse(id, Native)
	if block <= p.block {
		return move(Account{GasFee, id}, Account{External, id}, Native, fee)
	}
	return p.settle(id, Native, p.free().Sub(fee), Account{GasFee, id})
}

// leave says that tokens which were held are gone. What was observed of their
// block or a later one is without them, and it was held against that besides.
func (b *Books) leave(id string, amount money.Amount, block uint64) []Posting {
	p := b.purse(id, Token)
	p.held = p.held.Sub(amount)
	if block > p.block {
		return nil
	}
	return p.settle(id, Token, p.free().Add(amount), Account{External, id})
}

// hold moves between the free money of a wallet and a budget.
func (b *Books) hold(walletID, allocationID string, amount money.Amount) []Posting {
	p := b.purse(walletID, Token)
	p.held = p.held.Add(amount)
	return p.settle(walletID, Token, p.free().Sub(amount), Account{Reserved, allocationID})
}

func (b *Books) budget(e allocation.Event) []Posting {
	switch e := e.(type) {
	case allocation.Created:
		f := fund{wallet: wallet.StreamID(e.ChainID, e.Address), total: e.Total}
		b.allocations[e.AllocationID] = f
		return b.hold(f.wallet, e.AllocationID, e.Total)
	case allocation.Amended:
		f := b.allocations[e.AllocationID]
		more := e.Total.Sub(f.total)
		f.total = e.Total
		b.allocations[e.AllocationID] = f
		return b.hold(f.wallet, e.AllocationID, more)
	case allocation.Released:
		return b.hold(b.allocations[e.AllocationID].wallet, e.AllocationID, e.Returned.Neg())
	case allocation.Expired:
		return b.hold(b.allocations[e.AllocationID].wallet, e.AllocationID, e.Returned.Neg())
	case allocation.Committed:
		return move(Account{Committed, e.AllocationID}, Account{Reserved, e.AllocationID}, Token, e.Delta)
	case allocation.Spent:
		return move(Account{Scheduled, e.IntentID}, Account{Committed, e.AllocationID}, Token, e.Delta)
	}
	return nil
}

func (b *Books) debt(e bill.Event) []Posting {
	switch e := e.(type) {
	case bill.NoteAccepted:
		return move(Account{Expense, e.AgreementID}, payable(e.AgreementID, e.ActivityID), Token, e.Delta)
	case bill.InvoiceAccepted:
		return move(Account{Expense, e.AgreementID}, payable(e.AgreementID, ""), Token, e.Delta)
	case bill.Scheduled:
		var out []Posting
		for _, r := range e.Ranges {
			out = append(out, move(payable(r.AgreementID, r.ActivityID), Account{Scheduled, e.IntentID}, Token, r.Amount())...)
		}
		return out
	case bill.NoteAcceptedByPeer:
		x := b.earning(e.AgreementID)
		if d := e.Amount.Sub(x.activities[e.ActivityID]); d.Sign() > 0 {
			included := d.Min(x.invoice)
			x.invoice = x.invoice.Sub(included)
			x.activities[e.ActivityID], x.accepted = e.Amount, x.accepted.Add(d.Sub(included))
		}
		return x.recognise(e.AgreementID)
	case bill.InvoiceAcceptedByPeer:
		x := b.earning(e.AgreementID)
		x.invoice = e.Amount.Sub(x.accepted).Max(money.Amount{})
		x.accepted = x.accepted.Add(x.invoice)
		return x.recognise(e.AgreementID)
	case bill.Paid:
		return b.paid(e.Side, e.AgreementID, e.PaymentID, payment.Total(e.Ranges))
	case bill.PaymentReversed:
		return b.paid(e.Side, e.AgreementID, e.PaymentID, payment.Total(e.Ranges).Neg())
	case bill.Opened, bill.NoteIssued, bill.NoteReceived, bill.NoteDelivered, bill.NoteUndeliverable,
		bill.InvoiceIssued, bill.InvoiceReceived, bill.InvoiceDelivered, bill.InvoiceUndeliverable,
		bill.AcceptanceDelivered, bill.AcceptanceRefused, bill.Settled, bill.Unsettled,
		bill.NoteRejected, bill.NoteRejectedByPeer, bill.InvoiceRejected, bill.InvoiceRejectedByPeer,
		bill.NoteCancelled, bill.NoteCancelledByPeer, bill.InvoiceCancelled, bill.InvoiceCancelledByPeer,
		bill.NoticeDelivered, bill.NoticeAbandoned, bill.Flagged:
		// what is asked, told and refused moves no money
	}
	return nil
}

func payable(agreementID, activityID string) Account {
	return Account{Payable, agreementID + "/" + activityID}
}

func (b *Books) earning(agreementID string) *earning {
	if b.earned[agreementID] == nil {
		b.earned[agreementID] = &earning{activities: make(map[string]money.Amount)}
	}
	return b.earned[agreementID]
}

// recognise books as income what was accepted or, when an acceptance got lost,
// paid.
func (x *earning) recognise(agreementID string) []Posting {
	d := x.accepted.Max(x.paid).Sub(x.recognised).Max(money.Amount{})
	x.recognised = x.recognised.Add(d)
	return move(Account{Receivable, agreementID}, Account{Income, agreementID}, Token, d)
}

// paid books a payment at the provider. At the payer a payment counts when its
// transfer is final, which [allocation.Spent] says.
func (b *Books) paid(side identity.Side, agreementID, paymentID string, amount money.Amount) []Posting {
	if side != identity.Provider {
		return nil
	}
	x := b.earning(agreementID)
	x.paid = x.paid.Add(amount)
	out := x.recognise(agreementID)
	return append(out, move(Account{Received, paymentID}, Account{Receivable, agreementID}, Token, amount)...)
}

// move debits one account and credits another; a negative amount goes the
// other way.
func move(debit, credit Account, asset Asset, amount money.Amount) []Posting {
	if amount.Sign() < 0 {
		debit, credit, amount = credit, debit, amount.Neg()
	}
	if amount.IsZero() {
		return nil
	}
	return []Posting{{Account: debit, Asset: asset, Debit: amount}, {Account: credit, Asset: asset, Credit: amount}}
}
