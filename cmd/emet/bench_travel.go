package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/emet-node/emet/api/rest"
	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/projections"
	"github.com/emet-node/emet/projections/replay"
	"github.com/emet-node/emet/projections/story/storytest"
)

const (
	travelEvents  = 1_000_000
	travelWriters = 64
	travelGroup   = 8  // deals that a writer makes at a time
	travelMoments = 24 // that are asked about
	travelAsks    = 120
)

// benchKeys lets the bench in as the buyer.
type benchKeys struct{}

// Find implements rest.Keys.
func (benchKeys) Find(string) (rest.Key, bool) {
	return rest.Key{ID: "bench", Name: "bench", Identity: storytest.Buyer, Role: identity.RoleManager}, true
}

// Origins implements rest.Keys.
func (benchKeys) Origins() []string { return nil }

// benchTravel measures the past over a log of a million events unless told otherwise: many deals
// between two identities, as they come in one daemon.
func benchTravel(ctx context.Context, b *bench) error {
	dir := filepath.Join(b.dir, "travel")
	l, err := node.OpenLedger(ctx, node.Options{Dir: dir})
	if err != nil {
		return err
	}
	n, err := manyDeals(ctx, l, b.events)
	if err == nil {
		err = foldHot(ctx, b, l, n)
	}
	if err == nil {
		err = rebuildAll(ctx, b, l, n)
	}
	if err == nil {
		err = askThePast(ctx, b, l, n)
	}
	return errors.Join(err, l.Close())
}

// manyDeals fills a log and says how many deals it has.
func manyDeals(ctx context.Context, l *node.Ledger, events es.Position) (int, error) {
	w, err := storytest.NewWorld(ctx, l.Log)
	if err != nil {
		return 0, err
	}
	full := func(n int) storytest.Stage { return storytest.Stage(max(int(storytest.Paid)-n%50/47*(n%7), 0)) }
	next := 0
	for {
		head, err := l.Store.Head(ctx)
		if err != nil || head >= events {
			return next, err
		}
		g, within := errgroup.WithContext(ctx)
		for range travelWriters {
			from := next
			next += travelGroup
			g.Go(func() error { return w.Deals(within, from, from+travelGroup, full) })
		}
		if err := g.Wait(); err != nil {
			return next, err
		}
	}
}

// foldHot folds the whole log into the states of all streams.
func foldHot(ctx context.Context, b *bench, l *node.Ledger, _ int) error {
	head, err := l.Store.Head(ctx)
	if err != nil {
		return err
	}
	runtime.GC()
	defer node.InBulk()() // as emet replay does
	begun, cpu := time.Now(), processTime()
	streams, err := replay.Fold(ctx, l.Log)
	if err != nil {
		return err
	}
	took, used := time.Since(begun).Seconds(), processTime()-cpu
	b.say("store/replay_hot_per_s", float64(head)/took, "events/s", fmt.Sprintf("streams=%d processors=%d", streams, min(runtime.NumCPU(), runtime.GOMAXPROCS(0))), fmt.Sprintf("cpu_us_per_event=%.2f", perEvent(used, head)))
	return nil
}

// perEvent is processor time in microseconds. A machine that is busy with other
// things takes longer, and this stays.
func perEvent(d time.Duration, events es.Position) float64 {
	return d.Seconds() / float64(events) * 1e6
}

// rebuildAll makes all views anew, at the same time, and then what answers
// about the past come from.
func rebuildAll(ctx context.Context, b *bench, l *node.Ledger, _ int) error {
	head, err := l.Store.Head(ctx)
	if err != nil {
		return err
	}
	runtime.GC()
	done := node.InBulk() // as emet store rebuild-views does
	begun, cpu := time.Now(), processTime()
	err = projections.Rebuild(ctx, l.Views()...)
	done()
	if err != nil {
		return err
	}
	b.say("store/rebuild_views_per_s", float64(head)/time.Since(begun).Seconds(), "events/s", fmt.Sprintf("cpu_us_per_event=%.2f", perEvent(processTime()-cpu, head)))
	runtime.GC()
	begun, cpu = time.Now(), processTime()
	for _, v := range l.Views() {
		if err := v.CatchUpPast(ctx); err != nil {
			return err
		}
	}
	b.say("asof/keep_per_s", float64(head)/time.Since(begun).Seconds(), "events/s", fmt.Sprintf("cpu_us_per_event=%.2f", perEvent(processTime()-cpu, head)))
	return nil
}

// askThePast asks REST about now and about moments all over the log: a list of
// each database and things by their ids.
func askThePast(ctx context.Context, b *bench, l *node.Ledger, deals int) error {
	head, err := l.Store.Head(ctx)
	if err != nil {
		return err
	}
	h, stop, err := node.ReadREST(ctx, l, benchKeys{})
	if err != nil {
		return err
	}
	defer stop()
	a := asker{ctx: ctx, rest: h, chance: rand.New(rand.NewPCG(1, 2)), deals: deals} //nolint:gosec // a bench wants the same every time
	now, err := a.ask(nil, "", travelMoments*travelAsks)
	if err != nil {
		return err
	}
	var then, first []time.Duration // first: until all three databases of a moment are open
	for range travelMoments {
		asOf := fmt.Sprint(a.chance.Uint64N(uint64(head)))
		opening, err := a.open(asOf)
		if err != nil {
			return err
		}
		first = append(first, opening)
		if then, err = a.ask(then, asOf, travelAsks); err != nil {
			return err
		}
	}
	present, past := ms(quantile(now, 0.99)), ms(quantile(then, 0.99))
	b.say("asof/now_p99_ms", present, "ms")
	b.say("asof/read_p99_ms", past, "ms", fmt.Sprintf("ratio=%.2f of=now", past/present), fmt.Sprintf("moments=%d asks=%d", travelMoments, travelAsks))
	b.say("asof/read_p50_ms", median(then), "ms", fmt.Sprintf("ratio=%.2f of=now", median(then)/median(now)))
	b.say("asof/open_p50_ms", median(first), "ms", fmt.Sprintf("max=%.0f", ms(quantile(first, 1))), "databases=3")
	return nil
}

// asker asks REST, "" as of now.
type asker struct {
	ctx    context.Context
	rest   http.Handler
	chance *rand.Rand
	deals  int
}

// ask asks n questions about deals, and adds how long each took.
func (a asker) ask(took []time.Duration, asOf string, n int) ([]time.Duration, error) {
	for range n {
		deal := a.chance.IntN(a.deals)
		_, budget := storytest.DemandOf(deal)
		paths := []string{
			"/payment-api/v1/invoices?maxItems=20", "/payment-api/v1/invoices/" + storytest.Numbered(deal).Invoice, "/payment-api/v1/allocations/" + budget,
			"/market-api/v1/agreements/" + storytest.AgreementOf(deal), "/activity-api/v1/activity?agreementId=" + storytest.AgreementOf(deal), "/payment-api/v1/payments?timeout=0&maxEvents=20",
		}
		path := paths[a.chance.IntN(len(paths))]
		begun := time.Now()
		if w := a.get(path, asOf); w.Code >= http.StatusInternalServerError || w.Code == http.StatusBadRequest {
			return nil, fmt.Errorf("%s as of %q: %d %s", path, asOf, w.Code, w.Body)
		}
		took = append(took, time.Since(begun))
	}
	return took, nil
}

// open asks a list of each database as of a moment, which opens it.
func (a asker) open(asOf string) (time.Duration, error) {
	begun := time.Now()
	for _, path := range []string{"/market-api/v1/agreements?state=Cancelled", "/activity-api/v1/activity?agreementId=none", "/payment-api/v1/invoices?maxItems=1"} {
		if w := a.get(path, asOf); w.Code != http.StatusOK {
			return 0, fmt.Errorf("%s as of %s: %d %s", path, asOf, w.Code, w.Body)
		}
	}
	return time.Since(begun), nil
}

func (a asker) get(path, asOf string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(a.ctx, http.MethodGet, "http://127.0.0.1"+path, nil)
	r.Header.Set("Authorization", "Bearer bench")
	if asOf != "" {
		r.Header.Set("Emet-As-Of", asOf)
	}
	w := httptest.NewRecorder()
	a.rest.ServeHTTP(w, r)
	return w
}
