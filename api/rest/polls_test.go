package rest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/market/demand"
)

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

// atOnce sends the same request with the same key several times at once.
func atOnce(t *testing.T, url, method, path, body string) []answered {
	t.Helper()
	all := make([]answered, 8)
	var sent sync.WaitGroup
	for i := range all {
		sent.Go(func() { all[i] = ask(t, url, method, path, body, asAlice, isJSONBody, "Idempotency-Key: the same") })
	}
	sent.Wait()
	for _, a := range all[1:] {
		if a.status != all[0].status || a.body != all[0].body {
			t.Errorf("%s %s: %d %s, and %d %s", method, path, all[0].status, all[0].body, a.status, a.body)
		}
	}
	return all
}

// Tries of one poll at the same time are answered the same, whether there is
// something from the start or it comes while they wait.
func TestTriesOfOnePollAtOnceAnswerTheSame(t *testing.T) {
	t.Parallel()
	for round := range 5 {
		w := newWorld(t)
		late := round%2 == 1
		if !late {
			w.sells(offerText)
		}
		s := w.demands()
		if late {
			go func() {
				w.events(s, "timeout=0&maxEvents=1") // so that the polls wait by then, mostly
				w.sells(offerText)
			}()
		}
		got := atOnce(t, w.url, "GET", "/market-api/v1/demands/"+s+"/events?maxEvents=10&timeout=60", "")
		if got[0].status != 200 || got[0].body == "[]" {
			t.Errorf("late %v: %d %s", late, got[0].status, got[0].body)
		}
		n := 0
		for range w.log.Store.ReadStream(t.Context(), es.StreamOf("inbox", s), 0, es.Forward, 0) {
			n++
		}
		if n != 1 {
			t.Errorf("handed out %d times", n)
		}
	}
}

// paired keeps the first command back until a second comes, if one does.
type paired struct {
	Aggregate[demand.Command, demand.State]
	n      atomic.Int32
	second chan struct{}
}

func (p *paired) Do(ctx context.Context, id string, cmd demand.Command, m es.Meta) (demand.State, error) {
	switch p.n.Add(1) {
	case 1:
		select {
		case <-p.second:
		case <-time.After(200 * time.Millisecond):
		}
	case 2:
		close(p.second)
	}
	return p.Aggregate.Do(ctx, id, cmd, m)
}

// What is asked for several times at once with one key is made once.
func TestTriesOfOneRequestAtOnceChangeOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(d *Deps) {
		d.Market.Demands = &paired{Aggregate: d.Market.Demands, second: make(chan struct{})}
	})
	for _, kind := range []string{"demands", "offers"} {
		got := atOnce(t, w.url, "POST", "/market-api/v1/"+kind, demandBody)
		if live := w.array(w.call(200, "GET", "/market-api/v1/"+kind, "")); got[0].status != 201 || len(live) != 1 {
			t.Errorf("%s: %d, %d of them live", kind, got[0].status, len(live))
		}
	}
	w.sells(offerText)
	g := w.agrees(w.demands())
	got := atOnce(t, w.url, "POST", "/activity-api/v1/activity?timeout=60", fmt.Sprintf(`{"agreementId":%q}`, g))
	if all := w.call(200, "GET", "/activity-api/v1/activity?agreementId="+g, "").body; got[0].status != 200 || len(all) != 36 {
		t.Errorf("activities: %d %s, %s", got[0].status, got[0].body, all)
	}
}
