package rest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment/wallet"
)

type page struct {
	Events []struct {
		Position       int64
		Stream, Type   string
		Recorded       string
		Meta           struct{ Actor, Identity, AppKey string }
		Data           map[string]any
		ID             string
		Revision, Leaf any
	}
	Next, Head int64
}

func (w *world) page(query string) (p page) {
	w.t.Helper()
	if err := json.Unmarshal([]byte(w.call(200, "GET", "/emet-api/v1/log?"+query, "").body), &p); err != nil {
		w.t.Fatal(err)
	}
	return p
}

func TestTheLogIsReadInPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g, a := w.started()
	all := w.page("limit=1000")
	if len(all.Events) < 10 || all.Next != all.Head {
		t.Fatalf("%d events, next %d of %d", len(all.Events), all.Next, all.Head)
	}
	var seen int
	for from := int64(0); ; {
		p := w.page(fmt.Sprintf("limit=3&from=%d", from))
		for _, e := range p.Events {
			if want := all.Events[seen]; e.Position != want.Position || e.ID != want.ID {
				t.Fatalf("event %d is %v, want %v", seen, e, want)
			}
			seen++
		}
		if from = p.Next; p.Next >= p.Head {
			break
		}
	}
	if seen != len(all.Events) {
		t.Errorf("pages held %d of %d events", seen, len(all.Events))
	}
	if p := w.page("type=activity.*"); len(p.Events) != 2 || p.Events[0].Type != "activity.creation_requested.v1" || p.Events[0].Meta.AppKey != "k-alice" {
		t.Errorf("types: %+v", p)
	}
	if p := w.page("stream=activity-R-" + a); len(p.Events) != 2 {
		t.Errorf("stream: %+v", p)
	}
	if p := w.page("correlation=" + g + "&stream=activity-*"); len(p.Events) == 0 || p.Events[0].Data["agreementId"] != g {
		t.Errorf("correlation: %+v", p)
	}
	for _, q := range []string{"limit=0", "limit=1001", "from=-1", "from=x"} {
		w.call(400, "GET", "/emet-api/v1/log?"+q, "")
	}
}

func TestATimelineTellsOneDeal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g, _ := w.started()
	body := w.call(200, "GET", "/emet-api/v1/agreements/"+g+"/timeline", "").body
	created, requested := strings.Index(body, "agreement.created.v1"), strings.Index(body, "activity.creation_requested.v1")
	if opened := strings.Index(body, "negotiation.opened.v1"); opened < 0 || created < opened || requested < created {
		t.Errorf("timeline %s", body)
	}
	w.call(404, "GET", "/emet-api/v1/agreements/"+strings.Repeat("0", 64)+"/timeline", "")
	if got := ask(t, w.url, "GET", "/emet-api/v1/agreements/"+g+"/timeline", "", "Authorization: Bearer bob"); got.status != 404 {
		t.Errorf("bob reads it: %d", got.status)
	}
}

func TestTheBooksOfAnIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if got := w.call(200, "GET", "/emet-api/v1/money", "").body; got != `{"balances":[],"position":0}` {
		t.Errorf("empty books: %s", got)
	}
	wallets := es.NewAggregate(w.log, wallet.Category, wallet.Rules)
	glm, err := money.Parse("12.5")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []wallet.Command{
		wallet.Open{Address: string(alice), By: fromUs, ChainID: 17000, OwnerID: alice, Platform: "erc20-holesky-tglm"},
		wallet.Observe{Block: 1, Token: glm},
	} {
		if _, err := wallets.Do(t.Context(), wallet.StreamID(17000, string(alice)), c, w.meta()); err != nil {
			t.Fatal(err)
		}
	}
	got := w.call(200, "GET", "/emet-api/v1/money", "").body
	if !strings.Contains(got, `"account":"available"`) || !strings.Contains(got, `"amount":"12.5"`) || !strings.Contains(got, `"normal":"debit"`) {
		t.Errorf("books: %s", got)
	}
	if got := ask(t, w.url, "GET", "/emet-api/v1/money", "", "Authorization: Bearer bob").body; !strings.Contains(got, `"balances":[]`) {
		t.Errorf("bob's books: %s", got)
	}
}

func TestTimesOfTheLogAreItsCursors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.demands()
	w.demands()
	var last time.Time
	for _, e := range w.page("limit=1000").Events {
		at, err := time.Parse(time.RFC3339Nano, e.Recorded)
		if err != nil || !at.After(last) || at.Nanosecond()%1000 != 0 {
			t.Errorf("recorded %s after %v: %v", e.Recorded, last, err)
		}
		last = at
	}
}
