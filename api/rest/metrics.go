package rest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
)

// scrapeTime bounds how long one scrape reads on in the log. A scrape after a
// start on a long log tells what it has counted; the next ones tell the rest.
const scrapeTime = 2 * time.Second

// metric is a counter of facts of one type, of one side if it names one.
type metric struct {
	name, help, fact string
	side             identity.Side
}

// metricsOf are the counters, sorted by name, in the words of the reference
// node. All exist from the start. None has labels, so that nothing of a client
// or a peer gets into them.
var metricsOf = sortedMetrics(
	both("market_agreements_%s_approved", "Agreements that both sides signed.", "agreement.approved.v1"),
	both("market_agreements_%s_cancelled", "Agreements that the requestor took back.", "agreement.cancelled.v1"),
	both("market_agreements_%s_rejected", "Agreements that the provider refused.", "agreement.rejected.v1"),
	both("market_agreements_%s_terminated", "Agreements that either side ended.", "agreement.terminated.v1"),
	both("market_agreements_%s_expired", "Agreements that nobody signed in time.", "agreement.expired.v1"),
	[]metric{
		{"market_agreements_requestor_created", "Agreements made.", "agreement.created.v1", ""},
		{"market_agreements_requestor_confirmed", "Agreements signed and sent by us.", "agreement.confirmed.v1", ""},
		{"market_agreements_provider_proposed", "Agreements that requestors sent.", "agreement.received.v1", ""},
		{"market_demands_subscribed", "Demands published.", "demand.published.v1", ""},
		{"market_demands_unsubscribed", "Demands taken back.", "demand.withdrawn.v1", ""},
		{"market_demands_expired", "Demands whose time was over.", "demand.expired.v1", ""},
		{"market_offers_subscribed", "Offers published.", "offer.published.v1", ""},
		{"market_offers_unsubscribed", "Offers taken back.", "offer.withdrawn.v1", ""},
		{"market_offers_expired", "Offers whose time was over.", "offer.expired.v1", ""},
		{"market_proposals_countered", "Counter-proposals that peers took.", "negotiation.counter_delivered.v1", ""},
		{"market_proposals_received", "Counter-proposals of peers.", "negotiation.counter_received.v1", ""},
		{"market_proposals_rejected", "Proposals that we refused.", "negotiation.rejection_requested.v1", ""},
	},
	both("activity_%s_created", "Activities created.", "activity.created.v1"),
	both("activity_%s_destroyed", "Activities ended.", "activity.terminated.v1"),
	both("activity_%s_exec", "Scripts that an exe-unit took.", "batch.accepted.v1"),
	[]metric{
		{"activity_requestor_create_failed", "Activities that providers could not create.", "activity.creation_failed.v1", ""},
		{"activity_provider_spawn_failed", "Exe-units that did not start.", "activity.spawn_failed.v1", ""},
		{"activity_provider_unresponsive", "Exe-units that fell silent.", "activity.unresponsive.v1", ""},
		{"payment_invoices_provider_issued", "Invoices written.", "bill.invoice_issued.v1", ""},
		{"payment_invoices_provider_sent", "Invoices that requestors took.", "bill.invoice_delivered.v1", ""},
		{"payment_invoices_provider_accepted", "Invoices that requestors accepted.", "bill.invoice_accepted_by_peer.v1", ""},
		{"payment_invoices_provider_rejected", "Invoices that requestors rejected.", "bill.invoice_rejected_by_peer.v1", ""},
		{"payment_invoices_provider_cancelled", "Invoices taken back.", "bill.invoice_cancelled.v1", ""},
		{"payment_invoices_requestor_received", "Invoices of providers.", "bill.invoice_received.v1", ""},
		{"payment_invoices_requestor_accepted", "Invoices accepted.", "bill.invoice_accepted.v1", ""},
		{"payment_invoices_requestor_rejected", "Invoices rejected.", "bill.invoice_rejected.v1", ""},
		{"payment_debit_notes_provider_issued", "Debit notes written.", "bill.note_issued.v1", ""},
		{"payment_debit_notes_provider_sent", "Debit notes that requestors took.", "bill.note_delivered.v1", ""},
		{"payment_debit_notes_provider_accepted", "Debit notes that requestors accepted.", "bill.note_accepted_by_peer.v1", ""},
		{"payment_debit_notes_requestor_received", "Debit notes of providers.", "bill.note_received.v1", ""},
		{"payment_debit_notes_requestor_accepted", "Debit notes accepted.", "bill.note_accepted.v1", ""},
		{"payment_debit_notes_requestor_rejected", "Debit notes rejected.", "bill.note_rejected.v1", ""},
		{"payment_transactions_sent", "Transactions given to a chain.", "tx.broadcast.v1", ""},
		{"payment_transactions_finalised", "Transactions that a chain will keep.", "tx.finalised.v1", ""},
		{"payment_transactions_reverted", "Transactions that a chain carried out without effect.", "tx.reverted.v1", ""},
		{"payment_payments_verified", "Payments of others found on the chain.", "payment.verified.v1", ""},
		{"payment_payments_disproved", "Payments of others that the chain does not know.", "payment.disproved.v1", ""},
	},
)

// both makes a counter for each side.
func both(name, help, fact string) []metric {
	return []metric{
		{fmt.Sprintf(name, "provider"), help, fact, identity.Provider},
		{fmt.Sprintf(name, "requestor"), help, fact, identity.Requestor},
	}
}

func sortedMetrics(groups ...[]metric) []metric {
	return slices.SortedFunc(slices.Values(slices.Concat(groups...)), func(a, b metric) int { return strings.Compare(a.name, b.name) })
}

// counter is what a metric counts: facts of a type in streams of a side.
type counter struct {
	fact string
	side identity.Side
}

// tally counts the facts of the whole log, of all identities.
type tally struct {
	log *es.Log

	mu     sync.Mutex
	counts map[counter]int64
	next   es.Position // the first that is not counted
}

func newTally(log *es.Log) *tally { return &tally{log: log, counts: make(map[counter]int64)} }

// read goes on where the last reading ended.
func (t *tally) read(ctx context.Context) error {
	head, err := t.log.Store.Head(ctx)
	if err != nil {
		return err
	}
	until := time.Now().Add(scrapeTime)
	for e, err := range t.log.Store.ReadAll(ctx, t.next, es.Forward, es.Filter{}, 0) {
		if err != nil {
			return err
		}
		if e.Position >= head || e.Position%1024 == 0 && time.Now().After(until) {
			return nil
		}
		t.counts[counter{e.Type, ""}]++
		if key := e.Stream.Key(); strings.HasPrefix(key, "R-") || strings.HasPrefix(key, "P-") {
			t.counts[counter{e.Type, identity.Side(key[:1])}]++
		}
		t.next = e.Position + 1
	}
	return nil
}

// sampled is what one scrape says of a metric.
type sampled struct {
	name, help, kind string
	value            int64
}

// samples are all counters of facts.
func (t *tally) samples(ctx context.Context) ([]sampled, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.read(ctx); err != nil {
		return nil, err
	}
	out := make([]sampled, len(metricsOf))
	for i, m := range metricsOf {
		out[i] = sampled{m.name, m.help, "counter", t.counts[counter{m.fact, m.side}]}
	}
	return out, nil
}

// limitSamples tell of each limit what is used, what may be, and what was refused.
func (s *server) limitSamples(ctx context.Context) []sampled {
	limits := append(s.guard.limits(), s.feeds.limit(s.Feeds))
	limits = append(limits, s.moments.limits(time.Now())...)
	if s.Limits != nil {
		limits = append(limits, s.Limits(ctx)...)
	}
	var out []sampled
	for _, l := range limits {
		name := "limit_" + l.Name
		out = append(out,
			sampled{name + "_max", "The most that there may be.", "gauge", l.Max},
			sampled{name + "_refused_total", "How often more was refused.", "counter", l.Refused},
			sampled{name + "_used", "What is in use.", "gauge", l.Used})
	}
	return out
}

// Value is a metric that is counted neither in the log nor as a limit.
type Value struct {
	Name, Help string
	Is         int64
	Gauge      bool // it may go down
}

// newsSamples tell how others are told of the log.
func (s *server) newsSamples(ctx context.Context) ([]sampled, error) {
	out := []sampled{{"news_feeds_cut", "Readers of the feed that were too slow.", "counter", s.feeds.slow()}}
	if s.Values == nil {
		return out, nil
	}
	values, err := s.Values(ctx)
	for _, v := range values {
		kind := "counter"
		if v.Gauge {
			kind = "gauge"
		}
		out = append(out, sampled{v.Name, v.Help, kind, v.Is})
	}
	return out, err
}

// text is the samples that some prefix fits, in Prometheus' text format.
func text(samples []sampled, prefixes ...string) string {
	slices.SortFunc(samples, func(a, b sampled) int { return strings.Compare(a.name, b.name) })
	var b strings.Builder
	for _, m := range samples {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(m.name, p) }) {
			fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n%s %d\n", m.name, m.help, m.name, m.kind, m.name, m.value)
		}
	}
	return b.String()
}

const prometheusText = "text/plain; version=0.0.4; charset=utf-8"

func (s nodeAPI) metrics(c echo.Context, prefixes ...string) error {
	ctx := c.Request().Context()
	samples, err := s.tally.samples(ctx)
	if err != nil {
		return err
	}
	news, err := s.newsSamples(ctx)
	if err != nil {
		return err
	}
	samples = append(append(samples, news...), s.limitSamples(ctx)...)
	return c.Blob(http.StatusOK, prometheusText, []byte(text(samples, prefixes...)))
}

// ExposeMetrics tells all counters.
func (s nodeAPI) ExposeMetrics(c echo.Context) error { return s.metrics(c, "") }

// SortMetrics tells all counters, which are sorted anyway.
func (s nodeAPI) SortMetrics(c echo.Context) error { return s.metrics(c, "") }

// PushMetrics tells what the node sends to others about itself: it sends nothing.
func (s nodeAPI) PushMetrics(c echo.Context) error { return s.metrics(c) }

// FilterMetrics tells the counters whose names begin with one of the prefixes.
func (s nodeAPI) FilterMetrics(c echo.Context) error {
	return s.metrics(c, strings.Split(c.Param("prefixes"), ",")...)
}
