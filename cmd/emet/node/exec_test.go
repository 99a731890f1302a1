package node

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/adapters/effects/activities"
	netmemory "github.com/emet-node/emet/adapters/net/memory"
	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/api/gsb"
	"github.com/emet-node/emet/api/rest"
	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
	"github.com/emet-node/emet/eventschemas"
)

const rentedID = "0123456789abcdef0123456789abcdef"

// rented is a requestor's node, from its REST interface to the network, with an
// activity at a provider that takes scripts when it answers at all.
type rented struct {
	t       *testing.T
	log     *es.Log
	agg     *Aggregates
	rest    http.Handler
	network *netmemory.Network

	mu    sync.Mutex
	taken []time.Time
}

// HandleCall implements peer.Handler.
func (r *rented) HandleCall(_ context.Context, _ peer.Caller, m peer.Message) (peer.Message, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := m.(peer.Exec); ok {
		r.taken = append(r.taken, time.Now())
	}
	return peer.Ack{}, nil
}

// HandleStream implements peer.Handler.
func (r *rented) HandleStream(context.Context, peer.Caller, peer.Message) iter.Seq2[peer.Message, error] {
	return func(func(peer.Message, error) bool) {}
}

// Find implements rest.Keys.
func (r *rented) Find(string) (rest.Key, bool) {
	return rest.Key{ID: "1", Identity: buyer, Role: identity.RoleManager}, true
}

// Origins implements rest.Keys.
func (r *rented) Origins() []string { return nil }

// OpenIntents implements effects.Intents.
func (r *rented) OpenIntents(ctx context.Context) (open []es.Position, err error) {
	for e, err := range r.log.ReadAll(ctx, 0, es.Filter{}) {
		if err != nil {
			return nil, err
		}
		if _, ok := e.Data.(batch.ExecRequested); ok {
			open = append(open, e.Position)
		}
	}
	return open, nil
}

// rent runs f in a bubble of time. begin may write what was there before the
// node started.
func rent(t *testing.T, begin func(r *rented), f func(r *rented)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rented{t: t, log: &es.Log{Store: memory.New(), Codec: eventschemas.New()}, network: netmemory.New()}
		r.agg = newAggregates(r.log)
		for i, c := range []activity.Command{
			activity.RequestCreation{ActivityID: rentedID, AgreementID: "deal", AgreementState: "Approved", By: operator, Provider: seller, Requestor: buyer, TimeoutMS: 1000},
			activity.ConfirmCreation{By: effects.Own(), ProviderID: rentedID},
		} {
			if _, err := r.agg.Activities.Do(t.Context(), activity.StreamID(identity.Requestor, rentedID), c, es.Meta{Key: fmt.Sprint(i), Actor: es.ActorEffect}); err != nil {
				t.Fatal(err)
			}
		}
		ours, theirs := r.network.Join([]identity.NodeID{buyer}, r, nil), r.network.Join([]identity.NodeID{seller}, r, nil)
		defer func() { _, _ = ours.Close(), theirs.Close() }()
		hand := &activities.Requestor{Activities: r.agg.Activities, Batches: r.agg.Batches, Peers: ours}
		runner := &effects.Runner{
			Log: r.log, Router: r.agg.router(), Intents: r, Logger: slog.New(slog.DiscardHandler),
			Effects: map[string]effects.Effect{"batch.exec_requested.v2": hand.Exec},
		}
		r.rest = rest.New(rest.Config{}, rest.Deps{
			Keys: r, Log: r.log, Files: gsb.New(nil), Activity: rest.Activity{Activities: r.agg.Activities, Batches: r.agg.Batches, Usages: r.agg.Usage},
		})
		if begin != nil {
			begin(r)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- runner.Run(ctx) }()
		synctest.Wait()
		f(r)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// silent makes the provider hear nothing for a time from now on.
func (r *rented) silent(d time.Duration) {
	until := time.Now().Add(d)
	r.network.Faults(func(_, _ identity.NodeID, _ string) netmemory.Fault {
		return netmemory.Fault{LoseRequest: time.Now().Before(until)}
	})
}

// exec posts a script and says what was answered, and after how long.
func (r *rented) exec(query string) (status int, body string, took time.Duration) {
	req := httptest.NewRequestWithContext(r.t.Context(), http.MethodPost, "/activity-api/v1/activity/"+rentedID+"/exec"+query, strings.NewReader(`{"text":"[{\"start\":{}}]"}`))
	req.Header.Set("Authorization", "Bearer key")
	req.Header.Set("Content-Type", "application/json")
	w, begun := httptest.NewRecorder(), time.Now()
	r.rest.ServeHTTP(w, req)
	return w.Code, w.Body.String(), time.Since(begun)
}

// A client is answered when its time is over, by the clock of the node, and
// what it was told is so: the script does not reach the provider later.
func TestAnExecIsAnsweredInItsTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, query string
		silent      time.Duration
		status      int
		least, most time.Duration
	}{
		{"a provider that answers", "?timeout=1", 0, 200, 0, 0},
		{"one that never answers", "?timeout=1", 24 * time.Hour, 408, 950 * time.Millisecond, 1050 * time.Millisecond},
		{"and nobody said how long", "", 24 * time.Hour, 408, 4950 * time.Millisecond, 5050 * time.Millisecond},
		{"or not at all", "?timeout=0", 24 * time.Hour, 408, 450 * time.Millisecond, 550 * time.Millisecond},
		{"or longer than it is tried", "?timeout=3600", 24 * time.Hour, 408, 299 * time.Second, 301 * time.Second},
		{"one that was away", "?timeout=20", 7 * time.Second, 200, 7 * time.Second, 10 * time.Second},
		{"longer than the client waits", "?timeout=4", 7 * time.Second, 408, 3900 * time.Millisecond, 4100 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			rent(t, nil, func(r *rented) {
				r.silent(c.silent)
				status, body, took := r.exec(c.query)
				if status != c.status || took < c.least || took > c.most || status == 408 && body != `{"message":"Timeout"}` {
					t.Errorf("%d %s after %v", status, body, took)
				}
				r.network.Faults(nil)
				time.Sleep(48 * time.Hour)
				if n := len(r.taken); n != 0 != (c.status == 200) {
					t.Errorf("the provider took %d scripts", n)
				}
			})
		})
	}
}

// A script that a build of before was asked to deliver, and did not live to, is
// delivered by this one.
func TestAScriptOfBeforeIsDelivered(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("ab", 16)
	stream := es.StreamOf(batch.Category, batch.StreamID(identity.Requestor, rentedID, id))
	rent(t, func(r *rented) {
		e := es.NewEvent{ID: es.EventID(stream, "before", 0), Type: "batch.exec_requested.v1", Meta: []byte(`{"actor":"rest"}`), Data: fmt.Appendf(nil,
			`{"activityId":%q,"agreementId":"deal","batchId":%q,"commands":1,"provider":%q,"requestor":%q,"script":"[{\"start\":{}}]"}`, rentedID, id, seller, buyer)}
		if _, err := r.log.Store.Append(t.Context(), nil, es.Write{Stream: stream, Expected: es.NoStream, Events: []es.NewEvent{e}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // until the new build is there
	}, func(r *rented) {
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
		defer cancel()
		s, err := r.agg.Batches.Await(ctx, stream.Key(), batch.State.Answered)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if !s.Accepted || len(r.taken) != 1 {
			t.Errorf("%+v, %v; sent %d times", s, err, len(r.taken))
		}
	})
}
