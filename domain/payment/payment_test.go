package payment_test

import (
	"errors"
	"testing"

	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
)

func TestPlatformsHaveThreeParts(t *testing.T) {
	t.Parallel()
	p, err := payment.ParsePlatform("erc20-hoodi-tglm")
	if err != nil || p.Driver() != "erc20" || p.Network() != "hoodi" || p.Token() != "tglm" {
		t.Fatal(p, err)
	}
	for _, bad := range []string{"", "dummy-glm", "erc20-hoodi-tGLM", "a-b-c-d", "a--c", "-b-c"} {
		if _, err := payment.ParsePlatform(bad); !errors.Is(err, payment.ErrPlatform) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if payment.Platform("nonsense").Token() != "" {
		t.Error("a token of nonsense")
	}
}

func TestSharesAddUpRangesByDebt(t *testing.T) {
	t.Parallel()
	r := func(agr, act, from, to string) payment.Range {
		return payment.Range{ActivityID: act, AgreementID: agr, From: money.MustParse(from), To: money.MustParse(to)}
	}
	ranges := []payment.Range{r("b", "", "0", "1"), r("a", "x", "0", "2"), r("a", "x", "2", "5"), r("a", "", "4", "4")}
	got := payment.Shares(ranges)
	if len(got) != 2 || got[0].ActivityID != "x" || got[0].Amount.String() != "5" || got[1].AgreementID != "b" {
		t.Fatalf("%+v", got)
	}
	if payment.Total(ranges).String() != "6" {
		t.Fatal(payment.Total(ranges))
	}
}
