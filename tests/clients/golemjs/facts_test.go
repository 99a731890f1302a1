package golemjs

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What is known of golem-js 3.6 that its interface does not tell, and which
// test shows that a node copes with it. Tests named without a package are of
// this one.
//
//	an exe-unit dies while a command is streamed      TestWhenAMachineDies/streamed
//	an exe-unit dies while a command is polled        TestWhenAMachineDies/polled
//	release while the last acceptance is on its way   TestTheProviderIsPaidByAClientInAHurry,
//	                                                  rest TestAReleaseWaitsForTheAcceptanceBeforeIt
//	downloads ignore offsets                          gsb TestPiecesOfAFileArriveInOrderHoweverTheyAreSent,
//	                                                  TestRentals/everything (220 kB in pieces)
//	UploadFinished without a digest kills the client  gsb TestADigestIsNeverNull
//	GetChunk beyond the end kills the client          gsb TestPiecesOfAFileArriveInOrderHoweverTheyAreSent
//	a result shows only after UploadFinished          gsb TestAFileGoesOutPurelyOverREST, TestRentals/everything
//	a failed deploy leaves the activity behind        TestRentals/an image that is not what was promised
//	budgets come as exponents                         TestSmallBudgets
//	amendments and rejections are local               rest TestARejectedInvoiceMayBeAccepted
//	pools drop their agreement options                TestAPoolOfRemoteMachines (agreements of one hour)
//	capture limits come in two forms                  TestCaptureLimits
//	of two agreement events in a page one is lost     rest TestASessionHearsOneAgreementEventAtATime,
//	                                                  TestAPoolOfRemoteMachines (all ends are heard)
//	data is downloaded by the CommonJS build          TestRentals/everything
//	clocks, sleep and chance of guests are real       TestRentals/everything (the stream ticks)

// kill ends the exe-unit of an activity as a power cut would.
func kill(t *testing.T, activityID string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		line, _ := os.ReadFile(path)
		args := bytes.Split(line, []byte{0})
		if len(args) < 3 || string(args[1]) != "exe-unit" || string(args[2]) != activityID {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		return
	}
	t.Errorf("activity %s has no exe-unit", activityID)
}

func TestWhenAMachineDies(t *testing.T) {
	t.Parallel()
	url, hash := image(t)
	n := network(t)
	order := Order{ImageURL: url, ImageHash: hash, Engine: "wasmtime", TimeoutMS: 180_000}
	// dies rents, kills when a line is heard that says so, and returns the line
	// with the result of the command and how long it took to come.
	dies := func(t *testing.T, step Step, result string, now func(Line) bool) (Line, time.Duration) {
		var (
			mu     sync.Mutex
			killed time.Time
			is     Line
			took   time.Duration
			act    string
		)
		o := order
		o.Do = []Step{step}
		o.Hear = func(l Line) {
			mu.Lock()
			defer mu.Unlock()
			if l.Step == "doing" {
				act = l.Text("activityId")
			}
			if killed.IsZero() && now(l) {
				killed = time.Now()
				kill(t, act)
			}
			if l.Step == result {
				is, took = l, time.Since(killed)
			}
		}
		report, _ := Rent(t.Context(), n, o)
		if killed.IsZero() || is.Step == "" || len(report.Find("crashed")) != 0 || len(report.Find("disconnected")) != 1 {
			t.Fatalf("killed %v:\n%s", killed, report)
		}
		t.Logf("%s after %v: %v", result, took, is.Fields)
		return is, took
	}
	t.Run("streamed", func(t *testing.T) {
		t.Parallel()
		is, took := dies(t, Step{"stream": []string{"main", "hang"}}, "stream", func(l Line) bool { return l.Step == "chunk" })
		if is.Text("result") != "Error" || took > 45*time.Second {
			t.Errorf("after %v: %v", took, is.Fields)
		}
	})
	t.Run("polled", func(t *testing.T) {
		t.Parallel()
		is, took := dies(t, Step{"run": []string{"main", "hang"}}, "run", func(l Line) bool {
			if l.Step != "doing" {
				return false
			}
			n.awaitCommand(t, l.Text("activityId"))
			return true
		})
		if is.Text("result") != "Error" || is.Fields["isBatchFinished"] != true || took > 45*time.Second {
			t.Errorf("after %v: %v", took, is.Fields)
		}
	})
}

// awaitCommand waits until a command of an activity runs.
func (n Node) awaitCommand(t *testing.T, activityID string) {
	t.Helper()
	var running []struct{ Command string }
	for began := time.Now(); time.Since(began) < 2*time.Minute; time.Sleep(20 * time.Millisecond) {
		if n.get(t.Context(), "/activity-api/v1/activity/"+activityID+"/command", &running) == nil && len(running) > 0 && running[0].Command == "Run" {
			return
		}
	}
	t.Errorf("no command of %s runs", activityID)
}

// A client that leaves releases its allocation while it still waits to hear
// that its acceptance arrived.
func TestTheProviderIsPaidByAClientInAHurry(t *testing.T) {
	t.Parallel()
	addr, hash := image(t)
	n := network(t)
	target, err := url.Parse(n.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	var slow sync.Map
	proxy.ModifyResponse = func(r *http.Response) error {
		if strings.HasSuffix(r.Request.URL.Path, "/accept") {
			slow.Store(strings.Split(r.Request.URL.Path, "/")[4], true)
			time.Sleep(8 * time.Second) // the client waits for a quarter of that
		}
		return nil
	}
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) } // the client left
	srv := httptest.NewServer(proxy)
	defer srv.Close()
	report, err := Rent(t.Context(), Node{URL: srv.URL, AppKey: n.AppKey}, Order{
		ImageURL: addr, ImageHash: hash, Engine: "wasmtime", TimeoutMS: 180_000, Do: []Step{{"run": []string{"main", "say", "hi"}}},
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, report)
	}
	received := report.Find("invoiceReceived")
	if len(received) != 1 || len(report.Find("allocationReleased")) != 1 || len(report.Find("invoiceAccepted")) != 0 {
		t.Fatalf("the client was not in a hurry:\n%s", report)
	}
	id := received[0].Text("id")
	if _, ok := slow.Load(id); !ok {
		t.Errorf("invoice %s was not accepted", id)
	}
	settles(t, n, id)
}

func TestSmallBudgets(t *testing.T) {
	t.Parallel()
	url, hash := image(t)
	n := network(t)
	report, err := Rent(t.Context(), n, Order{ImageURL: url, ImageHash: hash, Engine: "wasmtime", Budget: 5e-7, TimeoutMS: 180_000})
	if err != nil {
		t.Fatalf("%v\n%s", err, report)
	}
	if c := report.Find("allocationCreated"); len(c) != 2 || c[0].Text("total") != "0.0000005" {
		t.Errorf("allocations:\n%s", report)
	}
}

func TestCaptureLimits(t *testing.T) {
	t.Parallel()
	url, hash := image(t)
	n := network(t)
	cases := []struct{ capture, want string }{
		{`{"atEnd":{"part":{"head":4},"format":"string"}}`, "0123"},
		{`{"atEnd":{"head":4,"format":"string"}}`, "0123"},
		{`{"atEnd":{"part":{"tail":3}}}`, "789"},
		{`{"atEnd":{"tail":3}}`, "789"},
		{`{"atEnd":{"part":{"headTail":4}}}`, "0189"},
		{`{"atEnd":{"headTail":4}}`, "0189"},
		{`{"stream":{"limit":4,"format":"string"}}`, "0123"},
		{`{"stream":{}}`, "0123456789"},
		{`{"atEnd":{"format":"string"}}`, "0123456789"},
	}
	o := Order{ImageURL: url, ImageHash: hash, Engine: "wasmtime", TimeoutMS: 180_000}
	for _, c := range cases {
		o.Do = append(o.Do, Step{"captured": map[string]any{"run": []string{"main", "count"}, "capture": json.RawMessage(`{"stdout":` + c.capture + `}`)}})
	}
	report, err := Rent(t.Context(), n, o)
	if err != nil {
		t.Fatalf("%v\n%s", err, report)
	}
	runs := report.Find("run")
	if len(runs) != len(cases) {
		t.Fatalf("%d results:\n%s", len(runs), report)
	}
	for i, c := range cases {
		if got := runs[i].Text("stdout"); got != c.want {
			t.Errorf("%s captured %q, want %q", c.capture, got, c.want)
		}
	}
}
