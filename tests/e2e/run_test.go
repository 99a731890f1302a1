package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emet-node/emet/tests/built"
)

// network returns the variables of a local network that is shared by the
// subtests of t.
func network(t *testing.T) []string {
	t.Helper()
	dev := begin(t, nil, "dev", "--port", "0", "--providers", "2")
	return []string{"YAGNA_API_URL=" + dev.said["YAGNA_API_URL"], "YAGNA_APPKEY=" + dev.said["YAGNA_APPKEY"]}
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// trapping is a module whose _start is "unreachable".
var trapping = []byte("\x00asm\x01\x00\x00\x00" +
	"\x01\x04\x01\x60\x00\x00" + // type: func()
	"\x03\x02\x01\x00" + // one function of it
	"\x05\x03\x01\x00\x01" + // a memory
	"\x07\x13\x02\x06_start\x00\x00\x06memory\x02\x00" + // exported
	"\x0a\x05\x01\x03\x00\x00\x0b") // unreachable

func TestWhatCannotRunIsToldAtOnce(t *testing.T) {
	t.Parallel()
	component := write(t, "component.wasm", []byte("\x00asm\x0d\x00\x01\x00"))
	text := write(t, "text.wasm", []byte("#!/bin/sh\necho hi\n"))
	newer := write(t, "newer.wasm", []byte("\x00asm\x02\x00\x00\x00"))
	broken := write(t, "broken.wasm", []byte("\x00asm\x01\x00\x00\x00\x01\x02\x03\x04"))
	library := write(t, "library.wasm", []byte("\x00asm\x01\x00\x00\x00"))
	needy := write(t, "needy.wasm", []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x02\x09\x01\x03env\x01f\x00\x00"))
	dir, first, second := t.TempDir(), write(t, "same.txt", nil), write(t, "same.txt", nil)
	cases := map[string]struct {
		args  []string
		words []string
	}{
		"no program":    {[]string{"run"}, []string{"name a program", "emet run --help"}},
		"missing":       {[]string{"run", "--", "/no/such.wasm"}, []string{"/no/such.wasm", "no such file"}},
		"a directory":   {[]string{"run", "--", t.TempDir()}, []string{"is a directory"}},
		"text":          {[]string{"run", "--", text}, []string{text, "not a WASM program", "GOOS=wasip1"}},
		"component":     {[]string{"run", "--", component}, []string{component, "component (preview 2)", "WASI preview 1", "wasm32-wasip1"}},
		"other version": {[]string{"run", "--", newer}, []string{newer, "unknown version 02000000", "version 1"}},
		"no input":      {[]string{"run", "--in", "/no/such.txt", "--", built.Guest.Path()}, []string{"--in /no/such.txt", "want a file"}},
		"broken":        {[]string{"run", "--", broken}, []string{broken, "cannot run", "section type"}},
		"library":       {[]string{"run", "--", library}, []string{library, "exports no _start", "not a program"}},
		"needy":         {[]string{"run", "--", needy}, []string{needy, `imports "f" of "env"`, "wasi_snapshot_preview1"}},
		"in a folder":   {[]string{"run", "--in", dir, "--", built.Guest.Path()}, []string{"--in " + dir, "want a file, and this is none"}},
		"out a folder":  {[]string{"run", "--out", dir, "--", built.Guest.Path()}, []string{"--out " + dir, "want a file, and this is none"}},
		"out nowhere":   {[]string{"run", "--out", filepath.Join(dir, "no", "x"), "--", built.Guest.Path()}, []string{"no directory " + filepath.Join(dir, "no"), "make it first"}},
		"same inputs":   {[]string{"run", "--in", first, "--in", second, "--", built.Guest.Path()}, []string{first, second, "/golem/in/same.txt", "different names"}},
		"same outputs":  {[]string{"run", "--out", first, "--out", second, "--", built.Guest.Path()}, []string{first, second, "/golem/out/same.txt"}},
		"no time":       {[]string{"run", "--timeout", "0", "--", built.Guest.Path()}, []string{"--timeout 0s", "such as 90s"}},
		"no network":    {[]string{"run", "--network", "moon", "--", built.Guest.Path()}, []string{"--network moon", "hoodi"}},
		"bad budget":    {[]string{"run", "--budget", "lots", "--", built.Guest.Path()}, []string{`--budget "lots"`, "such as 0.5"}},
		"no budget":     {[]string{"run", "--budget", "0", "--", built.Guest.Path()}, []string{`--budget "0"`, "above 0"}},
		"unknown flag":  {[]string{"run", "--sorry"}, []string{"unknown flag: --sorry", "emet run --help"}},
		"unknown word":  {[]string{"rnu"}, []string{`unknown command "rnu"`}},
		"bad port":      {[]string{"dev", "--port", "70000"}, []string{"--port 70000", "0 to 65535"}},
		"bad setting":   {[]string{"up", "--listen", "nowhere"}, []string{"rest.listen", "http://127.0.0.1:7465"}},
		"no demo":       {[]string{"demo", "--program", text, "--dir", t.TempDir()}, []string{"not a WASM program"}},
		"no such chain": {[]string{"devchain", "--network", "moon"}, []string{"--network moon", "not known"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := emet(t, []string{"HOME=" + t.TempDir()}, c.args...)
			r.says(t, 2, c.words...)
			if r.stdout != "" {
				t.Errorf("standard output is for results: %q", r.stdout)
			}
		})
	}
}

func TestProgramsEndAsTheyWill(t *testing.T) {
	t.Parallel()
	env := network(t)
	trap := write(t, "trap.wasm", trapping)
	t.Run("an exit code is passed on", func(t *testing.T) {
		t.Parallel()
		r := emet(t, env, "run", "--", built.Guest.Path(), "exit", "3")
		r.says(t, 3, "SETTLED")
	})
	t.Run("a trap is told", func(t *testing.T) {
		t.Parallel()
		r := emet(t, env, "run", "--", trap)
		r.says(t, 1, "unreachable")
	})
	t.Run("a program that does not end is stopped", func(t *testing.T) {
		t.Parallel()
		r := emet(t, env, "run", "--timeout", "30s", "--", built.Guest.Path(), "sleep", "1h")
		r.says(t, 1, "not done after 30s (--timeout)")
		if r.took > least {
			t.Errorf("it took %s", r.took)
		}
	})
	t.Run("a file that was not written is missed", func(t *testing.T) {
		t.Parallel()
		out := filepath.Join(t.TempDir(), "picture.png")
		r := emet(t, env, "run", "--out", out, "--", built.Guest.Path(), "args")
		r.says(t, 1, "--out "+out, "picture.png")
		if left, _ := os.ReadDir(filepath.Dir(out)); len(left) != 0 {
			t.Errorf("it left %v", left)
		}
	})
	t.Run("much output arrives whole", func(t *testing.T) {
		t.Parallel()
		r := emet(t, env, "run", "--", built.Guest.Path(), "out", "100000")
		r.says(t, 0)
		if n := strings.Count(r.stdout, "\n"); n != 100000 || !strings.HasSuffix(r.stdout, "line 99999\n") {
			t.Errorf("%d lines, %d bytes", n, len(r.stdout))
		}
	})
	t.Run("output arrives byte by byte", func(t *testing.T) {
		t.Parallel()
		r := emet(t, env, "run", "--", built.Guest.Path(), "bytes")
		r.says(t, 0)
		if len(r.stdout) != 256 || r.stdout[0] != 0 || r.stdout[255] != 255 {
			t.Errorf("%d bytes: %q", len(r.stdout), r.stdout)
		}
	})
	t.Run("output that is too long is told", func(t *testing.T) {
		t.Parallel()
		r := emet(t, env, "run", "--", built.Guest.Path(), "out", "800000")
		r.says(t, 1, "the middle of its output is missing", "8 MiB", "--out")
		if !strings.HasPrefix(r.stdout, "line 0\n") || !strings.HasSuffix(r.stdout, "line 799999\n") {
			t.Errorf("%d bytes", len(r.stdout))
		}
	})
	t.Run("a small budget is told", func(t *testing.T) {
		t.Parallel()
		r := emet(t, env, "run", "--budget", "0.0000001", "--", built.Guest.Path(), "args")
		r.says(t, 1, "--budget", "0.0000001")
	})
	t.Run("too large a budget is told", func(t *testing.T) {
		t.Parallel()
		r := emet(t, env, "run", "--budget", "1000000", "--", built.Guest.Path(), "args")
		r.says(t, 5, "1000000 GLM", "available")
	})
	t.Run("an unknown network is told", func(t *testing.T) {
		t.Parallel()
		r := emet(t, env, "run", "--network", "moon", "--", built.Guest.Path(), "args")
		r.says(t, 2, "moon")
	})
	t.Run("a wrong key is told", func(t *testing.T) {
		t.Parallel()
		r := emet(t, []string{env[0], "YAGNA_APPKEY=wrong"}, "run", "--", built.Guest.Path(), "args")
		r.says(t, 5, "YAGNA_APPKEY", "emet app-key list")
	})
	t.Run("nobody there is told", func(t *testing.T) {
		t.Parallel()
		r := emet(t, []string{"YAGNA_API_URL=http://127.0.0.1:1", "YAGNA_APPKEY=any"}, "run", "--", built.Guest.Path(), "args")
		r.says(t, 3, "127.0.0.1:1", "emet up")
	})
	t.Run("plain text without colours", func(t *testing.T) {
		t.Parallel()
		r := emet(t, append(env, "NO_COLOR=1"), "run", "--", built.Guest.Path(), "args")
		r.says(t, 0)
		if strings.Contains(r.stdout+r.stderr, "\x1b") {
			t.Errorf("escape sequences: %q", r.stderr)
		}
	})
}

// The network of a run can be kept: what happened can be read afterwards, and
// the next run goes on there.
func TestTheNetworkOfARunIsKept(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "kept")
	for n := 1; n <= 2; n++ {
		emet(t, nil, "run", "-d", dir, "--", built.Guest.Path(), "args").says(t, 0, "SETTLED")
		if r := emet(t, nil, "agreement", "list", "-d", dir, "--json"); strings.Count(r.stdout, `"Terminated"`) != 2*n { // of both sides
			t.Errorf("after %d runs: %s", n, r.stdout)
		}
	}
}

// A network whose secrets are gone does not pretend to work.
func TestANetworkWithoutItsSecrets(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "kept")
	emet(t, nil, "run", "-d", dir, "--", built.Guest.Path(), "args").says(t, 0)
	if err := os.RemoveAll(filepath.Join(dir, "secrets")); err != nil {
		t.Fatal(err)
	}
	emet(t, nil, "dev", "--port", "0", "-d", dir).says(t, 1, `app-key "dev" exists`, "from a backup", "emet app-key drop dev")
	emet(t, nil, "app-key", "drop", "dev", "-d", dir).says(t, 0)
	emet(t, nil, "dev", "--port", "0", "-d", dir).says(t, 1, "there is no key of this identity", "from a backup", "-d")
}

// interrupted starts a program, waits until it has said something, interrupts
// it as Ctrl-C does, and checks that nothing of it is left.
func interrupted(t *testing.T, env []string, word string, args ...string) {
	t.Helper()
	mark := filepath.Join(t.TempDir(), "tmp") // every descendant has it in its environment
	if err := os.Mkdir(mark, 0o700); err != nil {
		t.Fatal(err)
	}
	p := begin(t, append(env, "TMPDIR="+mark), args...)
	eventually(t, time.Minute, "it says "+word+":\n"+p.out.String(), func() bool {
		return strings.Contains(p.out.String(), word)
	})
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGINT) // as a terminal does, to the whole group
	if code := p.ended(10 * time.Second); code != 130 && code != 0 {
		t.Errorf("exit code %d", code)
	}
	eventually(t, 10*time.Second, "no process is left", func() bool { return len(running(mark)) == 0 })
	if left, _ := os.ReadDir(mark); len(left) != 0 {
		t.Errorf("it left %v in the temporary directory", left)
	}
}

func TestInterruptedRunLeavesNothing(t *testing.T) {
	t.Parallel()
	interrupted(t, nil, "Running on", "run", "--", built.Guest.Path(), "spin")
}

func TestInterruptedStartLeavesNothing(t *testing.T) {
	t.Parallel()
	interrupted(t, nil, "starting a requestor", "run", "--", built.Guest.Path(), "spin")
}

func TestInterruptedDevLeavesNothing(t *testing.T) {
	t.Parallel()
	interrupted(t, nil, "READY", "dev", "--port", "0")
}

func TestInterruptedDemoLeavesNothing(t *testing.T) {
	t.Parallel()
	interrupted(t, nil, "activity", "demo", "--program", built.Render.Path(), "--dir", filepath.Join(t.TempDir(), "d"), "--tiles", "40", "--spp", "100", "--width", "800", "--height", "600", "--providers", "2")
}
