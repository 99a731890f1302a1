package rest

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/projections"
)

// Clients learn of an agreement that expired by waiting for it or looking at
// it, and from no event.
func TestNoEventTellsThatAnAgreementExpired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	draft := w.proposes(w.demandsAnOffer())
	id := w.text(w.call(200, "POST", "/market-api/v1/agreements", `{"proposalId":"`+draft+`","validTo":"`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"}`))
	if _, err := w.deps.Market.Agreements.Do(t.Context(), agreement.StreamID(identity.Requestor, id), agreement.Expire{At: time.Now().Add(2 * time.Hour)}, w.meta()); err != nil {
		t.Fatal(err)
	}
	if got := w.call(200, "GET", "/market-api/v1/agreements/"+id, "").body; !strings.Contains(got, `"state":"Expired"`) {
		t.Fatalf("it is %s", got)
	}
	if got := w.array(w.call(200, "GET", "/market-api/v1/agreementEvents?timeout=0&afterTimestamp=2020-01-01T00:00:00Z", "")); len(got) != 0 {
		t.Errorf("%v", got)
	}
	w.call(410, "POST", "/market-api/v1/agreements/"+id+"/wait?timeout=0", "")
}

// The same offer published twice is two offers.
func TestEqualOffersHaveTheirOwnIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const body = `{"properties":{"golem.node.debug.subnet":"public"},"constraints":"()"}`
	first, second := w.text(w.call(201, "POST", "/market-api/v1/offers", body)), w.text(w.call(201, "POST", "/market-api/v1/offers", body))
	if got := w.array(w.call(200, "GET", "/market-api/v1/offers", "")); first == second || len(got) != 2 {
		t.Errorf("%s, %s: %d offers", first, second, len(got))
	}
}

func (w *world) demandsAnOffer() string {
	w.sells(offerText)
	return w.demands()
}

// looks counts how often it is looked what came for a subscription.
type looks struct {
	MarketViews
	n atomic.Int64
}

// Negotiations implements MarketViews.
func (l *looks) Negotiations(ctx context.Context, subscription string) ([]projections.NegotiationRow, error) {
	l.n.Add(1)
	return l.MarketViews.Negotiations(ctx, subscription)
}

// A poll sleeps until something comes, also when several agreements about one
// offer have ended.
func TestAPollSleepsAfterManyAgreementsWithOneProvider(t *testing.T) {
	t.Parallel()
	var l looks
	w := newWorld(t, func(d *Deps) { l.MarketViews, d.Market.Views = d.Market.Views, &l })
	demand := w.demandsAnOffer()
	for range 2 {
		id := w.agrees(demand)
		w.call(200, "POST", "/market-api/v1/agreements/"+id+"/terminate", `{"message":"done"}`)
	}
	if again := w.events(demand, "timeout=5"); len(again) != 1 || again[0]["proposal"].(map[string]any)["state"] != "Initial" {
		t.Fatalf("the offer does not match again: %v", again)
	}
	before := l.n.Load()
	if got := w.events(demand, "timeout=1"); len(got) != 0 {
		t.Fatalf("it came twice: %v", got)
	}
	if n := l.n.Load() - before; n > 5 {
		t.Errorf("a poll to which nothing came looked %d times", n)
	}
}

// Who waits for an approval hears 408 while nothing is decided, and a bare word
// when it was refused, at once.
func TestWaitingForAnApprovalThatDoesNotCome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	draft := w.proposes(w.demandsAnOffer())
	id := w.text(w.call(200, "POST", "/market-api/v1/agreements", `{"proposalId":"`+draft+`","validTo":"`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"}`))
	wait := "/market-api/v1/agreements/" + id + "/wait?timeout="
	w.call(400, "POST", wait+"0", "") // it was not confirmed
	w.setMute(true)
	for _, c := range []agreement.Command{agreement.Confirm{At: time.Now(), By: fromUs}, agreement.FinishConfirmation{}} {
		if _, err := w.deps.Market.Agreements.Do(t.Context(), agreement.StreamID(identity.Requestor, id), c, w.meta()); err != nil {
			t.Fatal(err)
		}
	}
	w.call(408, "POST", wait+"0", "")
	w.call(408, "POST", wait+"0.05", "")
	heard := make(chan answered, 1)
	go func() { heard <- ask(t, w.url, "POST", wait+"30", "", asAlice) }()
	reject := agreement.ReceiveRejection{By: fromCarol, Reason: `{"message":"busy"}`}
	if _, err := w.deps.Market.Agreements.Do(t.Context(), agreement.StreamID(identity.Requestor, id), reject, w.meta()); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got.status != 410 || got.body != `{"message":"Rejected"}` {
		t.Errorf("%d %s", got.status, got.body)
	}
}
