package scripts

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// varying is what differs in each run: moments near now, hashes over them, and
// what is made at random. The ids of the deals have fixed digits that repeat.
var varying = regexp.MustCompile(`"20(?:2[6-9]|[3-9]\d)-\d\d-\d\dT[0-9:.]+Z?"|"(?:0x)?[0-9a-f]{32,128}"|"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"`)

// machine is what depends on the machine and its speed.
var machine = regexp.MustCompile(`"(architecture|cores|frames|offsetUs)": ("[^"]*"|[0-9.]+)`)

// golden NAME MEMBER…: the JSON on standard output is that of
// testdata/golden/NAME.json but for moments of this run and what follows from
// them, which are numbered in the order in which they appear, and the values of
// the members that are named: numbers, texts of numbers, and lists of those.
func golden(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: golden name member...")
	}
	known := map[string]string{}
	have := varying.ReplaceAllStringFunc(ts.ReadFile("stdout"), func(s string) string {
		if len(s) < 32 {
			if strings.HasPrefix(s, `"2026-01-01T`) {
				return s // the time of the deals
			}
			return `"<time>"`
		}
		if digits := strings.Trim(s, `"`); strings.Contains(digits, "00000000") || strings.HasSuffix(digits, strings.Repeat(digits[len(digits)-2:], 4)) {
			return s // an id of the deals
		}
		if known[s] == "" {
			known[s] = fmt.Sprintf(`"<id %d>"`, len(known)+1)
		}
		return known[s]
	})
	have = strings.ReplaceAll(have, ts.MkAbs("."), "<dir>")
	have = machine.ReplaceAllString(have, `"$1": "<machine>"`)
	for _, member := range args[1:] {
		measured := regexp.MustCompile(`"` + member + `": ("?[0-9][0-9.]*"?|\[(\s*"?[0-9][0-9.]*"?,?)+\s*\])`)
		have = measured.ReplaceAllString(have, `"`+member+`": "<measured>"`)
	}
	path := filepath.Join(filepath.Dir(shapes), "golden", args[0]+".json")
	if os.Getenv("UPDATE_SHAPES") != "" {
		ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
		ts.Check(os.WriteFile(path, []byte(have), 0o644)) //nolint:gosec // it is part of the source
		return
	}
	want, err := os.ReadFile(path)
	ts.Check(err)
	if have != string(want) {
		ts.Fatalf("the JSON is\n%s\nwant\n%s", have, want)
	}
}
