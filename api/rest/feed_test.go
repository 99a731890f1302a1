package rest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/api/gen/emet"
	"github.com/emet-node/emet/api/gsb"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/projections/news"
)

func TestNewsAreThoseOfOnesIdentity(t *testing.T) {
	t.Parallel()
	k := newKiosk(t, memory.New(), Config{}, someKeys)
	k.write("$log", "$log.opened.v1", "", "", `{"logId":"x"}`)
	k.write("agreement-R-1", "agreement.created.v1", alice, "", `{"a":"<&>"}`)
	k.write("agreement-R-2", "agreement.created.v1", bob, "", `{}`)
	k.write("batch-R-1-1", "batch.exec_requested.v1", alice, "activity/1", `{"script":"private words"}`)
	for _, key := range []string{"alice", "auditor"} {
		l := k.mustListen(key, "", "")
		if i := k.item(l); i.Position != 0 || i.Type != "$log.opened.v1" {
			t.Errorf("%s: %+v", key, i)
		}
		if i := k.item(l); i.Position != 1 || string(i.Data) != `{"a":"<&>"}` || i.Identity != string(alice) || i.Stream != "agreement-R-1" {
			t.Errorf("%s: %+v", key, i)
		}
		if i := k.item(l); i.Position != 3 || !i.Sealed || string(i.Data) != "null" {
			t.Errorf("%s: %+v", key, i)
		}
	}
	l := k.mustListen("alice", "after=3", "")
	p := k.write("agreement-R-1", "agreement.approved.v1", alice, "", `{}`).Position
	if i := k.item(l); i.Position != uint64(p) || i.Revision != 1 {
		t.Errorf("what came later: %+v", i)
	}
	l = k.mustListen("bob", "", "")
	if a, b := k.item(l), k.item(l); a.Position != 0 || b.Position != 2 {
		t.Errorf("bob: %+v %+v", a, b)
	}
}

func TestNewsAreChosen(t *testing.T) {
	t.Parallel()
	k := newKiosk(t, memory.New(), Config{}, someKeys)
	for range 2 {
		for _, s := range []es.Stream{"agreement-R-1", "agreement-R-2", "bill-R-1"} {
			k.write(s, s.Category()+".created.v1", alice, "", `{}`)
		}
	}
	for query, want := range map[string][]uint64{
		"type=bill.created.v1":                        {2, 5},
		"type=agreement.*,bill.x":                     {0, 1, 3, 4},
		"stream=agreement-R-2,bill-R-1":               {1, 2, 4, 5},
		"stream=agreement-*&after=2":                  {3, 4},
		"category=bill":                               {2, 5},
		"category=bill&stream=agreement-R-1&after=-1": {0, 2, 3, 5},
		"category=agreement&type=agreement.created.*": {0, 1, 3, 4},
	} {
		l := k.mustListen("alice", query, "")
		var got []uint64
		for range want {
			got = append(got, k.item(l).Position)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	l := k.mustListen("alice", "after=now", "")
	p := k.write("bill-R-1", "bill.paid.v1", alice, "", `{}`).Position
	if i := k.item(l); i.Position != uint64(p) {
		t.Errorf("now: %+v", i)
	}
	l = k.mustListen("alice", "after=0", "4")
	if i := k.item(l); i.Position != 5 {
		t.Errorf("Last-Event-ID wins: %+v", i)
	}
}

func TestNewsAreRefusedWithAReason(t *testing.T) {
	t.Parallel()
	keys := testKeys{}
	for secret, key := range someKeys {
		keys[secret] = key
	}
	keys["seller"] = Key{ID: "k-s", Identity: alice, Role: identity.RoleProvider}
	k := newKiosk(t, memory.New(), Config{Feeds: FeedLimits{PerKey: 1}}, keys)
	k.write("a-1", "a.b.v1", alice, "", `{}`)
	for _, c := range []struct {
		key, query, last string
		status           int
		why              string
	}{
		{"seller", "", "", 403, "manager and auditor"},
		{"metrics", "", "", 403, "metrics"},
		{"alice", "after=x", "", 400, "want the position"},
		{"alice", "after=-2", "", 400, "want the position"},
		{"alice", "after=0", "y", 400, "Last-Event-ID"},
		{"alice", "after=1", "", 400, "beyond the end of this log"},
		{"alice", "", "1", 400, "position of another log"},
		{"alice", "type=a&type=b", "", 400, "duplicate field"},
		{"alice", "type=a*b", "", 400, "may only be the last"},
		{"alice", "category=a-b", "", 400, "before the first -"},
		{"alice", "asOf=0", "", 400, "news are of the present"},
	} {
		headers := []string{"Authorization: Bearer " + c.key}
		if c.last != "" {
			headers = append(headers, "Last-Event-ID: "+c.last)
		}
		got := ask(t, k.url, "GET", "/emet-api/v1/events?"+c.query, "", headers...)
		if got.status != c.status || !strings.Contains(got.body, c.why) {
			t.Errorf("%+v: %d %s", c, got.status, got.body)
		}
	}
	k.item(k.mustListen("alice", "", ""))
	got := ask(t, k.url, "GET", "/emet-api/v1/events", "", "Authorization: Bearer alice")
	if got.status != 429 || got.header.Get("Retry-After") == "" {
		t.Errorf("a second feed of one key: %d %s", got.status, got.body)
	}
	k.item(k.mustListen("auditor", "", ""))
}

// The law of the feed: however often and wherever a reader is cut off, in the
// middle of a record too, each position that fits comes exactly once and in
// order, if it goes on with the last id that it saw.
func TestAReaderThatResumesMissesNothing(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) es.Store{
		"memory": func(testing.TB) es.Store { return memory.New() },
		"segment": func(t testing.TB) es.Store {
			dir := t.TempDir()
			s, err := segment.Open(dir, segment.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKiosk(t, open(t), Config{Feeds: FeedLimits{Heartbeat: 3 * time.Millisecond}}, someKeys)
			k.write("$log", "$log.opened.v1", "", "", `{}`)
			rapid.Check(t, func(rt *rapid.T) { resume(rt, k) })
		})
	}
}

func resume(t *rapid.T, k *kiosk) {
	head, _ := k.log.Store.Head(context.Background())
	filter := rapid.SampledFrom([]string{"", "type=x.*", "stream=b-1", "category=a", "type=x.one.v1&category=b", "type=none"}).Draw(t, "filter")
	last := strconv.FormatInt(int64(head)-1, 10)
	var heard []uint64
	for range rapid.IntRange(0, 6).Draw(t, "cuts") {
		k.burst(t)
		heard = append(heard, k.piece(t, filter, &last, rapid.IntRange(1, 4000).Draw(t, "bytes"))...)
	}
	for !k.reached(last) {
		heard = append(heard, k.piece(t, filter, &last, 1<<20)...)
	}
	if want := k.expected(t, filter, head); !slices.Equal(heard, want) {
		t.Fatalf("%q after %d: heard %v, want %v", filter, int64(head)-1, heard, want)
	}
}

// burst writes a few events of all kinds.
func (k *kiosk) burst(t *rapid.T) {
	for range rapid.IntRange(0, 12).Draw(t, "events") {
		s := rapid.SampledFrom([]es.Stream{"a-1", "a-2", "b-1"}).Draw(t, "stream")
		typ := rapid.SampledFrom([]string{"x.one.v1", "x.two.v1", "y.one.v1"}).Draw(t, "type")
		who := rapid.SampledFrom([]identity.NodeID{alice, bob}).Draw(t, "who")
		k.write(s, typ, who, "", `{"n":"`+strings.Repeat("x", rapid.IntRange(0, 300).Draw(t, "size"))+`"}`)
	}
}

// reached says whether an id is that of the end of the log.
func (k *kiosk) reached(id string) bool {
	head, err := k.log.Store.Head(context.Background())
	return err == nil && id == strconv.FormatUint(uint64(head)-1, 10)
}

// piece resumes after last and reads until n bytes have come, or the id shows
// that there is nothing more.
func (k *kiosk) piece(t *rapid.T, filter string, last *string, n int) (heard []uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	query, header := filter+"&after="+*last, ""
	if rapid.Bool().Draw(t, "header") {
		query, header = filter+"&after=-1", *last
	}
	l, err := k.listen(ctx, "alice", query, header)
	if err != nil {
		t.Fatal(err)
	}
	defer l.body.Close()
	l.r, l.id = bufio.NewReader(io.LimitReader(l.body, int64(n))), *last
	for {
		r, err := l.record()
		*last = l.id
		if err != nil {
			return heard
		}
		if r.data != "" {
			p, err := strconv.ParseUint(r.id, 10, 64)
			if err != nil || r.event != "" {
				t.Fatalf("record %+v: %v", r, err)
			}
			heard = append(heard, p)
		}
		if k.reached(l.id) {
			return heard
		}
	}
}

// expected are the positions from one on that alice should hear of.
func (k *kiosk) expected(t *rapid.T, query string, from es.Position) (want []uint64) {
	for e, err := range k.log.Store.ReadAll(context.Background(), from, es.Forward, es.Filter{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		fits := bytes.Contains(e.Meta, []byte(alice))
		for part := range strings.SplitSeq(query, "&") {
			switch name, v, _ := strings.Cut(part, "="); name {
			case "type":
				begin, open := strings.CutSuffix(v, "*")
				fits = fits && (e.Type == v || open && strings.HasPrefix(e.Type, begin))
			case "stream":
				fits = fits && string(e.Stream) == v
			case "category":
				fits = fits && e.Stream.Category() == v
			}
		}
		if fits {
			want = append(want, uint64(e.Position))
		}
	}
	return want
}

func TestAQuietFeedShowsThatItLives(t *testing.T) {
	t.Parallel()
	k := newKiosk(t, memory.New(), Config{Feeds: FeedLimits{Heartbeat: 5 * time.Millisecond}}, someKeys)
	k.write("a-1", "x.one.v1", bob, "", `{}`)
	l := k.mustListen("alice", "type=none", "")
	for l.id != "0" {
		s, err := l.r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if id, ok := strings.CutPrefix(s, "id: "); ok {
			l.id = strings.TrimSpace(id) // though nothing that is wanted came
		}
	}
}

func TestAReaderThatIsTooSlowIsToldAndGoesOn(t *testing.T) {
	t.Parallel()
	k := newKiosk(t, memory.New(), Config{Feeds: FeedLimits{Patience: 250 * time.Millisecond}}, someKeys)
	const facts = 64
	for range facts {
		k.write("a-1", "x.one.v1", alice, "", `{"text":"`+strings.Repeat("x", 200<<10)+`"}`)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	l, err := k.listen(ctx, "alice", "", "")
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	ends := 0
	cut := func() int {
		names, v := scrape(t, k.url, "/metrics-api/v1/filtered/news_")
		if len(names) != 1 {
			t.Errorf("the metrics are %v", names)
		}
		return v["news_feeds_cut"]
	}
	for len(seen) < facts {
		r, err := l.next()
		switch {
		case err != nil:
			t.Fatal(err)
		case r.event == "end":
			var end emet.FeedEnd
			if err := json.Unmarshal([]byte(r.data), &end); err != nil || end.Reason != emet.Slow || strconv.FormatInt(end.After, 10) != seen[len(seen)-1] {
				t.Fatalf("%+v after %s: %v", end, seen[len(seen)-1], err)
			}
			if _, err := l.next(); err == nil {
				t.Fatal("it goes on after its end")
			}
			ends++
			l.body.Close()
			if l, err = k.listen(ctx, "alice", "", l.id); err != nil {
				t.Fatal(err)
			}
		default:
			seen = append(seen, r.id)
			if ends == 0 && cut() == 0 {
				time.Sleep(500 * time.Millisecond) // that is what a slow reader does, until it is noticed
			}
		}
	}
	if ends == 0 {
		t.Error("it was never cut off")
	}
	if n := cut(); n < ends {
		t.Errorf("after %d ends the metrics say %d", ends, n)
	}
	for i, id := range seen {
		if id != strconv.Itoa(i) {
			t.Fatalf("heard %v", seen)
		}
	}
}

// forgetful keys are gone when the test says so.
type forgetful struct {
	testKeys
	mu   sync.Mutex
	gone bool
}

func (f *forgetful) Find(secret string) (Key, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k, ok := f.testKeys[secret]
	return k, ok && !f.gone
}

func TestAFeedEndsWithItsKey(t *testing.T) {
	t.Parallel()
	keys := &forgetful{testKeys: someKeys}
	k := newKiosk(t, memory.New(), Config{Feeds: FeedLimits{Heartbeat: 20 * time.Millisecond}}, keys)
	k.write("a-1", "x.one.v1", alice, "", `{}`)
	l := k.mustListen("alice", "", "")
	k.item(l)
	keys.mu.Lock()
	keys.gone = true
	keys.mu.Unlock()
	if r, err := l.next(); err != nil || r.event != "end" || !strings.Contains(r.data, `"reason":"key"`) {
		t.Errorf("%+v %v", r, err)
	}
}

func TestAFeedSaysThatTheNodeStops(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	log := newLog(t)
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = HTTPServer(New(Config{}, Deps{Keys: someKeys, Log: log, Files: gsb.New(nil), Net: testNet{}}))
	srv.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	srv.Start()
	t.Cleanup(srv.Close)
	k := &kiosk{t: t, log: log, url: srv.URL}
	k.write("a-1", "x.one.v1", alice, "", `{}`)
	l := k.mustListen("alice", "", "")
	k.item(l)
	stop()
	if r, err := l.next(); err != nil || r.event != "end" || r.id != "0" || !strings.Contains(r.data, `"reason":"stopping"`) {
		t.Errorf("%+v %v", r, err)
	}
}

func TestAnswersOfTheFeed(t *testing.T) {
	t.Parallel()
	k := newKiosk(t, memory.New(), Config{}, someKeys)
	k.write("$log", "$log.opened.v1", "", "", `{}`)
	k.write("demand-1", "demand.published.v1", alice, "", `{"constraints":"(a<b)"}`)
	k.write("batch-R-1-1", "batch.exec_requested.v1", alice, "activity/1", `{"script":"private"}`)
	j := &journal{t: t, url: k.url}
	j.listen(emetBase+"/events?after=0", 9)
	j.golden("node", "feed.golden")
}

// The document describes what is sent.
func TestNewsAreAsDocumented(t *testing.T) {
	t.Parallel()
	p := es.Position(3)
	full := news.Item{
		Position: 4, ID: "i", Stream: "s", Revision: 1, Type: "t", Recorded: time.Date(2026, 11, 21, 0, 0, 0, 1000, time.UTC), Correlation: "c",
		Causation: "d", Cause: &p, Identity: "e", Sealed: true, Data: json.RawMessage("null"), Meta: json.RawMessage("{}"),
	}
	sent, err := full.JSON()
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(sent))
	dec.DisallowUnknownFields()
	var doc emet.NewsItem
	if err := dec.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var a, b map[string]any
	_ = json.Unmarshal(sent, &a)
	_ = json.Unmarshal(again, &b)
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("sent %v, documented %v", a, b)
	}
}

// opened says which log it is, as a node does at its beginning.
func (k *kiosk) opened(o ledger.Opened) {
	k.t.Helper()
	_, err := k.log.Append(k.t.Context(), es.Meta{Key: "opened/" + o.LogID, Actor: es.ActorOperator}, nil, es.Facts{Stream: ledger.LogStream, Expected: es.Any, Facts: []any{o}})
	if err != nil {
		k.t.Fatal(err)
	}
}

// Ids name the log, so that a reader which has heard another one, or what this
// one lost in a restore, is told so and does not go on as if nothing was.
func TestAReaderOfAnotherLogIsToldSo(t *testing.T) {
	t.Parallel()
	k := newKiosk(t, memory.New(), Config{}, someKeys)
	k.opened(ledger.Opened{Engine: "memory", LogID: "aa"})
	for range 5 {
		k.write("a-1", "a.b.v1", alice, "", `{}`)
	}
	k.opened(ledger.Opened{Engine: "memory", Epoch: 1, LogID: "bb", Predecessor: &ledger.Predecessor{LogID: "aa", Root: "00", Size: 6}})
	for range 3 {
		k.write("a-1", "a.b.v1", alice, "", `{}`)
	}
	l := k.mustListen("alice", "", "")
	for range 10 {
		k.item(l)
	}
	if l.id != "9@bb.1" {
		t.Errorf("the last id is %q", l.id)
	}
	for last, want := range map[string]uint64{"7@bb.1": 8, "7": 8, "-1@bb.1": 0, "4@aa.0": 5, "5@aa.0": 6, "-1@aa.0": 0} {
		if i := k.item(k.mustListen("alice", "", last)); i.Position != want {
			t.Errorf("after %s comes %d, want %d", last, i.Position, want)
		}
		if i := k.item(k.mustListen("alice", "after="+last, "")); i.Position != want {
			t.Errorf("after=%s: %d, want %d", last, i.Position, want)
		}
	}
	for last, c := range map[string]struct {
		status int
		why    string
	}{
		"6@aa.0": {409, "Go on with after=5@bb.1"}, "900@aa.0": {409, "took over 6 facts"}, "1@cc.0": {409, "nothing is known of what that one said"},
		"10@bb.1": {400, "beyond the end"}, "1@bb": {400, "want the position or the id"}, "1@.1": {400, "want the position or the id"}, "@bb.1": {400, "want the position or the id"},
	} {
		got := ask(t, k.url, "GET", "/emet-api/v1/events", "", "Authorization: Bearer alice", "Last-Event-ID: "+last)
		if got.status != c.status || !strings.Contains(got.body, c.why) {
			t.Errorf("%s: %d %s", last, got.status, got.body)
		}
	}
}
