package supervisor_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/exeunit"
	"github.com/emet-node/emet/adapters/exeunit/exeunittest"
	"github.com/emet-node/emet/adapters/exeunit/supervisor"
	"github.com/emet-node/emet/adapters/exeunit/wasm"
	"github.com/emet-node/emet/domain/activity/unit"
)

// The test binary is also the program that it starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case exeunit.SupervisorCommand:
			os.Exit(supervisor.Main(os.Args[2:]))
		case exeunit.WASMCommand:
			os.Exit(wasm.Main(os.Args[2:]))
		case daemonCommand:
			os.Exit(daemon())
		}
	}
	code := m.Run()
	if dir, err := cache(); err == nil {
		os.RemoveAll(dir)
	}
	if left := leftOver(); len(left) > 0 && code == 0 {
		fmt.Fprintln(os.Stderr, "the tests left processes behind:", left)
		code = 1
	}
	os.Exit(code)
}

// leftOver lists the exe-units and runtimes that run this very program and do
// not end within a moment.
func leftOver() (list []string) {
	self, _ := os.Readlink("/proc/self/exe")
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		list = nil
		exes, _ := filepath.Glob("/proc/[0-9]*/exe")
		for _, exe := range exes {
			if to, err := os.Readlink(exe); err == nil && to == self && filepath.Base(filepath.Dir(exe)) != fmt.Sprint(os.Getpid()) {
				list = append(list, exe)
			}
		}
		if len(list) == 0 {
			break
		}
	}
	return list
}

// cache is shared by the tests, so that the guest is compiled once.
var cache = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "emet-cache-") })

func spec(t testing.TB) unit.Spec {
	t.Helper()
	s := exeunittest.Spec(t, exeunittest.Serve(t, "guest.wasm", exeunittest.Guest(t)))
	dir, err := cache()
	if err != nil {
		t.Fatal(err)
	}
	s.CacheDir = dir
	return s
}

func start(t *testing.T, change func(*unit.Spec), files unit.Files) *exeunittest.Unit {
	t.Helper()
	s := spec(t)
	if change != nil {
		change(&s)
	}
	return exeunittest.Start(t, supervisor.Client{}, s, files)
}

func TestSupervisor(t *testing.T) {
	t.Parallel()
	exeunittest.Suite(t, supervisor.Client{}, spec)
}

func TestWhatAGuestIsGiven(t *testing.T) {
	t.Parallel()
	u := start(t, nil, nil)
	r := u.Run("d", `[{"deploy":{"env":{"A":"deploy","B":"deploy"}}},{"start":{}}]`)
	if r.Outcome != unit.Done {
		t.Fatalf("%+v", r)
	}
	for script, want := range map[string]string{
		`{"entry_point":"args","args":["a b","c"]`:                                    "args|a b|c\n",
		`{"entry_point":"/bin/sh","args":["-c","args 'a b' \"c\" d\\ e"]`:             "args|a b|c|d e\n",
		`{"entry_point":"guest","args":["args"]`:                                      "guest|args\n",
		`{"entry_point":"env","env":{"B":"run","C":"1=2"}`:                            "A=deploy|B=run|C=1=2\n",
		`{"entry_point":"/bin/bash","args":["-c","write /golem/work/f hello"]`:        "",
		`{"entry_point":"read","args":["/golem/work/f"]`:                              "hello",
		`{"entry_point":"out","args":["3"],"capture":{"stdout":{"stream":{}}}`:        "line 0\nline 1\nline 2\n",
		`{"entry_point":"out","args":["3"],"capture":{"stdout":{"atEnd":{"tail":7}}}`: "line 2\n",
	} {
		if strings.HasSuffix(want, "hello") {
			continue // after its write, below
		}
		if !strings.Contains(script, "capture") {
			script += `,"capture":{"stdout":{"atEnd":{}},"stderr":{"atEnd":{}}}`
		}
		if r := u.Run(script, `[{"run":`+script+`}}]`); r.Out != want || r.Outcome != unit.Done {
			t.Errorf("%s: %+v", script, r)
		}
	}
	if r := u.Run("read", exeunittest.Script("read", "/golem/work/f")); r.Out != "hello" {
		t.Errorf("%+v", r)
	}
	if r := u.Run("pipe", exeunittest.Script("/bin/sh", "-c", "args | read")); r.Code() != -1 || !strings.Contains(r.Message(), "no shell") {
		t.Errorf("%+v", r)
	}
	if r := u.Run("silent", `[{"run":{"entry_point":"both"}}]`); r.Out+r.Err != "" || r.Outcome != unit.Done {
		t.Errorf("a stream without capture: %+v", r)
	}
	for _, e := range u.Log {
		if s, ok := e.Body.(unit.CommandStarted); ok && s.Batch == "read" {
			re := s.Replay
			if re == nil || len(re.ModuleSHA3) != 64 || len(re.Volumes) != 3 || re.Volumes[2].SHA256 == re.Volumes[0].SHA256 || re.Env[0] != "A=deploy" {
				t.Errorf("replay: %+v", re)
			}
		}
	}
}

func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	u := start(t, func(s *unit.Spec) { s.Limits.OutputBytes = 1000 }, nil)
	u.Ready()
	r := u.Run("flood", `[{"run":{"entry_point":"out","args":["100000"],"capture":{"stdout":{"stream":{}}}}}]`)
	if len(r.Out) != 1000 || !strings.HasPrefix(r.Out, "line 0\n") || !strings.HasSuffix(r.Out, "line 99999\n") {
		t.Errorf("%d bytes: %q", len(r.Out), r.Out)
	}
	var kept, cut int64
	for _, e := range u.Log {
		if o, ok := e.Body.(unit.CommandOutput); ok && o.Batch == "flood" {
			if o.Offset != kept || !o.Streamed {
				t.Errorf("a piece at %d after %d bytes", o.Offset, kept)
			}
			kept += int64(len(o.Bytes))
			cut += o.Cut
		}
	}
	if cut == 0 {
		t.Error("the cut is not told")
	}
}

func TestLimitsOfARun(t *testing.T) {
	t.Parallel()
	u := start(t, func(s *unit.Spec) {
		s.Limits = unit.Limits{WallClock: 3 * time.Second, MemoryBytes: 64 << 20, StorageBytes: 1 << 20}
	}, nil)
	u.Ready()
	r := u.Run("spin", exeunittest.Script("spin"))
	if r.Code() != -1 || !strings.Contains(r.Message(), "longer than 3000 ms") {
		t.Errorf("%+v", r)
	}
	if u.State() != "Ready" {
		t.Errorf("after a stopped run: %s", u.State())
	}
	if r := u.Run("memory", exeunittest.Script("memory", "100")); r.Code() == 0 {
		t.Errorf("%+v", r)
	}
	if r := u.Run("disk", exeunittest.Script("flood", "/golem/work/f")); r.Code() == 0 {
		t.Errorf("%+v", r)
	}
	if r := u.Run("after", exeunittest.Script("both")); r.Outcome != unit.Done {
		t.Errorf("%+v", r)
	}
	found := false
	for _, e := range u.Log {
		if l, ok := e.Body.(unit.LimitExceeded); ok && l.Limit == exeunit.StoppedByWallClock && l.Value == "3" {
			found = true
		}
	}
	if !found {
		t.Error("the broken limit is not told")
	}
}

func TestFuelIsCountedAndLimited(t *testing.T) {
	t.Parallel()
	u := start(t, func(s *unit.Spec) { s.Limits.Fuel = 50_000_000 }, nil)
	u.Ready()
	r := u.Run("little", exeunittest.Script("both"))
	if r.Outcome != unit.Done || r.Finished[0].Fuel <= 0 {
		t.Errorf("%+v", r)
	}
	if r := u.Run("much", exeunittest.Script("spin")); !strings.Contains(r.Message(), "50000000 units of fuel") {
		t.Errorf("%+v", r)
	}
	e, err := u.Sample(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var fuel int64
	fields := strings.Split(strings.Trim(e.Body.(unit.Sampled).Vector, "[]"), ",")
	if _, err := fmt.Sscan(fields[2], &fuel); err != nil || fuel < 50_000_000 {
		t.Errorf("vector %v, %v", fields, err)
	}
}

func TestTheExamplesRunAsGuests(t *testing.T) {
	t.Parallel()
	echo, err := exeunittest.Compile("../../../examples/echo")
	if err != nil {
		t.Fatal(err)
	}
	u := start(t, func(s *unit.Spec) { s.ImageRef = exeunittest.Serve(t, "echo.wasm", echo) }, nil)
	u.Ready()
	if r := u.Run("words", exeunittest.Script("/bin/sh", "-c", "echo hello golem")); r.Out != "hello golem\n" {
		t.Errorf("%+v", r)
	}
	if r := u.Run("exit", exeunittest.Script("echo", "-exit", "3")); r.Code() != 3 {
		t.Errorf("%+v", r)
	}
	if r := u.Run("stdin", exeunittest.Script("echo", "-stdin")); r.Outcome != unit.Done || r.Out != "" {
		t.Errorf("%+v", r)
	}

	render, err := exeunittest.Compile("../../../examples/render")
	if err != nil {
		t.Fatal(err)
	}
	v := start(t, func(s *unit.Spec) { s.ImageRef = exeunittest.Serve(t, "render.wasm", render) }, nil)
	v.Ready()
	if r := v.Run("tile", exeunittest.Script("render", "-width", "32", "-height", "20", "-spp", "1", "-o", "/golem/output/t.png")); !strings.HasPrefix(r.Out, "rendered 0,0,32,20 of marbles") {
		t.Errorf("%+v", r)
	}
}

func TestLongPathsAndSecrets(t *testing.T) {
	t.Parallel()
	u := start(t, func(s *unit.Spec) {
		s.WorkDir = filepath.Join(s.WorkDir, strings.Repeat("long/", 40))
		s.Token = "canary-token"
	}, nil)
	u.Ready()
	for name, mode := range map[string]os.FileMode{"": 0o700, "journal.jsonl": 0o600, "supervisor.log": 0o600, "spawned.json": 0o600, "volumes": 0o700} {
		if info, err := os.Stat(filepath.Join(u.Spec.WorkDir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	runtime := children(t, u.Info.PID)
	if len(runtime) != 1 {
		t.Fatalf("runtimes: %v", runtime)
	}
	if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", runtime[0])); err != nil || len(env) != 0 {
		t.Errorf("the runtime inherited %q, %v", env, err)
	}
	_ = filepath.WalkDir(u.Spec.WorkDir, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if b, _ := os.ReadFile(p); bytes.Contains(b, []byte("canary-token")) {
				t.Errorf("the token is in %s", p)
			}
		}
		return nil
	})
	for _, pid := range append(runtime, u.Info.PID) {
		if b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); bytes.Contains(b, []byte("canary")) {
			t.Errorf("the token is an argument: %q", b)
		}
	}
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", runtime[0]))
	for _, fd := range fds {
		if to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", runtime[0], fd.Name())); strings.Contains(to, "journal") || strings.Contains(to, "lock") {
			t.Errorf("the runtime holds %s", to)
		}
	}
}

func TestSamplesComeByThemselves(t *testing.T) {
	t.Parallel()
	u := start(t, func(s *unit.Spec) {
		s.SampleEvery = 20 * time.Millisecond
		s.UsageVector = append(s.UsageVector, "golem.usage.gib", "golem.usage.storage_gib", "unknown")
	}, nil)
	u.Ready()
	u.Run("w", exeunittest.Script("write", "/golem/work/f", strings.Repeat("x", 60_000)))
	var last unit.Sampled
	for range 3 {
		last = u.Until(func(b unit.Body) bool { _, ok := b.(unit.Sampled); return ok }).Body.(unit.Sampled)
	}
	var v [6]float64
	if n, err := fmt.Sscanf(last.Vector, "[%g,%g,%g,%g,%g,%g]", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5]); n != 6 {
		t.Fatal(last, err)
	}
	if v[0] <= 0 || v[1] <= 0 || v[2] <= 0 || v[3] <= 0 || v[3] > 4 || v[5] != 0 {
		t.Errorf("%+v", last)
	}
}
