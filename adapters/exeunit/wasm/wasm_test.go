package wasm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/emet-node/emet/adapters/exeunit"
	"github.com/emet-node/emet/adapters/exeunit/exeunittest"
)

// shared is one engine for all tests: compiling the guest takes a second.
var shared = sync.OnceValues(func() (*Engine, error) {
	return NewEngine(context.Background(), "", 1600)
})

var added sync.Once

func engine(t *testing.T) *Engine {
	t.Helper()
	e, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	added.Do(func() {
		if metered, err := e.Add(t.Context(), "guest", exeunittest.Guest(t)); err != nil || !metered {
			t.Errorf("metered %t, %v", metered, err)
		}
	})
	return e
}

type outcome struct {
	exeunit.Done
	out, err string
}

func run(t *testing.T, r exeunit.Run) outcome {
	t.Helper()
	e := engine(t)
	r.Module = "guest"
	g, err := e.NewGuest(r)
	if err != nil {
		t.Fatal(err)
	}
	return drive(e, g)
}

func drive(e *Engine, g *Guest) outcome {
	var out, err bytes.Buffer
	d := e.Run(context.Background(), g, func(stderr bool, p []byte) {
		if stderr {
			err.Write(p)
		} else {
			out.Write(p)
		}
	})
	return outcome{d, out.String(), err.String()}
}

func TestExitCodesAreTrue(t *testing.T) {
	for _, code := range []int{0, 1, 7, 42, 255} {
		if o := run(t, exeunit.Run{Args: []string{"exit", strconv.Itoa(code)}}); o.Code != code || o.Error != "" {
			t.Errorf("exit %d: %+v", code, o)
		}
	}
}

func TestArgsEnvAndStreams(t *testing.T) {
	if o := run(t, exeunit.Run{Args: []string{"args", "a b", "c"}}); o.out != "args|a b|c\n" {
		t.Errorf("args: %+v", o)
	}
	if o := run(t, exeunit.Run{Args: []string{"env"}, Env: []string{"A=1=2", "B="}}); o.out != "A=1=2|B=\n" {
		t.Errorf("env: %+v", o)
	}
	if o := run(t, exeunit.Run{Args: []string{"env"}}); o.out != "\n" {
		t.Errorf("a guest sees the environment of the host: %q", o.out)
	}
	if o := run(t, exeunit.Run{Args: []string{"both"}}); o.out != "to stdout" || o.err != "to stderr" {
		t.Errorf("streams: %+v", o)
	}
}

func TestTimeAndChanceAreReal(t *testing.T) {
	var now, slept, rest [2]string
	for i := range 2 {
		o := run(t, exeunit.Run{Args: []string{"clock"}})
		if n, err := fmt.Sscan(o.out, &now[i], &slept[i], &rest[i]); n != 3 {
			t.Fatal(o, err)
		}
	}
	unix, _ := strconv.ParseInt(now[0], 10, 64)
	if d := time.Since(time.Unix(unix, 0)); d < 0 || d > time.Minute {
		t.Errorf("the guest's clock is %s behind", d)
	}
	if ms, _ := strconv.Atoi(slept[0]); ms < 20 {
		t.Errorf("a sleep of 20 ms took %d", ms)
	}
	if rest[0] == rest[1] {
		t.Error("two runs drew the same random bytes")
	}
}

func TestMemoryIsLimited(t *testing.T) {
	if o := run(t, exeunit.Run{Args: []string{"memory", "20"}}); o.Code != 0 {
		t.Errorf("20 MiB of 100: %+v", o)
	}
	if o := run(t, exeunit.Run{Args: []string{"memory", "200"}}); o.Code == 0 || !strings.Contains(o.err, "out of memory") {
		t.Errorf("200 MiB of 100: %+v", o.Done)
	}
}

func TestASpinningGuestIsStopped(t *testing.T) {
	start := time.Now()
	o := run(t, exeunit.Run{Args: []string{"spin"}, WallMS: 1000})
	if o.Stopped != exeunit.StoppedByWallClock || o.Code != -1 || o.Fuel <= 0 {
		t.Errorf("%+v", o)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("it took %s", took)
	}
}

func TestASleepingGuestIsStopped(t *testing.T) {
	start := time.Now()
	if o := run(t, exeunit.Run{Args: []string{"sleep", "1h"}, WallMS: 50}); o.Stopped != exeunit.StoppedByWallClock {
		t.Errorf("%+v", o)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("it took %s", took)
	}
}

func TestFuelRunsOut(t *testing.T) {
	o := run(t, exeunit.Run{Args: []string{"spin"}, Fuel: 5_000_000})
	if o.Stopped != exeunit.StoppedByFuel || o.Fuel < 5_000_000 || o.Fuel > 5_010_000 {
		t.Errorf("%+v", o.Done)
	}
	if !strings.Contains(o.Error, "5000000 units of fuel") {
		t.Errorf("it does not say why: %s", o.Error)
	}
}

func TestAPanicIsNotSuccess(t *testing.T) {
	if o := run(t, exeunit.Run{Args: []string{"panic"}}); o.Code != 2 || !strings.Contains(o.err, "on purpose") {
		t.Errorf("%+v", o)
	}
}

func TestMountsAndTheirWalls(t *testing.T) {
	rw, ro, outside := t.TempDir(), t.TempDir(), t.TempDir()
	for dir, text := range map[string]string{ro: "given", outside: "secret"} {
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mounts := []exeunit.Mount{{Dir: rw, Path: "/out"}, {Dir: ro, Path: "/in", ReadOnly: true}}
	act := func(args ...string) outcome { return run(t, exeunit.Run{Args: args, Mounts: mounts}) }

	if o := act("copy", "/in/file", "/out/copied"); o.Code != 0 {
		t.Errorf("copy: %+v", o)
	}
	if b, _ := os.ReadFile(filepath.Join(rw, "copied")); string(b) != "given" {
		t.Errorf("copied %q", b)
	}
	for _, args := range [][]string{
		{"write", "/in/new", "x"},
		{"write", "/in/file", "x"},
		{"read", filepath.Join(outside, "file")},
		{"read", "/out/../../../../../../" + outside + "/file"},
		{"read", "/in/../../etc/passwd"},
		{"symlink", outside, "/out/link"},
		{"symlink", "/etc/passwd", "/out/link"},
	} {
		if o := act(args...); o.Code == 0 {
			t.Errorf("%v: a guest may do this: %q", args, o.out)
		}
	}
	if b, _ := os.ReadFile(filepath.Join(ro, "file")); string(b) != "given" {
		t.Errorf("a read-only file is now %q", b)
	}
	if _, err := os.Lstat(filepath.Join(rw, "link")); err == nil {
		t.Error("a guest made a symbolic link")
	}
}

func TestTheStorageQuotaHolds(t *testing.T) {
	dir := t.TempDir()
	r := exeunit.Run{Args: []string{"flood", "/v/f"}, Mounts: []exeunit.Mount{{Dir: dir, Path: "/v"}}, StorageBytes: 1 << 20}
	if o := run(t, r); o.Code == 0 {
		t.Errorf("%+v", o)
	}
	if n := exeunit.DirSize(dir); n > 1<<20 || n < 1<<19 {
		t.Errorf("the volume holds %d bytes", n)
	}
	if err := os.Remove(filepath.Join(dir, "f")); err != nil {
		t.Fatal(err)
	}
	r.Args = []string{"write", "/v/f", "fits"}
	if o := run(t, r); o.Code != 0 {
		t.Errorf("after making room: %+v", o)
	}
}

// compiled is code that plain compiled before.
var compiled = wazero.NewCompilationCache()

// plain runs a module as it is or metered, in wazero's deterministic setting.
func plain(t *testing.T, module []byte, args ...string) (out string, fuel int64) {
	t.Helper()
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithDebugInfoEnabled(false).WithCompilationCache(compiled))
	defer rt.Close(ctx)
	wasi_snapshot_preview1.MustInstantiate(ctx, rt)
	var b bytes.Buffer
	mod, err := rt.InstantiateWithConfig(ctx, module, wazero.NewModuleConfig().WithArgs(args...).WithStdout(&b).WithStderr(&b).WithStartFunctions())
	if err != nil {
		t.Fatal(err)
	}
	_, err = mod.ExportedFunction("_start").Call(ctx)
	if g := mod.ExportedGlobal(fuelExport); g != nil {
		fuel = plenty - int64(g.Get())
	}
	return fmt.Sprint(b.String(), firstLine(errors.Join(err, errors.New("")))), fuel
}

func TestMeteredModulesBehaveLikeTheirOriginals(t *testing.T) {
	module := exeunittest.Guest(t)
	metered, err := Meter(module)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"sum", "1000"}, {"exit", "3"}, {"out", "100"}, {"panic"}} {
		want, none := plain(t, module, args...)
		got, fuel := plain(t, metered, args...)
		again, same := plain(t, metered, args...)
		if got != want || none != 0 {
			t.Errorf("%v: metered %q, original %q", args, got, want)
		}
		if fuel <= 0 || fuel != same || got != again {
			t.Errorf("%v: fuel %d, then %d", args, fuel, same)
		}
	}
}

func TestServeSpeaksTheProtocol(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "guest.wasm")
	if err := os.WriteFile(path, exeunittest.Guest(t), 0o600); err != nil {
		t.Fatal(err)
	}
	inR, inW, _ := os.Pipe()
	outR, outW, _ := os.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Serve(context.Background(), inR, outW); outW.Close() }()
	w := exeunit.NewFrameWriter(inW)
	ask := func(q exeunit.Request) {
		if err := w.Write(q); err != nil {
			t.Fatal(err)
		}
	}
	next := func() (r exeunit.Report) {
		for {
			r = exeunit.Report{}
			if err := exeunit.ReadFrame(outR, &r); err != nil {
				t.Fatal(err)
			}
			if r.Fuel == nil {
				return r
			}
		}
	}
	ask(exeunit.Request{Run: &exeunit.Run{Module: "g"}})
	if r := next(); r.Done == nil || r.Done.Code != -1 {
		t.Errorf("a run before load: %+v", r)
	}
	ask(exeunit.Request{Load: &exeunit.Load{Modules: []exeunit.Module{{ID: "g", Path: path}}, MemoryPages: 2000, CacheDir: filepath.Join(dir, "c"), Threads: 1}})
	if r := next(); r.Loaded == nil || r.Loaded.Error != "" || len(r.Loaded.Unmetered) != 0 {
		t.Fatalf("%+v", r.Loaded)
	}
	ask(exeunit.Request{Run: &exeunit.Run{Module: "g", Args: []string{"both"}}})
	if r := next(); r.Output == nil || string(r.Output.Bytes) != "to stdout" {
		t.Errorf("%+v", r)
	}
	if r := next(); r.Output == nil || !r.Output.Stderr {
		t.Errorf("%+v", r)
	}
	if r := next(); r.Done == nil || r.Done.Code != 0 || r.Done.Fuel == 0 {
		t.Errorf("%+v", r)
	}
	ask(exeunit.Request{Run: &exeunit.Run{Module: "g", Args: []string{"spin"}}})
	time.AfterFunc(50*time.Millisecond, func() { _ = w.Write(exeunit.Request{Stop: true}) })
	if r := next(); r.Done == nil || r.Done.Stopped != exeunit.StoppedByHost {
		t.Errorf("%+v", r)
	}
	inW.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestMain lets the test binary be run again as the runtime process.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == exeunit.WASMCommand {
		os.Exit(Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func TestTheSelfTestPassesHere(t *testing.T) {
	if err := Test(t.Context(), ""); err != nil {
		t.Error(err)
	}
}

func TestASelfTestThatFailsIsTold(t *testing.T) {
	if err := Test(t.Context(), "/bin/false"); err == nil {
		t.Error("a program that fails proved something")
	}
}
