package supervisor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/exeunit/exeunittest"
	"github.com/emet-node/emet/adapters/exeunit/supervisor"
	"github.com/emet-node/emet/domain/activity/unit"
)

// children lists the living children of a process.
func children(t *testing.T, pid int) (list []int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		var id, parent int
		var state string
		i := bytes.LastIndexByte(b, ')')
		_, _ = fmt.Sscan(string(b), &id)
		_, _ = fmt.Sscan(string(b[i+1:]), &state, &parent)
		if parent == pid && state != "Z" {
			list = append(list, id)
		}
	}
	return list
}

func dead(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	i := bytes.LastIndexByte(b, ')')
	return bytes.HasPrefix(bytes.TrimSpace(b[i+1:]), []byte("Z"))
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain for: " + what)
		}
	}
}

func TestAKilledSupervisorTakesItsGuestAlong(t *testing.T) {
	t.Parallel()
	u := start(t, nil, nil)
	u.Ready()
	if err := u.Exec(context.Background(), "long", exeunittest.Script("spin")); err != nil {
		t.Fatal(err)
	}
	u.Until(func(b unit.Body) bool { s, ok := b.(unit.CommandStarted); return ok && s.Batch == "long" })
	await(t, "a runtime", func() bool { return len(children(t, u.Info.PID)) == 1 })
	runtime := children(t, u.Info.PID)[0]
	if err := syscall.Kill(u.Info.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "the end of both", func() bool { return dead(u.Info.PID) && dead(runtime) })
	for range u.Events() {
	}
	if !errors.Is(u.Err(), unit.ErrLost) {
		t.Errorf("the connection ended with %v", u.Err())
	}
	_, err := supervisor.Client{}.Attach(context.Background(), unit.Attachment{ActivityID: "act", Dir: u.Spec.WorkDir, Token: "token", After: 1})
	var gone *unit.GoneError
	if !errors.As(err, &gone) || !errors.Is(err, unit.ErrGone) {
		t.Fatalf("attach: %v", err)
	}
	seq := int64(2)
	for e := range gone.Left {
		if e.Seq != seq {
			t.Errorf("event %d instead of %d is left", e.Seq, seq)
		}
		seq++
	}
	if seq < int64(len(u.Log)) {
		t.Errorf("only %d of %d events are left", seq, len(u.Log))
	}
	if _, err := (supervisor.Client{}).Spawn(context.Background(), u.Spec); !errors.Is(err, unit.ErrGone) {
		t.Errorf("spawn in the place of a dead one: %v", err)
	}
}

const daemonCommand = "test-daemon"

// daemon is a daemon that is about to be killed: it spawns, runs a batch that
// prints for a while, says how far it heard, and waits.
func daemon() int {
	var s unit.Spec
	if err := json.NewDecoder(os.Stdin).Decode(&s); err != nil {
		return 1
	}
	ctx := context.Background()
	info, err := supervisor.Client{}.Spawn(ctx, s)
	if err != nil {
		return 2
	}
	c, err := supervisor.Client{}.Attach(ctx, unit.Attachment{ActivityID: s.ActivityID, Dir: s.WorkDir, Token: s.Token, After: -1})
	if err != nil {
		return 3
	}
	script := `[{"deploy":{}},{"start":{}},{"run":{"entry_point":"drip","args":["400"],"capture":{"stdout":{"stream":{}}}}}]`
	if err := c.Exec(ctx, "b", script); err != nil {
		return 4
	}
	for e := range c.Events() {
		if _, ok := e.Body.(unit.CommandOutput); ok && e.Body.(unit.CommandOutput).Index == 2 {
			fmt.Println(info.PID, e.Seq)
			break
		}
	}
	select {}
}

func TestAKilledDaemonLosesNothing(t *testing.T) {
	t.Parallel()
	s := spec(t)
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	exe, _ := os.Executable()
	cmd := exec.Command(exe, daemonCommand)
	cmd.Stdin = bytes.NewReader(text)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	var seq int64
	if _, err := fmt.Fscan(out, &pid, &seq); err != nil {
		t.Fatalf("the daemon: %v, %v", err, cmd.Wait())
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	var want strings.Builder
	for i := range 400 {
		fmt.Fprintf(&want, "drop %d\n", i)
	}
	hear := func(after int64) (events []unit.Event, pieces string) {
		c, err := supervisor.Client{}.Attach(t.Context(), unit.Attachment{ActivityID: s.ActivityID, Dir: s.WorkDir, Token: s.Token, After: after})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for e := range c.Events() {
			if after++; e.Seq != after {
				t.Fatalf("event %d instead of %d", e.Seq, after)
			}
			events = append(events, e)
			if o, ok := e.Body.(unit.CommandOutput); ok && o.Index == 2 {
				pieces += string(o.Bytes)
			}
			if _, ok := e.Body.(unit.BatchClosed); ok {
				break
			}
		}
		return events, pieces
	}
	rest, tail := hear(seq)
	all, whole := hear(-1)
	if whole != want.String() || !strings.HasSuffix(whole, tail) || tail == "" {
		t.Errorf("heard %q, then %q", tail, whole)
	}
	if len(all) != len(rest)+int(seq)+1 {
		t.Errorf("%d events in all, %d after %d", len(all), len(rest), seq)
	}
	c, err := supervisor.Client{}.Attach(t.Context(), unit.Attachment{ActivityID: s.ActivityID, Dir: s.WorkDir, Token: s.Token, After: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Terminate(t.Context(), "done"); err != nil {
		t.Error(err)
	}
	c.Ack(1 << 40)
	c.Close()
	await(t, "the end", func() bool { return dead(pid) })
}

func TestAKilledRuntimeIsReplaced(t *testing.T) {
	t.Parallel()
	u := start(t, nil, nil)
	u.Ready()
	if err := u.Exec(context.Background(), "long", exeunittest.Script("spin")); err != nil {
		t.Fatal(err)
	}
	u.Until(func(b unit.Body) bool { s, ok := b.(unit.CommandStarted); return ok && s.Batch == "long" })
	await(t, "a runtime", func() bool { return len(children(t, u.Info.PID)) == 1 })
	_ = syscall.Kill(children(t, u.Info.PID)[0], syscall.SIGKILL)
	r := u.Await("long")
	if r.Outcome != unit.Failed || r.Finished[0].Signal != "killed" {
		t.Errorf("%+v", r)
	}
	if r := u.Run("next", exeunittest.Script("both")); r.Outcome != unit.Done {
		t.Errorf("%+v", r)
	}
}

// TestTheRuntimeIsPrepared: its process is there before a script is, is the one that
// the script gets, and ends with the activity, used or not.
func TestTheRuntimeIsPrepared(t *testing.T) {
	t.Parallel()
	u := start(t, nil, nil)
	await(t, "a runtime", func() bool { return len(children(t, u.Info.PID)) == 1 })
	prepared := children(t, u.Info.PID)
	u.Ready()
	if now := children(t, u.Info.PID); !slices.Equal(now, prepared) {
		t.Errorf("%v were prepared, and %v run", prepared, now)
	}
	unused := start(t, nil, nil)
	await(t, "a runtime", func() bool { return len(children(t, unused.Info.PID)) == 1 })
	runtime := children(t, unused.Info.PID)[0]
	if err := unused.Terminate(t.Context(), "done"); err != nil {
		t.Fatal(err)
	}
	await(t, "the end of a runtime that was never used", func() bool { return dead(runtime) })
}

func TestAloneForTooLong(t *testing.T) {
	t.Parallel()
	u := start(t, func(s *unit.Spec) { s.OrphanAfter = 5 * time.Second }, nil)
	u.Ready()
	u.Close()
	await(t, "the end", func() bool { return dead(u.Info.PID) })
	_, err := supervisor.Client{}.Attach(context.Background(), unit.Attachment{ActivityID: "act", Dir: u.Spec.WorkDir, Token: "token", After: -1})
	var gone *unit.GoneError
	if !errors.As(err, &gone) {
		t.Fatal(err)
	}
	var last unit.Event
	for e := range gone.Left {
		last = e
	}
	if x, ok := last.Body.(unit.Exited); !ok || !strings.Contains(x.Reason, "no daemon came") {
		t.Errorf("the last word is %+v", last)
	}
}

func TestASignalEndsItInOrder(t *testing.T) {
	t.Parallel()
	u := start(t, nil, nil)
	u.Ready()
	if err := syscall.Kill(u.Info.PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	e := u.Until(func(b unit.Body) bool { _, ok := b.(unit.Exited); return ok })
	if got := e.Body.(unit.Exited).Reason; got != "Interrupted by signal: 15" {
		t.Errorf("reason %q", got)
	}
	u.Ack(e.Seq)
	await(t, "the end", func() bool { return dead(u.Info.PID) })
}
