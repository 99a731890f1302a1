package rest

import (
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
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
