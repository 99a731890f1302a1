package scripts

import (
	"context"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/emet-node/emet/tests/built"
)

func deadline() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 5*time.Minute)
}

var below = regexp.MustCompile(`(?m)^  ([a-z][a-z-]*) `)

// examples: the help of every command, down to the last, has examples, and
// what lists something has --json.
func examples(ts *testscript.TestScript, neg bool, _ []string) {
	if neg {
		ts.Fatalf("examples cannot be negated")
	}
	if n := help(ts, nil); n < 40 {
		ts.Fatalf("%d commands only", n)
	}
}

func help(ts *testscript.TestScript, path []string) (n int) {
	out, err := exec.Command(built.Emet.Path(), append(path, "--help")...).CombinedOutput()
	text := string(out)
	name := "emet " + strings.Join(path, " ")
	if err != nil {
		ts.Fatalf("%s --help: %v\n%s", name, err, text)
	}
	if len(path) > 1 && path[0] == "completion" {
		return 1 // made by the library
	}
	if !strings.Contains(text, "\nExamples:\n") {
		ts.Fatalf("the help of %s has no examples:\n%s", name, text)
	}
	if last := at(path, len(path)-1); (last == "list" || last == "status") && !strings.Contains(text, "--json") {
		ts.Fatalf("%s lists something and has no --json", name)
	}
	_, commands, _ := strings.Cut(text, "\nAvailable Commands:\n")
	commands, _, _ = strings.Cut(commands, "\nFlags:")
	for _, m := range below.FindAllStringSubmatch(commands, -1) {
		if m[1] != "help" {
			n += help(ts, append(path[:len(path):len(path)], m[1]))
		}
	}
	return n + 1
}

func at(path []string, i int) string {
	if i < 0 {
		return ""
	}
	return path[i]
}
