package payment

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
)

// Platform says how to pay: "<driver>-<network>-<token>", lower case, for
// instance "erc20-hoodi-tglm".
type Platform string

// ErrPlatform says that a text is not the name of a payment platform.
var ErrPlatform = errors.New("not a payment platform")

// ParsePlatform checks that a platform has its three parts in lower case.
func ParsePlatform(s string) (Platform, error) {
	parts := strings.Split(s, "-")
	if len(parts) != 3 || slices.Contains(parts, "") || s != strings.ToLower(s) {
		return "", fmt.Errorf("%q: %w: want driver-network-token in lower case", s, ErrPlatform)
	}
	return Platform(s), nil
}

// Driver is the first part.
func (p Platform) Driver() string { return p.part(0) }

// Network is the second part.
func (p Platform) Network() string { return p.part(1) }

// Token is the third part.
func (p Platform) Token() string { return p.part(2) }

func (p Platform) part(i int) string {
	if parts := strings.Split(string(p), "-"); i < len(parts) {
		return parts[i]
	}
	return ""
}

// Terms say who owes whom in an agreement, and how it is paid. Addresses are
// spelled as in the agreement, since clients compare them as text.
type Terms struct {
	AppSessionID string
	PayeeAddr    string
	PayeeID      identity.NodeID // the provider
	PayerAddr    string
	PayerID      identity.NodeID // the requestor
	Platform     Platform
}

// SameAddress compares addresses as the bytes they stand for.
func SameAddress(a, b string) bool { return strings.EqualFold(a, b) }

// Kind tells debit notes from invoices.
type Kind string

// The kinds of documents.
const (
	DebitNote Kind = "note"
	Invoice   Kind = "invoice"
)

// Status of a document, as the APIs spell it. Each side keeps its own.
type Status string

// The statuses.
const (
	Issued    Status = "ISSUED"
	Received  Status = "RECEIVED"
	Accepted  Status = "ACCEPTED"
	Rejected  Status = "REJECTED"
	Cancelled Status = "CANCELLED"
	Settled   Status = "SETTLED"
)

// A Range is a piece of a debt. What is owed for an activity, and what an
// invoice adds on top of all activities, is counted from 0 upwards; a range
// covers [From, To) of that count. Ranges of one debt never overlap, so the
// same debt cannot be paid twice.
type Range struct {
	ActivityID   string          `json:"activityId,omitzero"` // "" = what the invoice adds
	AgreementID  string          `json:"agreementId"`
	AllocationID string          `json:"allocationId,omitzero"` // the budget it was accepted on; private to the payer
	From         money.Amount    `json:"from"`
	PayeeID      identity.NodeID `json:"payeeId"`
	To           money.Amount    `json:"to"`
}

// Amount is the length of the range.
func (r Range) Amount() money.Amount { return r.To.Sub(r.From) }

// Total adds up ranges.
func Total(ranges []Range) money.Amount {
	var sum money.Amount
	for _, r := range ranges {
		sum = sum.Add(r.Amount())
	}
	return sum
}

// A Share is the part of a payment that settles one debt.
type Share struct {
	ActivityID  string       `json:"activityId,omitzero"` // "" = the agreement's invoice
	AgreementID string       `json:"agreementId"`
	Amount      money.Amount `json:"amount"`
}

// Shares are what ranges mean to a payee: one share per debt, in the order of
// agreement and activity.
func Shares(ranges []Range) []Share {
	var out []Share
	for _, r := range ranges {
		i := slices.IndexFunc(out, func(s Share) bool { return s.AgreementID == r.AgreementID && s.ActivityID == r.ActivityID })
		if i < 0 {
			out = append(out, Share{ActivityID: r.ActivityID, AgreementID: r.AgreementID, Amount: r.Amount()})
			continue
		}
		out[i].Amount = out[i].Amount.Add(r.Amount())
	}
	slices.SortFunc(out, func(a, b Share) int {
		return strings.Compare(a.AgreementID+"\x00"+a.ActivityID, b.AgreementID+"\x00"+b.ActivityID)
	})
	return slices.DeleteFunc(out, func(s Share) bool { return s.Amount.IsZero() })
}
