package market_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/peer"
)

func TestSubscriptionHash(t *testing.T) {
	t.Parallel()
	c := market.Content{
		Properties: "{}", Constraints: "()", Owner: "0xbabe000000000000000000000000000000000000",
		Created: time.Date(1970, 1, 1, 0, 1, 1, 0, time.UTC), Expires: time.Date(1970, 1, 1, 15, 1, 1, 0, time.UTC),
	}
	const want = "85fdde1924371f4a3a412748f61e5b941c500ea69a55a5135b886a2bffcb8e55"
	if c.Hash() != want {
		t.Fatal(c.Hash())
	}
	// Seconds do not count, nanoseconds do; the zone does not.
	c.Created = c.Created.Add(30 * time.Second).In(time.FixedZone("x", 3600))
	if c.Hash() != want {
		t.Error("seconds or zones are in the hash")
	}
	if err := market.CheckSubscription(market.SubscriptionID(strings.Repeat("0", 32), c), c); err != nil {
		t.Error(err)
	}
	id := market.SubscriptionID(strings.Repeat("0", 32), c)
	c.Properties = "{ }"
	if err := market.CheckSubscription(id, c); !errors.Is(err, market.ErrInvalidID) || !strings.Contains(err.Error(), "doesn't match content hash [") {
		t.Error(err)
	}
}

func TestPairHash(t *testing.T) {
	t.Parallel()
	const offer = "c76161077d0343ab85ac986eb5f6ea38-85fdde1924371f4a3a412748f61e5b941c500ea69a55a5135b886a2bffcb8e55"
	const demand = "c76161077d0343ab85ac986eb5f6ea38-edb0016d9f8bafb54540da34f05a8d510de8114488f23916276bdead05509a53"
	for ns, want := range map[int]string{
		123456789: "b625c866a4fed9a7152692c7cdb79633626c6913f7bc094ba42fe801751c4c88",
		0:         "fb68a947074d1e4fdfbbcef40d5446864b04ae2e0cb51552b2bd90bc8af197a7",
	} {
		if got := market.PairHash(offer, demand, time.Date(2020, 6, 19, 18, 53, 7, ns, time.UTC)); got != want {
			t.Errorf("%d: %s", ns, got)
		}
	}
}

func TestIDTexts(t *testing.T) {
	t.Parallel()
	h := strings.Repeat("a", 64)
	for _, c := range []struct{ id, want string }{
		{"nodash", "Subscription id [nodash] has invalid format."},
		{"a-b-c", "Subscription id [a-b-c] has invalid format."},
		{"invalid-id", "Subscription id [invalid-id] contains non hexadecimal characters."},
		{"ab-cd", "Subscription id [ab-cd] has invalid length. Should be |32|-|64|"},
	} {
		if _, err := market.ParseSubscriptionID(c.id); !errors.Is(err, market.ErrMalformedID) || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	for _, c := range []struct{ id, want string }{
		{h, "Id [" + h + "] has invalid format."},
		{"X-" + h, "Id [X-" + h + "] has invalid owner type."},
		{"R-xyz", "Id [R-xyz] contains non hexadecimal characters."},
		{"P-ab", "Id [P-ab] hash has invalid length. Should be |64|"},
	} {
		if _, _, err := market.ParseProposalID(c.id); !errors.Is(err, market.ErrMalformedID) || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	side, hash, err := market.ParseProposalID(market.ProposalID(identity.Provider, h))
	if side != identity.Provider || hash != h || err != nil {
		t.Error(side, hash, err)
	}
	if _, err := market.ParseAgreementID("zz"); err == nil {
		t.Error("zz is an agreement id")
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": `{"message":""}`, "null": `{"message":""}`, ` {"message":"x","n":0.0} `: `{"message":"x","n":0.0}`} {
		if got, err := market.ParseReason([]byte(in)); err != nil || got != want {
			t.Errorf("%q: %q %v", in, got, err)
		}
	}
	for _, in := range []string{`{}`, `[]`, `"x"`, `{"message":5}`, `{"message":"x"`} {
		if got, err := market.ParseReason([]byte(in)); !errors.Is(err, market.ErrBadText) {
			t.Errorf("%q: %q %v", in, got, err)
		}
	}
	if got := market.ForeignReason("broken\xff"); got != `{"message":"broken`+"\uFFFD"+`"}` {
		t.Errorf("%q", got)
	}
	for got, want := range map[string]string{
		market.Reason("m", market.KeyFinal, true): `{"golem.proposal.rejection.is-final":true,"message":"m"}`, market.Reason("m"): `{"message":"m"}`,
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		code peer.Code
	}{
		{&market.StateError{What: "Agreement", From: "Approved", To: "Cancelled"}, peer.InvalidState},
		{market.AgreementNotFound("a"), peer.NotFound},
		{identity.ErrForbidden, peer.Forbidden},
		{market.SubscriptionExpired("s"), peer.Expired},
		{errors.New("secret"), peer.Internal},
	} {
		err := market.Refusal(c.err)
		f := market.FailureOf(err)
		if f.Code != string(c.code) || strings.Contains(f.Text, "secret") || c.code == peer.InvalidState && f.State != "Approved" {
			t.Errorf("%v: %+v", c.err, f)
		}
	}
	if no := new(peer.Refusal); !errors.As(market.Refusal(errors.New("disk")), &no) || !no.Passing() {
		t.Errorf("what is no refusal of the rules may pass: %+v", no)
	}
	if market.FailureOf(nil).Failed() || market.FailureOf(peer.ErrNoAnswer).Code != market.NoAnswer || market.FailureOf(peer.ErrUnreachable).Code != market.Unreachable {
		t.Error("failures")
	}
}

func TestTextLimits(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"[]", "null", "5", "", "{", `{"a":"` + strings.Repeat("x", market.MaxTextBytes) + `"}`, "{\"a\":\"\xff\"}"} {
		if err := market.CheckTexts(p, "()"); !errors.Is(err, market.ErrBadText) {
			t.Errorf("%.20q: %v", p, err)
		}
	}
	if err := market.CheckTexts(`{"":{}}`, "anything"); err != nil {
		t.Error(err)
	}
	if err := market.CheckMaxEvents(101); err == nil || err.Error() != "Invalid maxEvents '101', should be between 1 and 100." {
		t.Error(err)
	}
}
