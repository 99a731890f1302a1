package dealterms_test

import (
	"errors"
	"testing"

	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/dealterms"
)

const (
	payer = "0x00000000000000000000000000000000000000a1"
	payee = "0x00000000000000000000000000000000000000b0"
)

func deal(demand, offer string) agreement.State {
	return agreement.State{Session: "s", Terms: agreement.Terms{
		DemandProperties: demand, OfferProperties: offer, Requestor: payer, Provider: payee,
	}}
}

func TestTermsKeepTheSpellingOfAddresses(t *testing.T) {
	t.Parallel()
	const chosen = `{"golem.com.payment.chosen-platform":"erc20-hoodi-tglm","golem.com.payment.platform.erc20-hoodi-tglm.address":"0xABC"}`
	got, err := dealterms.Of(deal(chosen, `{"golem.com.payment.platform.erc20-hoodi-tglm.address":"0xDeF"}`))
	want := payment.Terms{AppSessionID: "s", PayeeAddr: "0xDeF", PayeeID: payee, PayerAddr: "0xABC", PayerID: payer, Platform: "erc20-hoodi-tglm"}
	if err != nil || got != want {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestNodeIDsStandInForAddresses(t *testing.T) {
	t.Parallel()
	got, err := dealterms.Of(deal(`{"golem.com.payment.chosen-platform":"erc20-hoodi-tglm"}`, `{}`))
	if err != nil || got.PayeeAddr != payee || got.PayerAddr != payer {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestNoChosenPlatformIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := dealterms.Of(deal(`{}`, `{}`)); !errors.Is(err, dealterms.ErrNoPlatform) {
		t.Fatal(err)
	}
}
