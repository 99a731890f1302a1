package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/emet-node/emet/api/client"
	"github.com/emet-node/emet/tests/built"
)

// chain starts a development chain at a port of its own.
func chain(t *testing.T, networks string) *process {
	t.Helper()
	return begin(t, nil, "devchain", "--listen", fmt.Sprintf("127.0.0.1:%d", built.Port(t)), "--network", networks, "-d", t.TempDir())
}

// node starts a node that has nothing to do with other nodes.
func node(t *testing.T, dir string, env []string, args ...string) *process {
	t.Helper()
	return begin(t, append([]string{"EMET_NET_LISTEN=" + loopback(built.Port(t)), "EMET_PAYMENT_CYCLE=5s"}, env...), append([]string{
		"up", "--no-provider", "--export", "-d", dir, "--listen", fmt.Sprintf("http://127.0.0.1:%d", built.Port(t)),
	}, args...)...)
}

func loopback(port int) string {
	return fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1,/ip4/127.0.0.1/tcp/%d", port, port)
}

// rpc calls a chain.
func rpc(t *testing.T, url, method string, params ...any) json.RawMessage {
	t.Helper()
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(url, "application/json", bytes.NewReader(body)) //nolint:noctx // a test's own chain
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	var answer struct {
		Result json.RawMessage
		Error  *struct{ Message string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Error != nil {
		t.Fatalf("%s: %v %v", method, err, answer.Error)
	}
	return answer.Result
}

func fund(t *testing.T, chainURL string, p *process) {
	t.Helper()
	me, err := p.client().Me(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rpc(t, chainURL, "emet_fund", me.Identity)
}

// answer is what REST said.
type answer struct {
	status int
	kind   string // content type
	body   string
}

func ask(t *testing.T, c *client.Client, method, path, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.Key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header.Get("Content-Type"), string(b)}
}

func (a answer) says(t *testing.T, status int, pieces ...string) {
	t.Helper()
	if a.status != status {
		t.Errorf("status %d, want %d: %s", a.status, status, a.body)
	}
	for _, p := range pieces {
		if !strings.Contains(a.body, p) {
			t.Errorf("it does not say %q: %s", p, a.body)
		}
	}
}

func allocation(amount string) string {
	return fmt.Sprintf(`{"totalAmount":%q,"makeDeposit":false,"timeout":%q,"paymentPlatform":"erc20-hoodi-tglm"}`,
		amount, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

func TestABusyPortIsNamed(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // a test's own
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	emet(t, nil, "up", "-d", t.TempDir(), "--listen", "http://"+addr).says(t, 1, addr, "in use", "another port", "--listen")
	emet(t, nil, "dev", "--port", port).says(t, 1, addr, "in use", "another port")
	emet(t, nil, "devchain", "--listen", addr).says(t, 1, addr, "in use", "another address", "--listen")
	emet(t, nil, "up", "-d", t.TempDir(), "--listen", "http://127.0.0.1:0", "--net-listen", "/ip4/127.0.0.1/tcp/"+port).says(t, 1, addr, "in use", "other addresses", "--net-listen")
}

func TestADirectoryHasOneDaemon(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := node(t, dir, nil)
	r := emet(t, []string{"EMET_NET_LISTEN=" + loopback(built.Port(t))}, "up", "--no-provider", "-d", dir, "--listen", "http://127.0.0.1:0")
	r.says(t, 1, dir, fmt.Sprint(first.cmd.Process.Pid), "stop the other one", "-d")
	if r.took > least { // it does not wait for the other one
		t.Errorf("it took %s", r.took)
	}
	if _, err := first.client().Me(t.Context()); err != nil {
		t.Errorf("the first one is disturbed: %v", err)
	}
}

func TestADamagedLogIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := node(t, dir, nil)
	for i := range 5 {
		ask(t, p.client(), "POST", "/market-api/v1/demands", fmt.Sprintf(`{"properties":{"golem.x":%d},"constraints":"(&)"}`, i)).says(t, 201)
	}
	p.signal(syscall.SIGTERM)
	p.ended(10 * time.Second)
	files, err := filepath.Glob(filepath.Join(dir, "store", "seg", "*.elog"))
	if err != nil || len(files) == 0 {
		t.Fatal("no segment", err)
	}
	log, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(log, []byte("demand.published.v1"))
	if at < 0 {
		t.Fatal("the log is not readable as it was")
	}
	log[at+3] ^= 0x01
	if err := os.WriteFile(files[0], log, 0o600); err != nil {
		t.Fatal(err)
	}
	r := emet(t, []string{"EMET_NET_LISTEN=" + loopback(built.Port(t))}, "up", "--no-provider", "-d", dir, "--listen", "http://127.0.0.1:0")
	r.says(t, 1, filepath.Base(files[0]), "position", "emet store verify", "backup")
	if now, _ := os.ReadFile(files[0]); !bytes.Equal(now, log) {
		t.Error("the damaged file was changed")
	}
}

func TestAChainThatIsDown(t *testing.T) {
	t.Parallel()
	c := chain(t, "hoodi")
	p := node(t, t.TempDir(), []string{"HOODI_GETH_ADDR=" + c.said["hoodi"]})
	fund(t, c.said["hoodi"], p)
	c.signal(syscall.SIGTERM)
	c.ended(10 * time.Second)
	a := ask(t, p.client(), "POST", "/payment-api/v1/allocations", allocation("1"))
	a.says(t, 500, "hoodi")
	if a.kind != "application/problem+json" {
		t.Errorf("content type %s", a.kind)
	}
	ask(t, p.client(), "GET", "/me", "").says(t, 200)
	ask(t, p.client(), "GET", "/payment-api/v1/allocations", "").says(t, 200, "[]")
	c.again()
	eventually(t, 20*time.Second, "an allocation when the chain is back", func() bool {
		return ask(t, p.client(), "POST", "/payment-api/v1/allocations", allocation("1")).status == 201
	})
}

func TestAnotherChainBehindTheURL(t *testing.T) {
	t.Parallel()
	c := chain(t, "holesky")
	target, err := url.Parse(c.said["holesky"])
	if err != nil {
		t.Fatal(err)
	}
	var sent atomic.Int32
	spy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if bytes.Contains(b, []byte("sendRawTransaction")) {
			sent.Add(1)
		}
		r.Body = io.NopCloser(bytes.NewReader(b))
		r.URL.Path = ""
		httputil.NewSingleHostReverseProxy(target).ServeHTTP(w, r)
	}))
	defer spy.Close()
	p := node(t, t.TempDir(), []string{"HOODI_GETH_ADDR=" + spy.URL})
	fund(t, c.said["holesky"], p)
	ask(t, p.client(), "POST", "/payment-api/v1/allocations", allocation("1")).says(t, 500, "hoodi", "chain", "17000", "560048")
	eventually(t, 20*time.Second, "a warning at the start", func() bool {
		return strings.Contains(p.out.String(), `level=WARN msg="a payment network cannot be used now" network=hoodi`)
	})
	ask(t, p.client(), "GET", "/me", "").says(t, 200)
	if sent.Load() != 0 {
		t.Error("a transaction was sent to the wrong chain")
	}
}

func TestRequestsThatCannotBe(t *testing.T) {
	t.Parallel()
	c := chain(t, "hoodi")
	p := node(t, t.TempDir(), []string{"HOODI_GETH_ADDR=" + c.said["hoodi"]})
	fund(t, c.said["hoodi"], p)
	rest := p.client()
	ask(t, rest, "POST", "/payment-api/v1/allocations", allocation("100")).says(t, 201)
	ask(t, rest, "POST", "/payment-api/v1/allocations", allocation("5000")).says(t, 400, "Requested: 5000", "available: 900", "reserved by other allocations: 100")
	ask(t, rest, "POST", "/payment-api/v1/allocations", strings.Replace(allocation("1"), "hoodi", "moon", 1)).says(t, 400, "moon", "hoodi")
	ask(t, rest, "POST", "/payment-api/v1/allocations", allocation("-1")).says(t, 400)
	ask(t, rest, "POST", "/payment-api/v1/allocations", `{"totalAmount":`).says(t, 400)
	wrong := &client.Client{URL: rest.URL, Key: "wrong"}
	ask(t, wrong, "GET", "/market-api/v1/demands", "").says(t, 401)
	ask(t, &client.Client{URL: rest.URL}, "GET", "/me", "").says(t, 401)
	ask(t, rest, "POST", "/market-api/v1/demands", `not json`).says(t, 400)
	ask(t, rest, "POST", "/market-api/v1/demands", `{"properties":{}}`).says(t, 400)
	// A constraint that cannot be read is a demand that matches nothing.
	ask(t, rest, "POST", "/market-api/v1/demands", `{"properties":{},"constraints":"(&(golem.runtime.name="}`).says(t, 201)
	ask(t, rest, "POST", "/market-api/v1/agreements/"+strings.Repeat("0", 64)+"/terminate", `{"message":"x"}`).says(t, 404)
	ask(t, rest, "GET", "/activity-api/v1/activity/"+strings.Repeat("0", 32)+"/state", "").says(t, 404)
	ask(t, rest, "GET", "/no/such/route", "").says(t, 404)
}

// What the operator closed stays closed, whatever starts in between.
func TestADisabledProviderStaysDisabled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	up := func(args ...string) *process {
		t.Helper()
		return begin(t, []string{"EMET_NET_LISTEN=" + loopback(built.Port(t))}, append([]string{
			"up", "-d", dir, "--listen", fmt.Sprintf("http://127.0.0.1:%d", built.Port(t)),
		}, args...)...)
	}
	state := func(want string) {
		t.Helper()
		if r := emet(t, nil, "provider", "status", "-d", dir, "--json"); !strings.Contains(r.stdout, `"state": "`+want+`"`) {
			t.Fatalf("want %s: %s%s", want, r.stdout, r.stderr)
		}
	}
	stop := func(p *process) {
		p.signal(syscall.SIGINT)
		<-p.over
	}
	p := up()
	state("enabled")
	stop(p)
	p = up("--no-provider")
	state("disabled")
	stop(p)
	p = up()
	state("enabled")
	emet(t, nil, "provider", "disable", "-d", dir)
	stop(p)
	stop(up("--no-provider"))
	p = up()
	state("disabled")
	if !strings.Contains(p.out.String(), "emet provider enable") {
		t.Errorf("nobody is told:\n%s", p.out)
	}
	emet(t, nil, "provider", "enable", "-d", dir)
	stop(p)
	p = up()
	state("enabled")
	stop(p)
}
