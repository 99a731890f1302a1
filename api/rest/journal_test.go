package rest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// journal keeps what was asked and answered for a golden file.
type journal struct {
	t     *testing.T
	url   string
	trace bytes.Buffer
}

// ask sends a request as the owner of an app-key, "-" = without one.
func (j *journal) ask(who, method, path, body string, headers ...string) answered {
	j.t.Helper()
	all := headers
	if who != "-" {
		all = append([]string{"Authorization: Bearer " + who}, headers...)
	}
	if body != "" {
		all = append(all, isJSONBody)
	}
	got := ask(j.t, j.url, method, path, body, all...)
	j.note(who, method, path, body, headers, got)
	return got
}

func (j *journal) note(who, method, path, body string, headers []string, got answered) {
	fmt.Fprintf(&j.trace, "%s %s %s %s\n%s", who, method, path, strings.Join(headers, ", "), ifAny(body))
	fmt.Fprintf(&j.trace, "%d %s\n%s\n\n", got.status, got.header.Get("Content-Type"), got.body)
}

// listen keeps the first lines of an answer that does not end by itself.
func (j *journal) listen(path string, lines int) {
	j.t.Helper()
	ctx, cancel := context.WithTimeout(j.t.Context(), patience)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, j.url+path, nil)
	req.Header.Set("Authorization", "Bearer alice")
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		j.t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // left early on purpose
	var body strings.Builder
	in := bufio.NewScanner(resp.Body)
	for n := 0; n < lines && in.Scan(); n++ {
		body.WriteString(in.Text() + "\n")
	}
	j.note("alice", http.MethodGet, path, "", []string{"Accept: text/event-stream"}, answered{resp.StatusCode, body.String(), resp.Header})
}

// varying are the ids and times of a run. Ids get numbers in the order in which
// they appear, so that it shows which are the same.
var varying = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b(?:R-|P-)?(?:[0-9a-f]{64}|[0-9a-f]{32})(?:-[0-9a-f]{64})?\b` +
	`|20[2-5]\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(Z|\+00:00)?`)

func (j *journal) text() []byte {
	known := map[string]string{}
	return varying.ReplaceAllFunc(j.trace.Bytes(), func(b []byte) []byte {
		s := string(b)
		switch {
		case s[4] == '-' && s[:2] == "20":
			return []byte("<time>" + strings.TrimLeft(s, "0123456789-T:."))
		case s == pact || s == someID:
			return b
		}
		prefix := ""
		if s[1] == '-' {
			prefix, s = s[:2], s[2:]
		}
		if known[s] == "" {
			known[s] = fmt.Sprintf("<id %d>", len(known)+1)
		}
		return []byte(prefix + known[s])
	})
}

// golden compares the journal with a file.
func (j *journal) golden(path ...string) {
	j.t.Helper()
	got := worldKeys.ReplaceAll(j.text(), []byte(`"world/<n>"`)) // carol counts beside the test
	got = busy.ReplaceAll(got, []byte("$1 <n>"))
	compareGolden(j.t, filepath.Join(append([]string{"testdata"}, path...)...), got)
}

var (
	worldKeys = regexp.MustCompile(`"world/\d+"`) // carol counts beside the test
	// busy counts the scrape itself, and what was answered just now.
	busy = regexp.MustCompile(`(limit_rest_requests_of_a_key_used) \d+`)
)

// compareGolden compares answers with a file, or writes it.
func compareGolden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *updateGolden {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // test data
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil { //nolint:gosec // test data
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path) //nolint:gosec // test data
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("answers differ from %s; got\n%s", path, got)
	}
}
