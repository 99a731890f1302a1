package rest

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/emet-node/emet/eventschemas"
)

// sample is a line of a scrape: the node's counters are whole numbers.
var sample = regexp.MustCompile(`^([a-z_]+) (\d+)$`)

// scrape reads counters as Prometheus does.
func scrape(t *testing.T, url, path string) (names []string, values map[string]int) {
	t.Helper()
	got := ask(t, url, "GET", path, "")
	if got.status != 200 || got.header.Get("Content-Type") != prometheusText {
		t.Fatalf("%s: %d %s", path, got.status, got.header.Get("Content-Type"))
	}
	values = map[string]int{}
	for line := range strings.Lines(got.body) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "# HELP ") || strings.HasPrefix(line, "# TYPE ") {
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("%s has the line %q", path, line)
		}
		names = append(names, m[1])
		values[m[1]], _ = strconv.Atoi(m[2])
	}
	return names, values
}

func TestCountersFollowTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	names, before := scrape(t, w.url, "/metrics-api/v1/expose")
	if !slices.IsSorted(names) || len(names) != len(metricsOf)+3*len(newGuard().limits())+4 || len(before) != len(names) {
		t.Errorf("%d names: %v", len(names), names)
	}
	for _, name := range []string{"market_agreements_requestor_approved", "payment_invoices_requestor_accepted", "activity_requestor_created"} {
		if v, ok := before[name]; !ok || v != 0 {
			t.Errorf("%s is %d at the start, %v", name, v, ok)
		}
	}
	g, _ := w.started()
	w.call(200, "POST", "/market-api/v1/agreements/"+g+"/terminate", "null")
	_, after := scrape(t, w.url, "/metrics-api/v1/sorted")
	for name, want := range map[string]int{
		"market_demands_subscribed": 1, "market_agreements_requestor_created": 1, "market_agreements_requestor_approved": 1,
		"market_agreements_requestor_terminated": 1, "market_agreements_provider_approved": 0, "activity_requestor_created": 1,
		"activity_provider_created": 0, "market_proposals_countered": 1, "market_proposals_received": 1,
	} {
		if after[name] != want {
			t.Errorf("%s is %d, want %d", name, after[name], want)
		}
	}
	if names, _ := scrape(t, w.url, "/metrics-api/v1/filtered/market_demands,activity_requestor"); len(names) != 7 {
		t.Errorf("filtered: %v", names)
	}
	if names, _ := scrape(t, w.url, "/metrics-api/v1/filtered"); len(names) != 0 {
		t.Errorf("something would be pushed: %v", names)
	}
}

func TestLimitsAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(d *Deps) {
		d.Limits = func(context.Context) []Limit { return []Limit{{Name: "activities", Used: 3, Max: 64, Refused: 2}} }
	})
	for range freeFailures + 3 {
		ask(t, w.url, "GET", "/me", "", "Authorization: Bearer wrong")
	}
	names, values := scrape(t, w.url, "/metrics-api/v1/filtered/limit_")
	if !slices.IsSorted(names) {
		t.Errorf("%v", names)
	}
	for name, want := range map[string]int{
		"limit_activities_used": 3, "limit_activities_max": 64, "limit_activities_refused_total": 2,
		"limit_rest_wrong_keys_refused_total": 3, "limit_rest_wrong_keys_used": 1, "limit_rest_requests_of_a_key_max": maxRequests,
		"limit_rest_streams_of_a_key_refused_total": 0,
	} {
		if got, ok := values[name]; !ok || got != want {
			t.Errorf("%s is %d, %v, want %d", name, got, ok, want)
		}
	}
}

// A counter of a fact that does not exist would stay 0 for ever.
func TestCountersCountFactsThatExist(t *testing.T) {
	t.Parallel()
	known := eventschemas.New().Names()
	for _, m := range metricsOf {
		if !slices.Contains(known, m.fact) {
			t.Errorf("%s counts %s", m.name, m.fact)
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	if got := ask(t, w.url, "GET", "/healthcheck", "", asAlice); got.status != 200 || got.body != `{"status":"ok"}` {
		t.Errorf("healthy: %d %s", got.status, got.body)
	}
	ill := newWorld(t, func(d *Deps) { d.Healthy = func(context.Context) error { return errors.New("disk is full") } })
	got := ask(t, ill.url, "GET", "/healthcheck", "", asAlice)
	const want = `{"detail":"disk is full","instance":"/healthcheck/internal-error/market-service-error","step":"market-check","type":"/healthcheck/internal-error"}`
	if got.status != 500 || got.body != want || got.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("ill: %d %s %s", got.status, got.header.Get("Content-Type"), got.body)
	}
}
