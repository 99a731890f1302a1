package node

import (
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/usage"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/projections/simulate"
)

// worked is a shop whose only deal was billed: 10 seconds at 0.1.
func worked(t *testing.T) *shop {
	t.Helper()
	s := openShop(t)
	thread := s.asks(1, 20*time.Minute)
	deal := s.wants(thread)
	s.tell("agreement-P-"+deal, agreement.Approved{AgreementID: deal, Side: identity.Provider})
	act := strings.Repeat("a", 32)
	s.tell("activity-P-"+act, activity.Created{ActivityID: act, AgreementID: deal, Provider: seller, Requestor: buyer, Side: identity.Provider})
	s.story = deal
	s.tell("usage-P-"+act, usage.Finalised{ActivityID: act, At: s.clock, Vector: "[10.0]"})
	s.tell("activity-P-"+act, activity.Terminated{ActivityID: act, Reason: "destroyed"})
	s.tell("agreement-P-"+deal, agreement.Terminated{AgreementID: deal, Side: identity.Provider, By: identity.Requestor, Reason: "{}"})
	return s
}

func TestWithoutAChangeNothingDiffers(t *testing.T) {
	t.Parallel()
	one := money.MustDecimal("1")
	for name, s := range map[string]*shop{"a busy day": traded(t), "a deal that was billed": worked(t)} {
		r, err := simulate.Run(t.Context(), s.log, simulate.Wish{Factor: &one})
		if err != nil || len(r.Cases) > 0 || r.Then.Income.String() != r.Now.Income.String() || r.Then.Countered == 0 || r.Then.Approved != 1 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestOtherPricesBringOtherIncome(t *testing.T) {
	t.Parallel()
	s := worked(t)
	half := money.MustDecimal("0.5")
	for want, w := range map[string]simulate.Wish{
		"0.5": {Factor: &half}, "3": {Prices: map[string]money.Decimal{"duration": money.MustDecimal("0.3")}},
		"8": {Prices: map[string]money.Decimal{"start": money.MustDecimal("7")}}, "2": {Prices: map[string]money.Decimal{"golem.usage.duration_sec": money.MustDecimal("0.2")}},
	} {
		r, err := simulate.Run(t.Context(), s.log, w)
		if err != nil || r.Then.Income.String() != "1" || r.Now.Income.String() != want || len(r.Cases) != 0 {
			t.Errorf("want %s: %+v, %v", want, r, err)
		}
	}
	if r, err := simulate.Run(t.Context(), s.log, simulate.Wish{Factor: &half, Since: s.clock.Add(time.Hour)}); err != nil || r.Then != (simulate.Counts{}) {
		t.Errorf("before the time that counts: %+v, %v", r, err)
	}
}

func TestOtherRulesDecideOtherwise(t *testing.T) {
	t.Parallel()
	s := traded(t)
	r, err := simulate.Run(t.Context(), s.log, simulate.Wish{MaxAgreements: 3})
	if err != nil || r.Then.Refused != 1 || r.Now.Refused != 0 || r.Now.Approved != 2 || r.Unknown != 1 {
		t.Errorf("with more room: %+v, %v", r, err)
	}
	r, err = simulate.Run(t.Context(), s.log, simulate.Wish{Blacklist: []identity.NodeID{buyer}})
	if err != nil || r.Now.Countered != 0 || r.Now.Approved != 0 || r.Now.Missed != r.Then.Approved+r.Then.Refused || len(r.Cases) == 0 {
		t.Errorf("with nobody to deal with: %+v, %v", r, err)
	}
	for _, c := range r.Cases {
		if c.Then == c.Now || c.Requestor != buyer || c.Reason == "" {
			t.Errorf("%+v", c)
		}
	}
}
