package rest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/knadh/koanf/parsers/yaml"

	"github.com/emet-node/emet/api/gen/accounting"
	"github.com/emet-node/emet/api/gen/activity"
	"github.com/emet-node/emet/api/gen/emet"
	gengsb "github.com/emet-node/emet/api/gen/gsb"
	"github.com/emet-node/emet/api/gen/market"
	"github.com/emet-node/emet/api/gen/node"
	"github.com/emet-node/emet/api/gen/payment"
)

type route struct{ method, path, operation string }

// documented lists the routes of all documents. Payment is listed apart, as the
// world of these tests has no money.
func documented() (all, money []route) {
	for _, r := range node.Routes {
		all = append(all, route{r.Method, r.Path, r.Operation})
	}
	for _, r := range market.Routes {
		all = append(all, route{r.Method, marketBase + r.Path, r.Operation})
	}
	for _, r := range activity.Routes {
		all = append(all, route{r.Method, activityBase + r.Path, r.Operation})
	}
	for _, r := range gengsb.Routes {
		all = append(all, route{r.Method, gsbBase + r.Path, r.Operation})
	}
	for _, r := range emet.Routes {
		all = append(all, route{r.Method, emetBase + r.Path, r.Operation})
	}
	for _, r := range payment.Routes {
		money = append(money, route{r.Method, paymentBase + r.Path, r.Operation})
	}
	for _, r := range accounting.Routes {
		money = append(money, route{r.Method, paymentBase + r.Path, r.Operation})
	}
	return all, money
}

var parameter = regexp.MustCompile(`:[A-Za-z]+`)

func (r route) url() string { return parameter.ReplaceAllString(r.path, "x") }

func TestEveryRouteOfTheDocumentsIsGuarded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all, money := documented()
	if len(all) < 50 || len(money) < 30 {
		t.Fatalf("%d and %d routes", len(all), len(money))
	}
	for _, r := range append(all, money...) {
		open := strings.HasPrefix(r.path, "/version/get") || strings.HasPrefix(r.path, "/metrics-api/")
		got := ask(t, w.url, r.method, r.url(), "")
		if (got.status == 401) == open {
			t.Errorf("%s %s without a key: %d", r.method, r.path, got.status)
		}
		if got := ask(t, w.url, r.method, r.url()+"?authToken=alice", ""); !open && got.status != 401 {
			t.Errorf("%s %s with a key in the URL: %d", r.method, r.path, got.status)
		}
		if r.method == "GET" || open {
			continue
		}
		if got := ask(t, w.url, r.method, r.url(), "null", "Authorization: Bearer auditor", isJSONBody); got.status != 403 {
			t.Errorf("%s %s as auditor: %d", r.method, r.path, got.status)
		}
	}
}

func TestEveryRouteOfTheDocumentsIsServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all, _ := documented()
	for _, r := range all {
		if r.operation == "MonitorActivities" || r.operation == "FollowEvents" { // never ends
			continue
		}
		got := ask(t, w.url, r.method, r.url()+"?timeout=0", "null", asAlice, isJSONBody)
		if got.status == 404 && got.body == "" {
			t.Errorf("%s %s is unknown", r.method, r.path)
		}
		if got.status >= 500 && !strings.Contains(r.path, "/reject") {
			t.Errorf("%s %s: %d %s", r.method, r.path, got.status, got.body)
		}
	}
}

func TestWhatIsNotServedIsUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []string{
		"GET /net-api/v1/net", "POST /net-api/v1/net", "GET /net-api/v2/vpn/net", "POST /_gsb/local/identity/Get",
		"POST /market-api/v1/demands/x/propertyQuery/y", "POST " + base + "x/encrypted", "GET " + base + "x/proxy-http/y", "GET /admin",
	} {
		method, path, _ := strings.Cut(c, " ")
		if got := ask(t, w.url, method, path, "{}", asAlice, isJSONBody); got.status != 404 || got.body != "" {
			t.Errorf("%s: %d %q", c, got.status, got.body)
		}
	}
}

// written lists the routes that the documents describe, as the router has them.
func written(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("../openapi/*.yaml")
	if err != nil || len(files) < 7 {
		t.Fatalf("documents %v, %v", files, err)
	}
	braces := regexp.MustCompile(`\{(\w+)\}`)
	all := map[string]bool{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := yaml.Parser().Unmarshal(b)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		prefix := ""
		if servers, ok := doc["servers"].([]any); ok {
			prefix = strings.TrimSuffix(servers[0].(map[string]any)["url"].(string), "/")
		}
		for path, operations := range doc["paths"].(map[string]any) {
			path = braces.ReplaceAllString(prefix+path, ":$1")
			path = strings.Replace(path, "/tile/:level/:tile", "/tile/:level/*", 1) // its slashes are part of it
			for method := range operations.(map[string]any) {
				if method != "parameters" {
					all[strings.ToUpper(method)+" "+path] = true
				}
			}
		}
	}
	return all
}

func TestWhatIsServedIsWhatTheDocumentsSay(t *testing.T) {
	t.Parallel()
	s := &server{Deps: Deps{Log: newLog(t), Payment: &PaymentDeps{}}, tries: newTurns()}
	documents := written(t)
	var served []string
	for _, r := range s.router().Routes() {
		served = append(served, r.Method+" "+r.Path)
		if !documents[r.Method+" "+r.Path] {
			t.Errorf("%s %s is in no document", r.Method, r.Path)
		}
	}
	for r := range documents {
		if !slices.Contains(served, r) {
			t.Errorf("%s is documented, not served", r)
		}
	}
	if len(served) < 100 {
		t.Errorf("%d routes", len(served))
	}
}
