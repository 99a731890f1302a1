package scripts

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/emet-node/emet/cmd/emet/keep"
	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/projections/story/storytest"
	"github.com/emet-node/emet/tests/built"
)

func TestMain(m *testing.M) { built.Main(m, built.Emet, built.Echo, built.Render) }

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(built.Emet.Path())+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_DATA_HOME", filepath.Join(e.WorkDir, "share"))
			e.Setenv("XDG_RUNTIME_DIR", filepath.Join(e.WorkDir, "run"))
			for name, value := range map[string]string{
				"BUYER": string(storytest.Buyer), "SELLER": string(storytest.Seller), "AGREEMENT": storytest.First.Agreement, "OTHER": storytest.Second.Agreement,
				"ACTIVITY": storytest.First.Activity, "INVOICE": storytest.First.Invoice, "ALLOCATION": storytest.Allocation, "TX": storytest.TxHash,
				"ECHO": built.Echo.Path(), "RENDER": built.Render.Path(),
			} {
				e.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"blobs": blobs, "deals": deals, "discord": discord, "flip": flip, "shape": shape, "golden": golden, "freeport": freeport, "exits": exits, "await": await, "examples": examples,
			"receiver": receiver, "fetch": fetch, "seen": seen, "remember": remember,
		},
	})
}

// deals DIR makes a data directory with two finished deals.
func deals(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: deals dir")
	}
	ctx, cancel := deadline()
	defer cancel()
	l, err := node.OpenLedger(ctx, node.Options{Dir: ts.MkAbs(args[0])})
	ts.Check(err)
	ts.Check(storytest.Write(ctx, l.Log))
	ts.Check(l.Close())
}

// flip FILE TEXT changes one bit of the first place in a file where TEXT is.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip pattern text")
	}
	files, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		ts.Check(err)
		if i := bytes.Index(b, []byte(args[1])); i >= 0 {
			b[i] ^= 1
			ts.Check(os.WriteFile(f, b, 0o600))
			return
		}
	}
	ts.Fatalf("%q is in none of %v", args[1], files)
}

// shape WHAT: the JSON on standard output has exactly the members that
// testdata/shapes/WHAT lists, one "path type" a line.
func shape(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: shape name")
	}
	golden := filepath.Join(shapes, args[0]+".txt")
	found := make(map[string]bool)
	dec := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	for dec.More() {
		var v any
		ts.Check(dec.Decode(&v))
		outline("", v, found)
	}
	lines := make([]string, 0, len(found))
	for l := range found {
		lines = append(lines, l)
	}
	sort.Strings(lines)
	have := strings.Join(lines, "\n") + "\n"
	if os.Getenv("UPDATE_SHAPES") != "" {
		ts.Check(os.MkdirAll(shapes, 0o755))
		ts.Check(os.WriteFile(golden, []byte(have), 0o644)) //nolint:gosec // it is part of the source
		return
	}
	want, err := os.ReadFile(golden)
	ts.Check(err)
	if have != string(want) {
		ts.Fatalf("the JSON has the shape\n%s\nwant\n%s", have, want)
	}
}

// shapes is absolute, since scripts change the directory.
var shapes = func() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	return filepath.Join(dir, "testdata", "shapes")
}()

// outline notes the path and type of every member. What facts themselves hold
// has tests of its own.
func outline(path string, v any, into map[string]bool) {
	kind := "null"
	switch v := v.(type) {
	case map[string]any:
		if strings.HasSuffix(path, ".data") || strings.HasSuffix(path, ".meta") || strings.HasSuffix(path, "Properties") {
			kind = "object"
			break
		}
		for k, x := range v {
			outline(path+"."+k, x, into)
		}
		return
	case []any:
		for _, x := range v {
			outline(path+"[]", x, into)
		}
		kind = "array"
	case string:
		kind = "string"
	case float64:
		kind = "number"
	case bool:
		kind = "boolean"
	}
	into[strings.TrimPrefix(path+" "+kind, " ")] = true
}

// freeport NAME sets a variable to a port that nobody listens on.
func freeport(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: freeport name")
	}
	ports, err := keep.Ports(1)
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(ports[0]))
}

// exits CODE COMMAND… runs a command that must end with that code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code command args...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // that is what Exec returns
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// await PATTERN COMMAND… repeats a command until its output matches.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: await pattern command args...")
	}
	re := regexp.MustCompile(args[0])
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		_ = ts.Exec(args[1], args[2:]...)
		if re.MatchString(ts.ReadFile("stdout")) {
			return
		}
	}
	ts.Fatalf("%v never said %s", args[1:], args[0])
}
