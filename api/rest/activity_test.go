package rest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

// Refresh implements Providers: carol says Ready once she was deployed to.
func (w *world) Refresh(ctx context.Context, id string) error {
	w.mu.Lock()
	fail := w.fail
	w.mu.Unlock()
	if fail == "gone" {
		return errors.New("nobody answers")
	}
	return nil
}

// Usage implements Providers.
func (w *world) Usage(context.Context, string) (peer.ActivityUsage, error) {
	return peer.ActivityUsage{AtUnix: 1700000000, Vector: "[1.5,0.25]"}, nil
}

// Blob implements Blobs.
func (w *world) Blob(context.Context, batch.Blob) ([]byte, error) { return []byte("from a blob"), nil }

func (w *world) refuse(code string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = code
}

// carolRuns creates activities, and runs scripts whose commands say their own
// entry point and fail when that is "false".
func (w *world) carolRuns(ctx context.Context, r es.Recorded) {
	w.mu.Lock()
	fail := w.fail
	w.mu.Unlock()
	a := w.deps.Activity
	life := func(id string, c activity.Command) {
		if _, err := a.Activities.Do(ctx, activity.StreamID(identity.Requestor, id), c, w.meta()); err != nil && ctx.Err() == nil {
			w.t.Errorf("%T: %v", c, err)
		}
	}
	switch e := r.Data.(type) {
	case activity.CreationRequested:
		if fail != "" {
			life(e.ActivityID, activity.FailCreation{By: fromUs, Code: fail, Message: "no"})
			return
		}
		life(e.ActivityID, activity.ConfirmCreation{By: fromUs, ProviderID: e.ActivityID})
	case activity.DestructionRequested:
		life(e.ActivityID, activity.ConfirmDestruction{By: fromUs})
	case batch.ExecRequested:
		w.runBatch(ctx, e, fail)
	}
}

func (w *world) runBatch(ctx context.Context, e batch.ExecRequested, fail string) {
	stream := batch.StreamID(identity.Requestor, e.ActivityID, e.BatchID)
	do := func(c batch.Command) {
		if _, err := w.deps.Activity.Batches.Do(ctx, stream, c, w.meta()); err != nil && ctx.Err() == nil {
			w.t.Errorf("%T: %v", c, err)
		}
	}
	if fail != "" {
		do(batch.RefuseExec{By: fromUs, Code: fail, Message: "no"})
		return
	}
	do(batch.ConfirmExec{By: fromUs})
	var commands []map[string]json.RawMessage
	_ = json.Unmarshal([]byte(e.Script), &commands)
	for i, c := range commands {
		text, _ := json.Marshal(c)
		at, index := time.Now().UTC(), int64(i)
		do(batch.StartCommand{At: at, By: fromUs, Command: string(text), Index: index})
		var run struct {
			EntryPoint string `json:"entry_point"`
		}
		_ = json.Unmarshal(c["run"], &run)
		streamed := strings.Contains(string(text), `"stream"`)
		if run.EntryPoint == "cut" { // a character in two pieces
			do(batch.AddOutput{At: at, By: fromUs, Bytes: []byte("a\xc3"), Format: batch.Str, Index: index, Stream: batch.Stdout, Streamed: streamed})
			do(batch.AddOutput{At: at, By: fromUs, Bytes: []byte("\xa4b"), Format: batch.Str, Index: index, Offset: 2, Stream: batch.Stdout, Streamed: streamed})
		} else if run.EntryPoint != "" {
			do(batch.AddOutput{At: at, By: fromUs, Bytes: []byte(run.EntryPoint + "\n"), Format: batch.Str, Index: index, Stream: batch.Stdout, Streamed: streamed})
		}
		code, message := int64(0), ""
		if run.EntryPoint == "false" {
			code, message = 1, "ExeScript command exited with code 1"
		}
		do(batch.FinishCommand{At: at, By: fromUs, Code: code, Index: index, Message: message})
		if code != 0 {
			do(batch.Close{At: at, By: fromUs, Outcome: batch.Failed})
			return
		}
	}
	do(batch.Close{At: time.Now().UTC(), By: fromUs, Outcome: batch.Done})
}

// started makes an agreement and an activity.
func (w *world) started() (agreementID, activityID string) {
	w.t.Helper()
	w.sells(offerText)
	g := w.agrees(w.demands())
	got := w.call(200, "POST", "/activity-api/v1/activity?timeout=60", `{"agreementId":"`+g+`"}`)
	var a struct{ ActivityID string }
	if err := json.Unmarshal([]byte(got.body), &a); err != nil || len(a.ActivityID) != 32 {
		w.t.Fatalf("created %s", got.body)
	}
	return g, a.ActivityID
}

func (w *world) exec(activityID, script string) string {
	w.t.Helper()
	text, _ := json.Marshal(script)
	return w.text(w.call(200, "POST", "/activity-api/v1/activity/"+activityID+"/exec?timeout=60", `{"text":`+string(text)+`}`))
}

const base = "/activity-api/v1/activity/"

func TestAnActivityAsGolemJSUsesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g, a := w.started()
	if got := w.text(w.call(200, "GET", base+a+"/agreement", "")); got != g {
		t.Errorf("agreement %s", got)
	}
	if got := w.call(200, "GET", base+a+"/state", "").body; got != `{"state":["Initialized",null]}` {
		t.Errorf("state %s", got)
	}
	if got := w.call(200, "GET", base+a+"/usage", "").body; got != `{"currentUsage":[1.5,0.25],"timestamp":1700000000}` {
		t.Errorf("usage %s", got)
	}
	b := w.exec(a, `[{"deploy":{}},{"start":{}}]`)
	if len(b) != 32 {
		t.Errorf("batch %s", b)
	}
	results := w.array(w.call(200, "GET", base+a+"/exec/"+b+"?timeout=60", ""))
	if len(results) != 2 || results[0]["index"] != 0.0 || results[0]["isBatchFinished"] != false || results[1]["isBatchFinished"] != true {
		t.Errorf("results %v", results)
	}
	for _, name := range []string{"stdout", "stderr", "message"} {
		if v, there := results[0][name]; !there || v != nil {
			t.Errorf("%s is %v, %v", name, v, there)
		}
	}
	b = w.exec(a, `[{"run":{"entry_point":"hello","args":["-c","echo"],"capture":{"stdout":{"atEnd":{"format":"string"}},"stderr":{"atEnd":{"format":"string"}}}}}]`)
	results = w.array(w.call(200, "GET", base+a+"/exec/"+b+"?timeout=60", ""))
	if len(results) != 1 || results[0]["stdout"] != "hello\n" || results[0]["result"] != "Ok" || results[0]["isBatchFinished"] != true {
		t.Errorf("results %v", results)
	}
	if got := w.call(200, "DELETE", base+a+"?timeout=30", ""); got.body != "null" || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("destroyed %q", got.body)
	}
	w.call(200, "DELETE", base+a, "")
	if got := w.call(200, "GET", base+a+"/state", "").body; got != `{"state":["Terminated",null]}` {
		t.Errorf("state %s", got)
	}
	if got := w.call(200, "GET", base+a+"/usage", "").body; got != `{"currentUsage":[1.5,0.25],"timestamp":1700000000}` {
		t.Errorf("the last reading was %s", got)
	}
	w.call(200, "GET", base+a+"/agreement", "")
	w.call(200, "GET", base+a+"/exec/"+b, "") // results outlive the activity
	gone := w.call(500, "POST", base+a+"/exec", `{"text":"[]"}`).body
	if !strings.Contains(gone, "GSB error") || !strings.Contains(gone, "endpoint address not found") {
		t.Errorf("a dead exe-unit says %s", gone)
	}
	if got := w.call(200, "GET", "/activity-api/v1/activity?agreementId="+g, "").body; got != `["`+a+`"]` {
		t.Errorf("list %s", got)
	}
}

func TestAnActivityAsYapapiUsesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sells(offerText)
	g := w.agrees(w.demands())
	a := w.text(w.call(200, "POST", "/activity-api/v1/activity", `"`+g+`"`))
	b := w.exec(a, `[{"deploy":{}},{"start":{"args":[]}},{"run":{"entry_point":"one","args":[]}},{"run":{"entry_point":"false","args":[]}},{"run":{"entry_point":"never","args":[]}}]`)
	results := w.array(w.call(200, "GET", base+a+"/exec/"+b+"?timeout=60", ""))
	if len(results) != 4 || results[3]["result"] != "Error" || results[3]["isBatchFinished"] != true || results[3]["message"] != "ExeScript command exited with code 1" {
		t.Errorf("results %v", results)
	}
	one := w.array(w.call(200, "GET", base+a+"/exec/"+b+"?timeout=60&commandIndex=2", ""))
	if len(one) != 3 || one[2]["stdout"] != "one\n" || one[2]["isBatchFinished"] != true || one[0]["stdout"] != nil {
		t.Errorf("up to command 2: %v", one)
	}
	w.call(404, "GET", base+a+"/exec/"+strings.Repeat("0", 32), "")
}

func TestStatusesOfActivities(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sells(offerText)
	s := w.demands()
	draft := w.proposes(s)
	pending := w.text(w.call(200, "POST", "/market-api/v1/agreements", `{"proposalId":"`+draft+`","validTo":"2099-01-01T00:00:00Z"}`))
	unknown := strings.Repeat("0", 32)
	for _, c := range []struct {
		status       int
		method, path string
		body         string
	}{
		{400, "POST", "/activity-api/v1/activity", `{"agreementId":"` + pending + `"}`},
		{404, "POST", "/activity-api/v1/activity", `"` + strings.Repeat("0", 64) + `"`},
		{400, "POST", "/activity-api/v1/activity", `{}`},
		{404, "GET", base + unknown + "/state", ""},
		{404, "GET", base + unknown + "/usage", ""},
		{404, "DELETE", base + unknown, ""},
		{404, "POST", base + unknown + "/exec", `{"text":"[]"}`},
		{400, "GET", "/activity-api/v1/activity", ""},
		{400, "GET", "/activity-api/v1/events", ""},
	} {
		w.call(c.status, c.method, c.path, c.body)
	}
	if got := w.call(408, "GET", "/activity-api/v1/events?timeout=0&afterTimestamp=2020-01-01T00:00:00Z", "").body; got != `{"message":"Timeout"}` {
		t.Errorf("no events is %s", got)
	}
	w.call(204, "POST", "/market-api/v1/agreements/"+pending+"/confirm", "")
	w.call(204, "POST", "/market-api/v1/agreements/"+pending+"/wait?timeout=60", "")
	for code, status := range map[string]int{"invalid-state": 400, "unreachable": 500, "internal": 500, "forbidden": 403} {
		w.refuse(code)
		w.call(status, "POST", "/activity-api/v1/activity", `"`+pending+`"`)
	}
	w.refuse("")
	a := w.text(w.call(200, "POST", "/activity-api/v1/activity", `"`+pending+`"`))
	w.call(400, "POST", base+a+"/exec", `{"text":"["}`)
	w.call(400, "POST", base+a+"/exec", `{"text":"[\"start\"]"}`)
	w.call(400, "POST", base+a+"/exec", `{"text":"[{\"unheard\":{}}]"}`)
	w.call(404, "GET", base+a+"/command", "")
	w.refuse("gone")
	if got := w.call(500, "GET", base+a+"/state", "").body; !strings.Contains(got, "GSB error") || !strings.Contains(got, "endpoint address not found") {
		t.Errorf("an unreachable provider: %s", got)
	}
	w.refuse("")
	if got := ask(t, w.url, "GET", base+a+"/state", "", "Authorization: Bearer bob"); got.status != 404 {
		t.Errorf("bob sees it: %d", got.status)
	}
	w.setMute(true)
	w.call(408, "POST", "/activity-api/v1/activity?timeout=0", `"`+pending+`"`)
}

// The timeout of a script is in seconds, and goes with it: to the provider it is
// brought no longer than that.
func TestScriptsHaveTheTimeThatTheirClientsSay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, a := w.started()
	for query, ms := range map[string]int64{"": 5000, "?timeout=1": 1000, "?timeout=2.5": 2500, "?timeout=0": 0, "?timeout=60": 60_000, "?timeout=1e9": 300_000} {
		// On a busy machine the time may be over before there is an answer.
		ask(t, w.url, "POST", base+a+"/exec"+query, `{"text":"[{\"start\":{}}]"}`, asAlice, isJSONBody)
		var last batch.ExecRequested
		for r, err := range w.log.ReadAll(t.Context(), 0, es.Filter{Types: []string{"batch.exec_requested.v2"}}) {
			if err != nil {
				t.Fatal(err)
			}
			last = r.Data.(batch.ExecRequested)
		}
		if last.TimeoutMS != ms {
			t.Errorf("%q: %+v, want %d ms", query, last, ms)
		}
	}
	head, _ := w.log.Store.Head(t.Context())
	for query, why := range map[string]string{
		"timeout=-1": `from 0 on, got "-1"`, "timeout=-0.001": "from 0 on", "timeout=": "empty value", "timeout=soon": `want seconds, got "soon"`,
		"timeout=NaN": "want seconds", "timeout=inf": "want seconds", "timeout=1e999": "want seconds", "timeout=1&timeout=2": "duplicate",
	} {
		if got := w.call(400, "POST", base+a+"/exec?"+query, `{"text":"[]"}`).body; !strings.Contains(got, "timeout") || !strings.Contains(got, why) {
			t.Errorf("%s: %s", query, got)
		}
	}
	if now, _ := w.log.Store.Head(t.Context()); now != head {
		t.Error("a bad timeout left facts")
	}
}

// What could not be delivered in time is 408, at once when that is known and
// never later than a second after the client's time; what the provider refused
// is told as such.
func TestScriptsThatAreNotDelivered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, a := w.started()
	for code, status := range map[string]int{"unreachable": 408, "invalid-state": 400, "duplicate": 400, "forbidden": 403, "failed": 500, "abandoned": 500, "internal": 500} {
		w.refuse(code)
		got := w.call(status, "POST", base+a+"/exec?timeout=60", `{"text":"[]"}`).body
		if status == 408 && got != `{"message":"Timeout"}` || status == 500 && (!strings.Contains(got, "GSB error") || !strings.Contains(got, "endpoint address not found")) {
			t.Errorf("%s: %s", code, got)
		}
	}
	w.setMute(true)
	if got := w.call(408, "POST", base+a+"/exec?timeout=0", `{"text":"[]"}`).body; got != `{"message":"Timeout"}` {
		t.Errorf("without any answer: %s", got)
	}
}

// listen reads runtime events of a batch until one satisfies the condition.
func (w *world) listen(path string, until func(map[string]any) bool, headers ...string) (ids []string, events []map[string]any) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, w.url+path, nil)
	req.Header.Set("Authorization", "Bearer alice")
	req.Header.Set("Accept", "text/event-stream")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // left early on purpose
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		line := lines.Text()
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			var e map[string]any
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				w.t.Fatal(err)
			}
			events = append(events, e)
		}
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			ids = append(ids, id)
			if until(events[len(events)-1]) {
				return ids, events
			}
		}
	}
	return ids, events
}

func finishes(index float64) func(map[string]any) bool {
	return func(e map[string]any) bool {
		_, finished := e["kind"].(map[string]any)["finished"]
		return finished && e["index"] == index
	}
}

func TestStreamsBeginAtTheFirstWord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, a := w.started()
	b := w.exec(a, `[{"run":{"entry_point":"hello","args":[],"capture":{"stdout":{"stream":{"format":"string"}}}}},{"run":{"entry_point":"cut","args":[],"capture":{"stdout":{"stream":{}}}}}]`)
	path := base + a + "/exec/" + b
	w.call(200, "GET", path+"?timeout=60", "") // it is over
	ids, events := w.listen(path, finishes(1))
	var kinds []string
	for _, e := range events {
		k, _ := json.Marshal(e["kind"])
		kinds = append(kinds, string(k))
		at, ok := e["timestamp"].(string)
		if e["batch_id"] != b || !ok || strings.HasSuffix(at, "Z") {
			t.Errorf("event %v", e)
		}
	}
	got := strings.Join(kinds, "\n")
	for _, want := range []string{`{"started":{"command":{"run":{`, `{"stdout":"hello\n"}`, `{"finished":{"message":null,"return_code":0}}`, `{"stdout":"a"}`, `{"stdout":"äb"}`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	for i, id := range ids {
		if id != fmt.Sprint(i) {
			t.Errorf("ids %v", ids)
			break
		}
	}
	rest, _ := w.listen(path, finishes(1), "Last-Event-ID: 2")
	if len(rest) != len(ids)-3 || rest[0] != "3" {
		t.Errorf("resumed with %v of %v", rest, ids)
	}
}

func TestStreamsEndOnlyWhenABatchFailedEarly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, a := w.started()
	b := w.exec(a, `[{"run":{"entry_point":"false","args":[]}},{"run":{"entry_point":"never","args":[]}}]`)
	began := time.Now()
	_, events := w.listen(base+a+"/exec/"+b, func(map[string]any) bool { return false })
	if d := time.Since(began); d < failedLinger || d > patience/2 {
		t.Errorf("the stream ended after %v", d)
	}
	last, _ := json.Marshal(events[len(events)-1]["kind"])
	if string(last) != `{"finished":{"message":"ExeScript command exited with code 1","return_code":1}}` {
		t.Errorf("it ended with %s", last)
	}
}

func TestWaitersHearWhenTheActivityDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, a := w.started()
	w.setMute(true)
	ctx, id := t.Context(), strings.Repeat("ab", 16)
	stream := batch.StreamID(identity.Requestor, a, id)
	s, _, err := w.deps.Activity.Activities.Load(ctx, activity.StreamID(identity.Requestor, a))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []batch.Command{
		batch.RequestExec{ActivityID: a, AgreementID: s.AgreementID, BatchID: id, By: fromUs, Provider: carol, Requestor: alice, Script: `[{"run":{"entry_point":"x","args":[]}},{"terminate":{}}]`},
		batch.ConfirmExec{By: fromUs},
		batch.StartCommand{At: time.Now().UTC(), By: fromUs, Command: `{"run":{"entry_point":"x","args":[]}}`},
	} {
		if _, err := w.deps.Activity.Batches.Do(ctx, stream, c, w.meta()); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.call(200, "GET", base+a+"/command", "").body; got != `[{"command":"Run","params":["x"]}]` {
		t.Errorf("running: %s", got)
	}
	got := make(chan answered)
	go func() { got <- ask(t, w.url, "GET", base+a+"/exec/"+id+"?timeout=60", "", asAlice) }()
	end := batch.Close{At: time.Now().UTC(), By: fromUs, Outcome: batch.Aborted}
	if _, err := w.deps.Activity.Batches.Do(ctx, stream, end, w.meta()); err != nil {
		t.Fatal(err)
	}
	results := w.array(<-got)
	if len(results) != 1 || results[0]["result"] != "Error" || results[0]["isBatchFinished"] != true {
		t.Errorf("results %v", results)
	}
}
