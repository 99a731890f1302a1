package rest

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/api/gsb"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/eventschemas"
)

// A moment that is opened folds the log, so a key may have only some opened in a
// minute. Those that are open, and other keys, do not count.
func TestAKeyHasSomeMomentsOpenedInAMinute(t *testing.T) {
	t.Parallel()
	store := memory.New()
	opened := 0
	deps := Deps{Keys: someKeys, Log: &es.Log{Store: store, Codec: eventschemas.New()}, Files: gsb.New(nil), Net: testNet{}}
	deps.Past = func(context.Context, es.Moment) (Deps, func(), error) { opened++; return deps, func() {}, nil }
	for i := range 9 {
		e := es.NewEvent{ID: es.EventID("a-1", strconv.Itoa(i), 0), Type: "a.b.v1", Data: []byte("{}"), Meta: []byte("{}")}
		if _, err := store.Append(t.Context(), nil, es.Write{Stream: "a-1", Expected: es.Any, Events: []es.NewEvent{e}}); err != nil {
			t.Fatal(err)
		}
	}
	srv := httptest.NewServer(New(Config{Moments: 3}, deps))
	t.Cleanup(srv.Close)
	asked := func(key string, at int) answered {
		return ask(t, srv.URL, "GET", "/me?asOf="+strconv.Itoa(at), "", "Authorization: Bearer "+key)
	}
	for _, at := range []int{0, 1, 2, 2, 1} {
		if got := asked("alice", at); got.status != http.StatusOK {
			t.Fatalf("as of %d: %d %s", at, got.status, got.body)
		}
	}
	got := asked("alice", 3)
	wait, err := strconv.Atoi(got.header.Get("Retry-After"))
	if got.status != http.StatusTooManyRequests || err != nil || wait < 50 || wait > 60 {
		t.Errorf("a fourth one: %d %s, after %q", got.status, got.body, got.header.Get("Retry-After"))
	}
	if got := asked("alice", 0); got.status != http.StatusOK {
		t.Errorf("one that is open: %d %s", got.status, got.body)
	}
	if got := asked("bob", 4); got.status != http.StatusOK || opened != 4 {
		t.Errorf("another key: %d %s; %d were opened", got.status, got.body, opened)
	}
	_, told := scrape(t, srv.URL, "/metrics-api/v1/filtered/limit_rest_moments")
	want := map[string]int{"limit_rest_moments_of_a_key_max": 3, "limit_rest_moments_of_a_key_refused_total": 1, "limit_rest_moments_of_a_key_used": 3}
	if !maps.Equal(told, want) {
		t.Errorf("the metrics tell %v, want %v", told, want)
	}
}
