package supervisor_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
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
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
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
		s.Limits = unit.Limits{WallClock: 300 * time.Millisecond, MemoryBytes: 64 << 20, StorageBytes: 1 << 20}
	}, nil)
	u.Ready()
	r := u.Run("spin", exeunittest.Script("spin"))
	if r.Code() != -1 || !strings.Contains(r.Message(), "longer than 300 ms") {
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
		if l, ok := e.Body.(unit.LimitExceeded); ok && l.Limit == exeunit.StoppedByWallClock && l.Value == "0.3" {
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

func pack(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range files {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAPackageWithAManifest(t *testing.T) {
	t.Parallel()
	image := pack(t, map[string][]byte{
		"manifest.json": []byte(`{"id":"x","name":"x","entry-points":[{"id":"main","wasm-path":"bin/app.wasm"}],
			"mount-points":[{"ro":"in"},{"rw":"work"},{"private":"tmp"}]}`),
		"bin/app.wasm": exeunittest.Guest(t),
	})
	u := start(t, func(s *unit.Spec) { s.ImageRef = exeunittest.Serve(t, "app.zip", image) }, nil)
	r := u.Run("d", `[{"deploy":{"volumes":["/extra"]}}]`)
	if r.Outcome != unit.Done || !strings.Contains(r.Out, `"valid":{"Ok":"success"}`) || !strings.Contains(r.Out, `"path":"/extra"`) || strings.Contains(r.Out, "/tmp") {
		t.Fatalf("%+v", r)
	}
	u.Run("s", `[{"start":{}}]`)
	if r := u.Run("a", exeunittest.Script("main", "args", "x")); r.Out != "bin/app.wasm|args|x\n" {
		t.Errorf("%+v", r)
	}
	if r := u.Run("u", exeunittest.Script("other")); r.Code() != -1 || !strings.Contains(r.Message(), "it has main") {
		t.Errorf("%+v", r)
	}
	if r := u.Run("ro", exeunittest.Script("main", "write", "/in/f", "x")); r.Code() == 0 {
		t.Errorf("%+v", r)
	}
	if r := u.Run("private", exeunittest.Script("main", "write", "/tmp/f", "x")); r.Outcome != unit.Done {
		t.Errorf("%+v", r)
	}
	if r := u.Run("get", `[{"transfer":{"from":"container:/tmp/f","to":"container:/work/f"}}]`); !strings.Contains(r.Message(), "path not found in container") {
		t.Errorf("%+v", r)
	}
}

func TestImagesThatCannotRunSayWhy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		image []byte
		want  string
	}{
		"component": {[]byte{0, 'a', 's', 'm', 13, 0, 1, 0}, "component"},
		"elf":       {[]byte("\x7fELF2345678"), "7f 45 4c 46"},
		"empty":     {nil, "WebAssembly"},
		"zip":       {pack(t, map[string][]byte{"x": nil}), "manifest.json"},
		"escape":    {pack(t, map[string][]byte{"manifest.json": []byte(`{"entry-points":[{"id":"m","wasm-path":"../x"}]}`)}), ".."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := start(t, func(s *unit.Spec) { s.ImageRef = exeunittest.Serve(t, "i", c.image) }, nil)
			r := u.Run("d", `[{"deploy":{}},{"start":{}}]`)
			if r.Outcome != unit.Failed || !strings.Contains(r.Message(), c.want) || len(r.Finished) != 1 {
				t.Errorf("%+v", r)
			}
			if u.State() != "Initialized" {
				t.Errorf("state %s", u.State())
			}
		})
	}
}

// peer is the requestor's end of gftp transfers.
type peer struct {
	mu       sync.Mutex
	content  []byte
	up       bytes.Buffer
	finished string
	block    chan struct{} // when set, the first chunk waits for it for ever
}

func (p *peer) Metadata(context.Context, string, string) (int64, error) {
	return int64(len(p.content)), nil
}

func (p *peer) Chunk(ctx context.Context, node, file string, off, size int64) ([]byte, error) {
	if node != "0xabc" || file != "f" {
		return nil, errors.New("who?")
	}
	if p.block != nil && off > 0 {
		close(p.block)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return p.content[off:min(off+size, int64(len(p.content)))], nil
}

func (p *peer) Upload(_ context.Context, _, _ string, off int64, c []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if off != int64(p.up.Len()) {
		return fmt.Errorf("chunk at %d after %d", off, p.up.Len())
	}
	p.up.Write(c)
	return nil
}

func (p *peer) UploadFinished(_ context.Context, _, _, hash string) error {
	p.finished = hash
	return nil
}

func TestFilesGoThroughTheDaemon(t *testing.T) {
	t.Parallel()
	p := &peer{content: bytes.Repeat([]byte("golem "), 100_000)}
	u := start(t, nil, p)
	u.Ready()
	r := u.Run("t", `[{"transfer":{"from":"gftp://0xabc/f","to":"container:/golem/input/f","progress":{"updateStep":1}}},
		{"run":{"entry_point":"copy","args":["/golem/input/f","/golem/output/f"]}},
		{"transfer":{"from":"container:/golem/output/f","to":"gftp://0xabc/up","args":{}}}]`)
	if r.Outcome != unit.Done || !bytes.Equal(p.up.Bytes(), p.content) || len(p.finished) != 64 {
		t.Errorf("%+v, %d bytes up, hash %q", r, p.up.Len(), p.finished)
	}
	n := 0
	for _, e := range u.Log {
		if f, ok := e.Body.(unit.TransferFinished); ok && f.Bytes == int64(len(p.content)) && f.SHA3 == p.finished {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d transfers told", n)
	}
	for _, bad := range []string{"/etc/passwd", "/golem/input/..%2f..%2f..%2fjournal.jsonl", "/golem/input/../../journal.jsonl"} {
		if r := u.Run(bad, `[{"transfer":{"from":"container:`+bad+`","to":"gftp://0xabc/up"}}]`); r.Outcome != unit.Failed {
			t.Errorf("%s: %+v", bad, r)
		}
	}
}

func TestADownloadOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	p := &peer{content: bytes.Repeat([]byte("golem "), 100_000), block: make(chan struct{})}
	u := start(t, nil, p)
	u.Ready()
	if err := u.Exec(context.Background(), "t", `[{"transfer":{"from":"gftp://0xabc/f","to":"/golem/work/f"}}]`); err != nil {
		t.Fatal(err)
	}
	<-p.block
	u.Close()
	p.block = nil
	u.Attach(p)
	if r := u.Await("t"); r.Outcome != unit.Done {
		t.Errorf("%+v", r)
	}
}

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
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
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
	script := `[{"deploy":{}},{"start":{}},{"run":{"entry_point":"drip","args":["60"],"capture":{"stdout":{"stream":{}}}}}]`
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
	for i := range 60 {
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

func TestAloneForTooLong(t *testing.T) {
	t.Parallel()
	u := start(t, func(s *unit.Spec) { s.OrphanAfter = 300 * time.Millisecond }, nil)
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
