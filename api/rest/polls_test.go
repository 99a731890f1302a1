package rest

import "testing"

// A poll takes things out of a queue. When its answer was lost, the same poll
// with the same key is answered the same; another one gets what is new.
func TestAPollAskedAgainAnswersTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sells(offerText)
	s := w.text(w.call(201, "POST", "/market-api/v1/demands", demandBody))
	poll := func(timeout, key string) string {
		return w.call(200, "GET", "/market-api/v1/demands/"+s+"/events?maxEvents=10&timeout="+timeout, "", "Idempotency-Key: "+key).body
	}
	first := poll("5", "one")
	if again := poll("0", "one"); again != first || first == "[]" {
		t.Errorf("first %s\nagain %s", first, again)
	}
	if other := poll("0", "two"); other != "[]" {
		t.Errorf("another poll got %s", other)
	}
}
