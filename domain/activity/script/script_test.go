package script_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/emet-node/emet/domain/activity/script"
)

func one(t *testing.T, text string) script.Command {
	t.Helper()
	c, err := script.ParseCommand(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c
}

func TestAScriptKeepsItsWords(t *testing.T) {
	t.Parallel()
	text := `[ {"deploy":{}}, {"start": {"args":["a"]}}, {"run":{"entry_point":"/bin/sh","args":["-c","echo <hi>"],"unknown":1}},
	  {"transfer":{"from":"a","to":"container:/b","args":{}}}, {"terminate":{}}, {"sign":{}} ]`
	steps, err := script.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range steps {
		names = append(names, s.Command.Name())
		if !strings.Contains(text, s.Text) {
			t.Errorf("step text %s is not from the script", s.Text)
		}
	}
	if got := strings.Join(names, " "); got != "deploy start run transfer terminate sign" {
		t.Errorf("commands: %s", got)
	}
	if d := cmp.Diff([]string{"/bin/sh", "-c", "echo <hi>"}, steps[2].Command.Params()); d != "" {
		t.Error(d)
	}
}

func TestBadScriptsAreRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	many := "[" + strings.TrimSuffix(strings.Repeat(`{"sign":{}},`, script.MaxCommands+1), ",") + "]"
	env := make([]string, script.MaxEnv+1)
	for i := range env {
		env[i] = fmt.Sprintf(`"K%d":""`, i)
	}
	for name, text := range map[string]string{
		"not json":         `nope`,
		"null":             `null`,
		"object":           `{"sign":{}}`,
		"bare string":      `["sign"]`,
		"null body":        `[{"sign":null}]`,
		"empty object":     `[{}]`,
		"two keys":         `[{"sign":{},"start":{}}]`,
		"same key twice":   `[{"sign":{},"sign":{}}]`,
		"unknown command":  `[{"sign":{}},{"reboot":{}}]`,
		"wrong case":       `[{"Run":{"entry_point":"x"}}]`,
		"no entry point":   `[{"run":{"Entry_point":"x"}}]`,
		"args null":        `[{"run":{"entry_point":"x","args":null}}]`,
		"zero byte":        `[{"run":{"entry_point":"x","args":["a\u0000"]}}]`,
		"no to":            `[{"transfer":{"from":"x"}}]`,
		"format":           `[{"transfer":{"from":"x","to":"y","format":"rar"}}]`,
		"depth":            `[{"transfer":{"from":"x","to":"y","depth":-2}}]`,
		"capture mode":     `[{"run":{"entry_point":"x","capture":{"stdout":{"later":{}}}}}]`,
		"capture format":   `[{"run":{"entry_point":"x","capture":{"stdout":{"atEnd":{"format":"hex"}}}}}]`,
		"two parts":        `[{"run":{"entry_point":"x","capture":{"stdout":{"atEnd":{"head":1,"part":{"tail":1}}}}}}]`,
		"negative limit":   `[{"run":{"entry_point":"x","capture":{"stdout":{"stream":{"limit":-1}}}}}]`,
		"mount":            `[{"deploy":{"volumes":{"/a":{"tape":{}}}}}]`,
		"size":             `[{"deploy":{"volumes":{"/a":{"ram":{"size":"much"}}}}}]`,
		"no size":          `[{"deploy":{"volumes":{"/a":{"ram":{}}}}}]`,
		"interval":         `[{"deploy":{"progress":{"updateInterval":"soon"}}}]`,
		"too many":         many,
		"too long":         `[{"run":{"entry_point":"x","y":"` + strings.Repeat("a", script.MaxBytes) + `"}}]`,
		"too many args":    `[{"run":{"entry_point":"x","args":["` + strings.Repeat("a", script.MaxArgBytes) + `"]}}]`,
		"too many env":     `[{"run":{"entry_point":"x","env":{` + strings.Join(env, ",") + `}}}]`,
		"long env":         `[{"deploy":{"env":{"K":"` + strings.Repeat("a", script.MaxEnvBytes) + `"}}}]`,
		"env name":         `[{"deploy":{"env":{"A=B":"x"}}}]`,
		"nested too deep":  `[{"run":{"entry_point":"x","y":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}}]`,
		"something behind": `[{"sign":{}}] []`,
	} {
		if _, err := script.Parse(text); !errors.Is(err, script.ErrScript) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if steps, err := script.Parse(`[]`); err != nil || len(steps) != 0 {
		t.Errorf("the empty script is a script: %v", err)
	}
}

func TestVolumesAsListAndAsMap(t *testing.T) {
	t.Parallel()
	host := []script.Volume{{Path: "/a", Kind: "host"}}
	for _, text := range []string{`{"deploy":{"volumes":["/a"]}}`, `{"deploy":{"volumes":{"/a":{"host":{}}}}}`} {
		if d := cmp.Diff(host, one(t, text).(script.Deploy).Volumes); d != "" {
			t.Errorf("%s: %s", text, d)
		}
	}
	got := one(t, `{"deploy":{"volumes":{"/s":{"storage":{"size":"10GiB","preallocate":"2GiB","errors":"panic"}},"/":{"ram":{"size":"1024MiB"}}}}}`)
	want := []script.Volume{
		{Path: "/", Kind: "ram", SizeBytes: 1 << 30},
		{Path: "/s", Kind: "storage", SizeBytes: 10 << 30, PreBytes: 2 << 30, OnError: "panic"},
	}
	if d := cmp.Diff(want, got.(script.Deploy).Volumes); d != "" {
		t.Error(d)
	}
}

func TestSizesAndDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"7000m": 7e9, "1gi": 1 << 30, "2GiB": 2 << 30, "1048576": 1 << 20, "1.5 KiB": 1536, "5g": 5e9} {
		if got, err := script.ParseBytes(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for text, want := range map[string]time.Duration{"300ms": 300 * time.Millisecond, "1m 30s": 90 * time.Second, "5s": 5 * time.Second, "1h2min": 62 * time.Minute} {
		if got, err := script.ParseDuration(text); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "5", "s", "-1s", "1.5s", "99999999999s"} {
		if _, err := script.ParseDuration(bad); err == nil {
			t.Errorf("duration %q was taken", bad)
		}
	}
}

func TestCaptureFlatAndNested(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]script.Capture{
		`{"atEnd":{"format":"string"}}`:            {Part: script.All},
		`{"atEnd":{"head":4,"format":"bin"}}`:      {Part: script.Head, Limit: 4, Binary: true},
		`{"atEnd":{"part":{"tail":4}}}`:            {Part: script.Tail, Limit: 4},
		`{"atEnd":{"part":{"headTail":5}}}`:        {Part: script.HeadTail, Limit: 5},
		`{"stream":{}}`:                            {Live: true, Part: script.All},
		`{"stream":{"limit":7,"format":"binary"}}`: {Live: true, Part: script.Head, Limit: 7, Binary: true},
	} {
		c := one(t, `{"run":{"entry_point":"x","capture":{"stdout":`+text+`}}}`)
		if d := cmp.Diff(&want, script.CaptureOf(c, false)); d != "" {
			t.Errorf("%s: %s", text, d)
		}
		if script.CaptureOf(c, true) != nil {
			t.Errorf("%s: stderr is captured though nobody asked", text)
		}
	}
	if c := script.CaptureOf(script.Deploy{}, true); c == nil || !c.Live {
		t.Error("the output of a deploy is always captured")
	}
}

func TestTransferOptions(t *testing.T) {
	t.Parallel()
	c := one(t, `{"transfer":{"from":"a","to":"b","format":"zip.0","depth":0,"fileset":[{"includes":"out/*","excludes":["*.tmp",".gitignore"]},"*.o"],
		"progress":{"updateInterval":"300ms","updateStep":1048576}}}`).(script.Transfer)
	if c.Format != "zip.0" || c.Depth != 0 || c.Progress.StepBytes != 1<<20 || c.Progress.Interval != 300*time.Millisecond {
		t.Errorf("%+v", c)
	}
	want := []script.Fileset{{Includes: []string{"out/*"}, Excludes: []string{"*.tmp", ".gitignore"}}, {Includes: []string{"*.o"}}}
	if diff := cmp.Diff(want, c.Filesets); diff != "" {
		t.Error(diff)
	}
	if _, err := script.ParseCommand(`{"transfer":{"from":"a","to":"b","fileset":"` + strings.Repeat("x", 1025) + `"}}`); err == nil || !strings.Contains(err.Error(), "1025") {
		t.Errorf("a glob that is too long: %v", err)
	}
	plain := one(t, `{"transfer":{"from":"a","to":"b","fileset":null,"depth":null}}`).(script.Transfer)
	if plain.Depth != -1 || plain.Filesets != nil {
		t.Errorf("%+v", plain)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`[{"run":{"entry_point":"/bin/sh","args":["-c","x"],"capture":{"stdout":{"stream":{"limit":1}}}}}]`)
	f.Add(`[{"deploy":{"volumes":{"/s":{"storage":{"size":"10GiB"}}},"net":[{"id":"a","ip":"1","nodeIp":"2"}]}}]`)
	f.Add(`[{"transfer":{"from":"a","to":"b","fileset":["*.o"]}}]`)
	f.Fuzz(func(t *testing.T, text string) {
		steps, err := script.Parse(text)
		if err != nil {
			if !errors.Is(err, script.ErrScript) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		for _, s := range steps {
			if _, err := script.ParseCommand(s.Text); err != nil {
				t.Fatalf("a step cannot be read again: %v", err)
			}
		}
	})
}
