package rest

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/api/gsb"
	"github.com/emet-node/emet/api/gsb/client"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/eventschemas"
)

const (
	alice = identity.NodeID("0x00000000000000000000000000000000000000a1")
	bob   = identity.NodeID("0x00000000000000000000000000000000000000b0")
)

// testKeys are app-keys by secret.
type testKeys map[string]Key

func (k testKeys) Find(secret string) (Key, bool) {
	key, ok := k[secret]
	return key, ok
}

func (k testKeys) Origins() []string {
	var all []string
	for _, key := range k {
		all = append(all, key.AllowOrigins...)
	}
	return all
}

var someKeys = testKeys{
	"alice":   {ID: "k-alice", Name: "a", Identity: alice, Role: identity.RoleManager, AllowOrigins: []string{"https://app.example"}},
	"alice2":  {ID: "k-alice2", Name: "a2", Identity: alice, Role: identity.RoleManager},
	"bob":     {ID: "k-bob", Name: "b", Identity: bob, Role: identity.RoleManager},
	"auditor": {ID: "k-audit", Name: "aud", Identity: alice, Role: identity.RoleAuditor},
	"metrics": {ID: "k-met", Name: "met", Identity: alice, Role: identity.RoleMetrics},
}

func newLog(t *testing.T) *es.Log {
	t.Helper()
	st := memory.New()
	t.Cleanup(func() { _ = st.Close() })
	return &es.Log{Store: st, Codec: eventschemas.New()}
}

type testNet struct{}

func (testNet) NetStatus(context.Context, identity.NodeID) (NetStatus, error) {
	return NetStatus{Listen: "127.0.0.1:11500", Sessions: 2}, nil
}

func frame(t *testing.T, cfg Config) *httptest.Server {
	t.Helper()
	if cfg.Version == "" {
		cfg.Version, cfg.Name = "0.17.6", "emet 0.1.0"
	}
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = HTTPServer(New(cfg, Deps{Keys: someKeys, Log: newLog(t), Files: gsb.New(nil), Net: testNet{}}))
	srv.Start()
	t.Cleanup(srv.Close)
	return srv
}

type answered struct {
	status int
	body   string
	header http.Header
}

// ask sends a request; headers are "Name: value". A header Host sets the host.
func ask(t *testing.T, url, method, path, body string, headers ...string) answered {
	t.Helper()
	req, err := http.NewRequest(method, url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
		} else {
			req.Header.Add(name, value)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{resp.StatusCode, string(b), resp.Header}
}

const asAlice = "Authorization: Bearer alice"

func TestWhoHasNoKeyIsToldSoBeforeAnythingElse(t *testing.T) {
	t.Parallel()
	url := frame(t, Config{}).URL
	for path, headers := range map[string][]string{
		"/": nil, "/me": nil, "/healthcheck": nil, "/no/such/path": nil, "/market-api/v1/demands": nil,
		"/me?authToken=alice": nil, // only upgrades may carry the key in the URL
		"/x":                  {"Authorization: Basic alice"},
	} {
		got := ask(t, url, "GET", path, "", headers...)
		if got.status != 401 || got.body != "Missing application key" || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %d %q", path, got.status, got.body)
		}
	}
	if got := ask(t, url, "GET", "/me", "", "authorization: bearer wrong"); got.status != 401 || got.body != "Invalid application key" {
		t.Errorf("wrong key: %d %q", got.status, got.body)
	}
	if got := ask(t, url, "GET", "/no/such/path", "", asAlice); got.status != 404 || got.body != "" {
		t.Errorf("unknown path: %d %q", got.status, got.body)
	}
}

func TestKnownPathsWithAnotherMethodAreUnknown(t *testing.T) {
	t.Parallel()
	url := frame(t, Config{}).URL
	for _, method := range []string{"POST", "DELETE", "PATCH", "HEAD"} {
		got := ask(t, url, method, "/me", "", asAlice)
		if got.status != 404 || got.body != "" || got.header.Get("Allow") != "" {
			t.Errorf("%s /me: %d %q", method, got.status, got.body)
		}
	}
}

func TestNodeAnswers(t *testing.T) {
	t.Parallel()
	url := frame(t, Config{Released: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}).URL
	for _, c := range []struct{ path, key, want string }{
		{"/version/get", "", `{"current":{"insertionTs":null,"name":"emet 0.1.0","releaseTs":"2026-01-02T03:04:05","seen":true,"updateTs":null,"version":"0.17.6"},"pending":null}`},
		{"/me", "alice", `{"identity":"` + string(alice) + `","name":"a","role":"manager"}`},
		{"/net-api/v2/net/status", "alice", `{"listenIp":"127.0.0.1:11500","nodeId":"` + string(alice) + `","publicIp":null,"sessions":2}`},
		{"/emet-api/v1/head", "alice", `{"size":0,"store":"memory"}`},
		{"/emet-api/v1/log", "alice", `{"events":[],"head":0,"next":0}`},
	} {
		var headers []string
		if c.key != "" {
			headers = append(headers, "Authorization: Bearer "+c.key)
		}
		got := ask(t, url, "GET", c.path, "", headers...)
		if got.status != 200 || got.body != c.want || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s %s", c.path, got.status, got.header.Get("Content-Type"), got.body)
		}
	}
}

func TestRolesAtTheDoor(t *testing.T) {
	t.Parallel()
	url := frame(t, Config{}).URL
	if got := ask(t, url, "GET", "/me", "", "Authorization: Bearer auditor"); got.status != 200 {
		t.Errorf("an auditor may read: %d", got.status)
	}
	for _, c := range []struct{ method, path, key string }{
		{"POST", "/gsb-api/v1/services", "auditor"},
		{"DELETE", "/gsb-api/v1/services/x", "auditor"},
		{"GET", "/market-api/v1/demands/x/events", "auditor"},
		{"GET", "/me", "metrics"},
	} {
		if got := ask(t, url, c.method, c.path, "{}", "Authorization: Bearer "+c.key); got.status != 403 {
			t.Errorf("%s %s as %s: %d", c.method, c.path, c.key, got.status)
		}
	}
}

func TestOriginsAndHosts(t *testing.T) {
	t.Parallel()
	url := frame(t, Config{AllowOrigins: []string{"https://everywhere.example"}, Hosts: []string{"node.lan"}}).URL
	for name, c := range map[string]struct {
		path    string
		headers []string
		status  int
		cors    string
	}{
		"client behind another name":        {"/me", []string{asAlice, "Host: docker"}, 200, ""},
		"page through a rebound name":       {"/me", []string{asAlice, "Host: evil.example", "Origin: https://app.example"}, 403, ""},
		"keyless through a rebound name":    {"/version/get", []string{"Host: evil.example"}, 403, ""},
		"keyless through a configured name": {"/version/get", []string{"Host: node.lan:7465"}, 200, ""},
		"page of the key's origin":          {"/me", []string{asAlice, "Origin: https://app.example"}, 200, "https://app.example"},
		"page of another key's origin":      {"/me", []string{"Authorization: Bearer bob", "Origin: https://app.example"}, 403, ""},
		"page of a global origin":           {"/me", []string{"Authorization: Bearer bob", "Origin: https://everywhere.example"}, 200, "https://everywhere.example"},
		"unknown page with a key":           {"/me", []string{asAlice, "Origin: https://evil.example"}, 403, ""},
		"known page without a key":          {"/me", []string{"Origin: https://app.example"}, 401, "https://app.example"},
		"cross-site fetch without origin":   {"/me", []string{asAlice, "Sec-Fetch-Site: cross-site"}, 403, ""},
		"own page":                          {"/me", []string{asAlice, "Host: localhost:7465", "Origin: http://localhost:7465"}, 200, ""},
		"golem-js in node":                  {"/me", []string{asAlice, "Sec-Fetch-Mode: cors"}, 200, ""},
	} {
		got := ask(t, url, "GET", c.path, "", c.headers...)
		if got.status != c.status || got.header.Get("Access-Control-Allow-Origin") != c.cors {
			t.Errorf("%s: %d, allows %q", name, got.status, got.header.Get("Access-Control-Allow-Origin"))
		}
	}
}

// A star is too easily set: it must be meant.
func TestEveryOriginIsAllowedOnlyWhenMeant(t *testing.T) {
	t.Parallel()
	const page = "Origin: https://any.example"
	for meant, want := range map[bool]int{false: 403, true: 200} {
		url := frame(t, Config{AllowOrigins: []string{"*"}, AllowAnyOrigin: meant}).URL
		if got := ask(t, url, "GET", "/me", "", asAlice, page); got.status != want {
			t.Errorf("meant %v: %d", meant, got.status)
		}
		got := ask(t, url, "OPTIONS", "/me", "", page, "Access-Control-Request-Method: GET")
		if (got.status == 200) != meant || (got.header.Get("Access-Control-Allow-Origin") == "https://any.example") != meant {
			t.Errorf("preflight, meant %v: %d %v", meant, got.status, got.header)
		}
	}
}

func TestPreflights(t *testing.T) {
	t.Parallel()
	url := frame(t, Config{}).URL
	ask1 := func(origin string) answered {
		return ask(t, url, "OPTIONS", "/market-api/v1/demands", "", "Origin: "+origin,
			"Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,content-type")
	}
	got := ask1("https://app.example")
	h := got.header
	if got.status != 200 || h.Get("Access-Control-Allow-Origin") != "https://app.example" || h.Get("Access-Control-Max-Age") != "3600" ||
		h.Get("Access-Control-Allow-Headers") != "authorization,content-type" || !strings.Contains(h.Get("Access-Control-Allow-Methods"), "POST") {
		t.Errorf("known origin: %d %v", got.status, h)
	}
	if got := ask1("https://evil.example"); got.status != 400 || got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("unknown origin: %d", got.status)
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	url := frame(t, Config{}).URL
	const typ = "Content-Type: application/json"
	post := func(body string, headers ...string) answered {
		return ask(t, url, "POST", "/gsb-api/v1/services", body, append(headers, asAlice)...)
	}
	for name, c := range map[string]struct {
		got    answered
		status int
	}{
		"no content type":    {post(`{"listen":{"on":"/public/gftp/1","components":[]}}`), 400},
		"not JSON":           {post(`{`, typ), 400},
		"wrong shape":        {post(`[]`, typ), 400},
		"unknown fields":     {post(`{"x":1,"listen":{"on":"/public/gftp/1","components":[],"y":2}}`, typ), 201},
		"a +json type":       {post(`{"listen":{"on":"/public/gftp/2","components":[]}}`, "Content-Type: application/x+json; charset=utf-8"), 201},
		"nested too deeply":  {post(`{"z":`+strings.Repeat("[", 80)+strings.Repeat("]", 80)+`}`, typ), 400},
		"too many keys":      {post(`{`+strings.Repeat(`"a":1,`, 10_001)+`"b":1}`, typ), 400},
		"endless number":     {post(`{"z":`+strings.Repeat("1", 80)+`}`, typ), 400},
		"more than 2 MiB":    {post(`{"z":"`+strings.Repeat("x", 2<<20)+`"}`, typ), 413},
		"a huge header line": {post(`{}`, typ, "X-Big: "+strings.Repeat("x", 9000)), 431},
	} {
		if c.got.status != c.status {
			t.Errorf("%s: %d %.100q, want %d", name, c.got.status, c.got.body, c.status)
		}
		if c.status == 400 && !strings.HasPrefix(c.got.header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %s", name, c.got.header.Get("Content-Type"))
		}
	}
}

func TestQueriesAreReadStrictly(t *testing.T) {
	t.Parallel()
	for raw, bad := range map[string]bool{
		"timeout=": true, "timeout=x": true, "timeout=NaN": true, "timeout=1&timeout=2": true, "n=": true, "n=1.5": true, "at=now": true,
		"": false, "timeout=0": false, "timeout=2.5": false, "timeout=-1": false, "x=1&x=2": false, "text=": false, "at=2024-05-01T10:00:00+02:00": false,
	} {
		e := echo.New()
		c := e.NewContext(httptest.NewRequest(http.MethodGet, "/?"+raw, nil), httptest.NewRecorder())
		q := queryOf(c)
		q.wait("timeout", time.Second)
		q.number("n", 0)
		q.date("at")
		q.text("text")
		if (q.err != nil) != bad {
			t.Errorf("%q: %v", raw, q.err)
		}
	}
	c := echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/?a=2.5&b=-3&c=1e9&at=2024-05-01T12:00:00.5+02:00", nil), httptest.NewRecorder())
	q := queryOf(c)
	if a, b, big := q.wait("a", 0), q.wait("b", 0), q.wait("c", 0); a != 2500*time.Millisecond || b != 0 || big != maxWait {
		t.Errorf("waits are %v, %v, %v", a, b, big)
	}
	if at := q.date("at"); !at.Equal(time.Date(2024, 5, 1, 10, 0, 0, 5e8, time.UTC)) {
		t.Errorf("a plus sign that became a space: %v, %v", at, q.err)
	}
}

func TestAFileServiceOverTheRealRoutes(t *testing.T) {
	t.Parallel()
	bridge := gsb.New(nil)
	srv := httptest.NewServer(New(Config{}, Deps{Keys: someKeys, Log: newLog(t), Files: bridge}))
	t.Cleanup(func() { _ = bridge.Close(); srv.Close() })
	tr, err := (&client.Client{URL: srv.URL, AppKey: "alice"}).Publish(t.Context(), strings.NewReader("hello"), 5)
	if err != nil {
		t.Fatal(err)
	}
	id := tr.URL[strings.LastIndexByte(tr.URL, '/')+1:]
	if got, err := bridge.GetChunk(t.Context(), alice, id, 0, 10); err != nil || string(got) != "hello" {
		t.Errorf("read %q, %v", got, err)
	}
	sid := gsb.ID("/public/gftp/" + id)
	for _, key := range []string{"bob", "alice2"} {
		if got := ask(t, srv.URL, "DELETE", "/gsb-api/v1/services/"+sid, "", "Authorization: Bearer "+key); got.status != 404 {
			t.Errorf("%s took it away: %d", key, got.status)
		}
	}
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
	if got := ask(t, srv.URL, "DELETE", "/gsb-api/v1/services/"+sid, "", asAlice); got.status != 404 {
		t.Errorf("gone: %d %s", got.status, got.body)
	}
}

func TestAWebSocketMayCarryItsKeyInTheURL(t *testing.T) {
	t.Parallel()
	srv := frame(t, Config{})
	got := ask(t, srv.URL, "POST", "/gsb-api/v1/services", `{"listen":{"on":"/public/gftp/x1","components":["GetMetadata"]}}`, asAlice, "Content-Type: application/json")
	const want = `{"listen":{"components":["GetMetadata"],"on":"/public/gftp/x1"},"servicesId":"L3B1YmxpYy9nZnRwL3gx"}`
	if got.status != 201 || got.body != want || got.header.Get("Location") != "/L3B1YmxpYy9nZnRwL3gx" {
		t.Fatalf("%d %s %s", got.status, got.header.Get("Location"), got.body)
	}
	d := websocket.Dialer{Subprotocols: []string{gsb.Subprotocol}}
	url := "ws" + strings.TrimPrefix(srv.URL, "http") + "/gsb-api/v1/services/L3B1YmxpYy9nZnRwL3gx?authToken="
	conn, _, err := d.Dial(url+"alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if _, resp, err := d.Dial(url+"wrong", nil); err == nil || resp.StatusCode != http.StatusUnauthorized {
		t.Error("a wrong key was let in")
	}
	if _, resp, err := d.Dial(url+"alice", http.Header{"Origin": {"https://evil.example"}}); err == nil || resp.StatusCode != http.StatusForbidden {
		t.Error("a page of another origin was let in")
	}
}

func TestSecretsStayOutOfTheLog(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	srv := frame(t, Config{Logger: slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	ask(t, srv.URL, "GET", "/x?authToken=canary1&a=1", "", "Authorization: Bearer canary2")
	srv.Close()
	if s := b.String(); strings.Contains(s, "canary") || !strings.Contains(s, "/x") {
		t.Errorf("logged %s", s)
	}
}

func TestWrongKeysBecomeSlowAndRightOnesStayFast(t *testing.T) {
	t.Parallel()
	g := newGuard()
	for range freeFailures {
		if d := g.failed("1.2.3.4:5"); d != 0 {
			t.Fatalf("delayed by %v", d)
		}
	}
	if g.failed("1.2.3.4:6") != failureDelay || g.failed("1.2.3.5:6") != 0 {
		t.Error("delay is not per address")
	}
}

func TestOneKeyCannotTakeAllRequests(t *testing.T) {
	t.Parallel()
	g := newGuard()
	for range maxStreams {
		if !g.enter("k", true) {
			t.Fatal("refused too early")
		}
	}
	if g.enter("k", true) || !g.enter("k", false) || !g.enter("other", true) {
		t.Error("streams are not counted per key")
	}
	g.leave("k", true)
	if !g.enter("k", true) {
		t.Error("a stream that ended still counts")
	}
}

func TestIdempotencyKeysNameTheirSender(t *testing.T) {
	t.Parallel()
	e := echo.New()
	at := func(path, key string, who Key) string {
		r := httptest.NewRequest(http.MethodPost, path, nil)
		if key != "" {
			r.Header.Set("Idempotency-Key", key)
		}
		r = r.WithContext(context.WithValue(r.Context(), contextKey{}, who))
		return commandKey(e.NewContext(r, httptest.NewRecorder()))
	}
	a, b := someKeys["alice"], someKeys["bob"]
	if first, again := at("/x", "1", a), at("/x", "1", a); first != again {
		t.Error("the same request has two keys")
	}
	all := map[string]bool{}
	for _, k := range []string{at("/x", "1", a), at("/y", "1", a), at("/x", "2", a), at("/x", "1", b), at("/x", "", a), at("/x", "", a), "1"} {
		if all[k] {
			t.Errorf("%q is taken", k)
		}
		all[k] = true
	}
}

func TestEventStreams(t *testing.T) {
	t.Parallel()
	e := echo.New()
	e.GET("/", func(c echo.Context) error {
		s, err := startStream(c)
		if err != nil {
			return err
		}
		if err := s.event("runtime", []byte(`{"a":1}`), "0"); err != nil {
			return err
		}
		if err := s.ping(); err != nil {
			return err
		}
		<-c.Request().Context().Done()
		return nil
	})
	srv := httptest.NewServer(e)
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL, nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(resp.Body)
	var got string
	for range 6 {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		got += line
	}
	if want := "event: runtime\ndata: {\"a\":1}\nid: 0\n\n:ping\n\n"; got != want {
		t.Errorf("sent %q", got)
	}
	if h := resp.Header; h.Get("Content-Type") != "text/event-stream" || h.Get("X-Accel-Buffering") != "no" {
		t.Errorf("headers %v", h)
	}
	cancel()
	_ = resp.Body.Close()
}
