package exeunittest

import (
	"bytes"
	"context"
	"crypto/sha3"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/activity/unit"
)

// Limit is how long anything in the suite may take.
const Limit = 2 * time.Minute

// Serve publishes an image on loopback and gives the reference to it.
func Serve(t testing.TB, name string, image []byte) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(image))
	}))
	t.Cleanup(s.Close)
	return fmt.Sprintf("hash:sha3:%x:%s/%s", sha3.Sum224(image), s.URL, name)
}

// Spec is an activity of the guest program in a directory of its own.
func Spec(t testing.TB, imageRef string) unit.Spec {
	t.Helper()
	return unit.Spec{
		ActivityID: "act", AgreementID: "agr", Runtime: "wasmtime", ImageRef: imageRef,
		WorkDir: t.TempDir(), CacheDir: t.TempDir(), Token: "token",
		UsageVector: []string{"golem.usage.duration_sec", "golem.usage.cpu_sec", "golem.!exp.emet.v1.usage.fuel"},
		SampleEvery: time.Hour, AllowLoopback: true, OrphanAfter: Limit,
	}
}

// Unit is a spawned exe-unit with a daemon attached that records everything.
type Unit struct {
	unit.Conn
	t    testing.TB
	Spec unit.Spec
	Sup  unit.Supervisor
	Info unit.Spawned
	Log  []unit.Event // what was heard, without progress
}

// Start spawns and attaches. The exe-unit is terminated with the test.
func Start(t testing.TB, sup unit.Supervisor, s unit.Spec, files unit.Files) *Unit {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	defer cancel()
	info, err := sup.Spawn(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	u := &Unit{t: t, Spec: s, Sup: sup, Info: info}
	t.Cleanup(u.end)
	u.Attach(files)
	return u
}

// Attach connects anew, after the last event heard.
func (u *Unit) Attach(files unit.Files) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	defer cancel()
	conn, err := u.Sup.Attach(ctx, u.at(files))
	if err != nil {
		u.t.Fatal(err)
	}
	u.Conn = conn
}

func (u *Unit) at(files unit.Files) unit.Attachment {
	return unit.Attachment{ActivityID: u.Spec.ActivityID, Dir: u.Spec.WorkDir, Token: u.Spec.Token, After: int64(len(u.Log)) - 1, Files: files}
}

func (u *Unit) end() {
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	defer cancel()
	c, err := u.Sup.Attach(ctx, u.at(nil))
	if err != nil {
		if !errors.Is(err, unit.ErrGone) {
			u.t.Errorf("at the end: %v", err)
		}
		return
	}
	defer c.Close() //nolint:errcheck // the unit is gone by then
	if err := c.Terminate(ctx, "end of test"); err != nil {
		u.t.Errorf("terminate at the end: %v", err)
	}
	c.Ack(1 << 40)
}

// Until records events until one is as wanted, and gives it.
func (u *Unit) Until(want func(unit.Body) bool) unit.Event {
	u.t.Helper()
	late := time.After(Limit)
	for {
		select {
		case e, ok := <-u.Events():
			if !ok {
				u.t.Fatalf("the events ended: %v", u.Err())
			}
			if e.Seq < 0 {
				if want(e.Body) {
					return e
				}
				continue
			}
			if e.Seq != int64(len(u.Log)) {
				u.t.Fatalf("event %d follows %d", e.Seq, len(u.Log)-1)
			}
			u.Log = append(u.Log, e)
			if want(e.Body) {
				return e
			}
		case <-late:
			u.t.Fatalf("nothing like that came; last was %+v", u.Log[max(0, len(u.Log)-1):])
		}
	}
}

// Result is what a batch came to.
type Result struct {
	Outcome  string
	Finished []unit.CommandFinished
	Out, Err string // of the last command
}

// Message is what the last command said went wrong.
func (r Result) Message() string {
	if len(r.Finished) == 0 {
		return ""
	}
	return r.Finished[len(r.Finished)-1].Message
}

// Code of the last command.
func (r Result) Code() int {
	if len(r.Finished) == 0 {
		return -2
	}
	return r.Finished[len(r.Finished)-1].Code
}

// Run executes a script and waits for its end.
func (u *Unit) Run(batch, script string) Result {
	u.t.Helper()
	if err := u.Exec(context.Background(), batch, script); err != nil {
		u.t.Fatalf("exec %s: %v", script, err)
	}
	return u.Await(batch)
}

// Await waits for the end of a batch.
func (u *Unit) Await(batch string) Result {
	u.t.Helper()
	from := len(u.Log)
	u.Until(func(b unit.Body) bool { c, ok := b.(unit.BatchClosed); return ok && c.Batch == batch })
	return u.result(batch, max(0, from-64))
}

func (u *Unit) result(batch string, from int) (r Result) {
	for _, e := range u.Log[from:] {
		switch b := e.Body.(type) {
		case unit.CommandStarted:
			if b.Batch == batch {
				r.Out, r.Err = "", ""
			}
		case unit.CommandOutput:
			if b.Batch == batch && b.Stream == unit.Stdout {
				r.Out += string(b.Bytes)
			} else if b.Batch == batch {
				r.Err += string(b.Bytes)
			}
		case unit.CommandFinished:
			if b.Batch == batch {
				r.Finished = append(r.Finished, b)
			}
		case unit.BatchClosed:
			if b.Batch == batch {
				r.Outcome = b.Outcome
			}
		}
	}
	return r
}

// Ready deploys and starts.
func (u *Unit) Ready() {
	u.t.Helper()
	if r := u.Run("setup", `[{"deploy":{}},{"start":{}}]`); r.Outcome != unit.Done {
		u.t.Fatalf("setup: %+v", r)
	}
}

// Script is a run of the guest with both streams captured at the end.
func Script(words ...string) string {
	return `[{"run":{"entry_point":` + quote(words[0]) + `,"args":[` + quoteAll(words[1:]) +
		`],"capture":{"stdout":{"atEnd":{}},"stderr":{"atEnd":{}}}}}]`
}

func quote(s string) string { return fmt.Sprintf("%q", s) }

func quoteAll(ss []string) string {
	var out []string
	for _, s := range ss {
		out = append(out, quote(s))
	}
	return strings.Join(out, ",")
}

// State is the last pair heard, as "Ready" or "Ready>Ready".
func (u *Unit) State() string {
	for i := len(u.Log) - 1; i >= 0; i-- {
		if s, ok := u.Log[i].Body.(unit.StateChanged); ok {
			if s.Pending != "" {
				return s.State + ">" + s.Pending
			}
			return s.State
		}
	}
	return ""
}

// Suite is what every supervisor does. The guest of spec knows the words
// "both", "exit N" and "spin".
func Suite(t *testing.T, sup unit.Supervisor, spec func(t testing.TB) unit.Spec) {
	k := kind{sup, spec}
	for what, does := range map[string]func(t *testing.T){
		"a script from deploy to run":             k.deployToRun,
		"true exit codes stop a batch":            k.exitCodes,
		"commands come in their order":            k.order,
		"one batch at a time":                     k.oneBatch,
		"a batch is taken once":                   k.takenOnce,
		"a daemon that comes back hears the rest": k.comesBack,
		"only the token opens":                    k.token,
		"one exe-unit for each activity":          k.oneUnit,
		"usage follows the vector":                k.usage,
		"the end":                                 k.theEnd,
		"nobody there":                            k.nobody,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			does(t)
		})
	}
}

// kind is a supervisor and the units that it is tried with.
type kind struct {
	sup  unit.Supervisor
	spec func(t testing.TB) unit.Spec
}

func (k kind) start(t *testing.T) *Unit { return Start(t, k.sup, k.spec(t), nil) }

func (k kind) deployToRun(t *testing.T) {
	u := k.start(t)
	u.Ready()
	if u.State() != "Ready" {
		t.Errorf("state %s", u.State())
	}
	if r := u.Run("b1", Script("both")); r.Outcome != unit.Done || r.Out != "to stdout" || r.Err != "to stderr" {
		t.Errorf("%+v", r)
	}
	var states []string
	for _, e := range u.Log {
		if s, ok := e.Body.(unit.StateChanged); ok {
			states = append(states, s.State+">"+s.Pending)
		}
	}
	if got := strings.Join(states, " "); got != "Initialized> Initialized>Deployed Deployed> Deployed>Ready Ready> Ready>Ready Ready>" {
		t.Errorf("states: %s", got)
	}
}

func (k kind) exitCodes(t *testing.T) {
	u := k.start(t)
	u.Ready()
	r := u.Run("b", strings.TrimSuffix(Script("exit", "7"), "]")+`,{"sign":{}}]`)
	if r.Outcome != unit.Failed || len(r.Finished) != 1 || r.Code() != 7 || r.Message() != "ExeScript command exited with code 7" {
		t.Errorf("%+v", r)
	}
}

func (k kind) order(t *testing.T) {
	u := k.start(t)
	r := u.Run("early", Script("both"))
	if r.Message() != "Local service error: State error: Activity is initialized - deploy() command is expected now" || r.Code() != -1 {
		t.Errorf("%+v", r)
	}
	if r := u.Run("empty", `[]`); r.Outcome != unit.Done {
		t.Errorf("%+v", r)
	}
	if r := u.Run("sign", `[{"sign":{}}]`); r.Outcome != unit.Done {
		t.Errorf("%+v", r)
	}
	u.Ready()
	if r := u.Run("again", `[{"start":{}}]`); !strings.HasSuffix(r.Message(), "Cannot send command after a successful start()") {
		t.Errorf("%+v", r)
	}
}

func (k kind) oneBatch(t *testing.T) {
	u := k.start(t)
	u.Ready()
	if err := u.Exec(context.Background(), "long", Script("spin")); err != nil {
		t.Fatal(err)
	}
	u.Until(func(b unit.Body) bool { s, ok := b.(unit.CommandStarted); return ok && s.Batch == "long" })
	if r := u.Run("second", Script("both")); !strings.HasSuffix(r.Message(), "Busy: StatePair(Ready, Some(Ready))") {
		t.Errorf("%+v", r)
	}
	if r := u.Run("stop", `[{"terminate":{}}]`); r.Outcome != unit.Done || u.State() != "Initialized" {
		t.Errorf("%+v in %s", r, u.State())
	}
	if r := u.result("long", 0); r.Outcome != unit.Aborted || r.Code() != -1 {
		t.Errorf("the aborted batch: %+v", r)
	}
	if r := u.Run("anew", `[{"deploy":{}},{"start":{}}]`); r.Outcome != unit.Done {
		t.Errorf("after terminate: %+v", r)
	}
}

func (k kind) takenOnce(t *testing.T) {
	u := k.start(t)
	for range 3 {
		if err := u.Exec(context.Background(), "b", `[{"sign":{}}]`); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.Exec(context.Background(), "b", `[]`); err == nil {
		t.Error("another script under the same id was taken")
	}
	if err := u.Exec(context.Background(), "bad", `[{"reboot":{}}]`); err == nil {
		t.Error("a bad script was taken")
	}
	u.Run("last", `[]`)
	n := 0
	for _, e := range u.Log {
		if a, ok := e.Body.(unit.BatchAccepted); ok && a.Batch == "b" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the batch was taken %d times", n)
	}
}

func (k kind) comesBack(t *testing.T) {
	u := k.start(t)
	u.Ready()
	if err := u.Exec(context.Background(), "b", Script("both")); err != nil {
		t.Fatal(err)
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	u.Attach(nil) // Until checks that no number is missing or comes twice
	if r := u.Await("b"); r.Outcome != unit.Done || r.Out != "to stdout" {
		t.Errorf("%+v", r)
	}
}

func (k kind) token(t *testing.T) {
	u := k.start(t)
	a := u.at(nil)
	a.Token = "wrong"
	if _, err := k.sup.Attach(context.Background(), a); !errors.Is(err, unit.ErrToken) {
		t.Errorf("%v", err)
	}
	if r := u.Run("b", `[]`); r.Outcome != unit.Done {
		t.Errorf("the true daemon was thrown out: %+v", r)
	}
}

func (k kind) oneUnit(t *testing.T) {
	u := k.start(t)
	info, err := k.sup.Spawn(context.Background(), u.Spec)
	if !errors.Is(err, unit.ErrExists) || info.PID != u.Info.PID {
		t.Errorf("%+v, %v", info, err)
	}
}

func (k kind) usage(t *testing.T) {
	u := k.start(t)
	u.Ready()
	u.Run("b", Script("both"))
	e, err := u.Sample(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	s, ok := e.Body.(unit.Sampled)
	if !ok || strings.Count(s.Vector, ",") != len(u.Spec.UsageVector)-1 || s.Vector[0] != '[' {
		t.Errorf("%+v", e)
	}
}

func (k kind) theEnd(t *testing.T) {
	u := k.start(t)
	u.Ready()
	if err := u.Exec(context.Background(), "long", Script("spin")); err != nil {
		t.Fatal(err)
	}
	u.Until(func(b unit.Body) bool { s, ok := b.(unit.CommandStarted); return ok && s.Batch == "long" })
	if err := u.Terminate(context.Background(), "destroyed"); err != nil {
		t.Fatal(err)
	}
	e := u.Until(func(b unit.Body) bool { _, ok := b.(unit.Exited); return ok })
	if e.Body.(unit.Exited).Reason != "destroyed" || u.State() != "Terminated" {
		t.Errorf("%+v in %s", e, u.State())
	}
	if r := u.result("long", 0); r.Outcome != unit.Aborted {
		t.Errorf("the open batch: %+v", r)
	}
	u.Ack(e.Seq)
	for range u.Events() {
	}
	if err := u.Err(); err != nil {
		t.Errorf("after the end: %v", err)
	}
	_, err := k.sup.Attach(context.Background(), u.at(nil))
	if !errors.Is(err, unit.ErrGone) {
		t.Errorf("attach after the end: %v", err)
	}
}

func (k kind) nobody(t *testing.T) {
	_, err := k.sup.Attach(context.Background(), unit.Attachment{ActivityID: "none", Dir: filepath.Join(t.TempDir(), "none"), Token: "x", After: -1})
	if !errors.Is(err, unit.ErrGone) {
		t.Errorf("%v", err)
	}
}
