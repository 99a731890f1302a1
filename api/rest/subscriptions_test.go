package rest

import (
	"strings"
	"testing"
	"time"
)

func TestUnsubscribingEndsPollsWith404(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.demands()
	got := make(chan answered)
	go func() {
		got <- ask(t, w.url, "GET", "/market-api/v1/demands/"+s+"/events?timeout=60", "", asAlice)
	}()
	w.call(204, "DELETE", "/market-api/v1/demands/"+s, "")
	if a := <-got; a.status != 404 || !strings.Contains(a.body, "message") {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.call(404, "DELETE", "/market-api/v1/demands/"+s, "")
}

func TestEqualDemandsHaveTheirOwnIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if first, second := w.demands(), w.demands(); first == second {
		t.Error("two demands share an id")
	}
	key := "Idempotency-Key: one"
	a := w.call(201, "POST", "/market-api/v1/demands", demandBody, key).status
	if a != 201 || len(w.array(w.call(200, "GET", "/market-api/v1/demands", ""))) != 3 {
		t.Error("a demand with an idempotency key was not published")
	}
}

func TestSubscriptionsLiveAsLongAsIsConfigured(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(d *Deps) { d.Market.TTL = 400 * time.Millisecond })
	s := w.demands()
	o := w.text(w.call(201, "POST", "/market-api/v1/offers", `{"properties":{},"constraints":"()"}`))
	d, _, err := w.deps.Market.Demands.Load(t.Context(), s)
	if err != nil || d.Expires.Sub(d.Created) != 400*time.Millisecond {
		t.Errorf("the demand lives from %v to %v: %v", d.Created, d.Expires, err)
	}
	w.call(404, "GET", "/market-api/v1/demands/"+s+"/events?timeout=10", "") // ends with it
	w.call(404, "GET", "/market-api/v1/offers/"+o+"/events?timeout=10", "")
	for _, path := range []string{"demands", "offers"} {
		if got := w.call(200, "GET", "/market-api/v1/"+path, "").body; got != "[]" {
			t.Errorf("%s: %s", path, got)
		}
	}
}

func TestScans(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sells(offerText)
	id := w.text(w.call(201, "POST", "/market-api/v1/scan", `{"type":"offer","constraints":"(golem.runtime.name=vm)","properties":{"x":1}}`))
	offers := w.array(w.call(200, "GET", "/market-api/v1/scan/"+id+"/events?timeout=60", ""))
	if len(offers) != 1 || offers[0]["providerId"] != string(carol) {
		t.Fatalf("offers %v", offers)
	}
	if more := w.array(w.call(200, "GET", "/market-api/v1/scan/"+id+"/events?timeout=0", "")); len(more) != 0 {
		t.Errorf("again %v", more)
	}
	if got := ask(t, w.url, "GET", "/market-api/v1/scan/"+id+"/events", "", "Authorization: Bearer bob"); got.status != 403 {
		t.Errorf("bob scans along: %d", got.status)
	}
	w.call(400, "POST", "/market-api/v1/scan", `{"type":"offer","constraints":"(("}`)
	w.call(400, "GET", "/market-api/v1/scan/"+id+"/events?maxEvents=-1", "")
	w.call(204, "DELETE", "/market-api/v1/scan/"+id, "")
	w.call(404, "DELETE", "/market-api/v1/scan/"+id+"/events", "")
}
