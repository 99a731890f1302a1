// Package dealterms reads from an agreement how it is paid.
package dealterms

import (
	"errors"

	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/terms"
	"github.com/emet-node/emet/domain/payment"
)

// ErrNoPlatform says that the parties of an agreement did not choose how to
// pay, so that nothing can be billed.
var ErrNoPlatform = errors.New("Missing " + terms.ChosenPlatform) //nolint:staticcheck // clients show this sentence

// Of says who owes whom in an agreement and how it is paid: on the platform
// that the demand chose, between the addresses that offer and demand name for
// it, spelled as there; where one names none, it is the node id. It fails with
// [ErrNoPlatform], and then returns what is known nevertheless.
func Of(s agreement.State) (payment.Terms, error) {
	demand, offer := terms.Parse(s.Terms.DemandProperties), terms.Parse(s.Terms.OfferProperties)
	platform := demand.String(terms.ChosenPlatform)
	t := payment.Terms{
		AppSessionID: s.Session, PayeeAddr: offer.Address(platform), PayeeID: s.Terms.Provider,
		PayerAddr: demand.Address(platform), PayerID: s.Terms.Requestor, Platform: payment.Platform(platform),
	}
	if t.PayeeAddr == "" {
		t.PayeeAddr = string(t.PayeeID)
	}
	if t.PayerAddr == "" {
		t.PayerAddr = string(t.PayerID)
	}
	if platform == "" {
		return t, ErrNoPlatform
	}
	return t, nil
}
