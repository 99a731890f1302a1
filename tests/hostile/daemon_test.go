package hostile

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emet-node/emet/api/client"
	"github.com/emet-node/emet/api/client/rent"
	"github.com/emet-node/emet/tests/built"
)

// daemon is `emet dev` as a process of its own.
type daemon struct {
	dir, url, key string
	pid           int
	stderr        *journal
	stop          func()
}

func startDaemon(t *testing.T) *daemon {
	t.Helper()
	d := &daemon{dir: filepath.Join(t.TempDir(), "data"), stderr: &journal{}}
	cmd := exec.Command(built.Emet.Path(), "dev", "--port", "0", "-d", d.dir)
	cmd.Env = built.Env("EMET_LOG_LEVEL=debug", "XDG_DATA_HOME="+t.TempDir(), "XDG_RUNTIME_DIR="+t.TempDir())
	cmd.Stderr = d.stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.pid = cmd.Process.Pid
	d.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		done := make(chan struct{})
		go func() { _ = cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			t.Error("the daemon did not stop")
		}
	})
	t.Cleanup(d.stop)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := strings.TrimPrefix(lines.Text(), "export ")
		if url, ok := strings.CutPrefix(line, "YAGNA_API_URL="); ok {
			d.url = url
		} else if key, ok := strings.CutPrefix(line, "YAGNA_APPKEY="); ok {
			d.key = key
		} else if line == "READY" {
			go io.Copy(io.Discard, out) //nolint:errcheck // it is a pipe
			return d
		}
	}
	t.Fatalf("not ready:\n%s", d.stderr)
	return nil
}

// relatives are all processes that the daemon started, and itself.
func (d *daemon) relatives() (pids []string) {
	stats, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range stats {
		if b, err := os.ReadFile(f); err == nil && bytes.HasPrefix(b, []byte(built.Emet.Path())) {
			pids = append(pids, filepath.Base(filepath.Dir(f)))
		}
	}
	return pids
}

func canary() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return "canary" + hex.EncodeToString(b[:])
}

// Secrets are where they belong after a whole deal, and nowhere else; nobody
// but the owner can open any file of the node.
func TestSecretsStayAtHome(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	env, arg, url, large := canary(), canary(), canary(), canary()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	c := &client.Client{URL: d.url, Key: d.key}
	pool, err := rent.Open(ctx, c, "canary", rent.Wish{Image: built.Serve(t, built.Echo), Budget: "1", Lifetime: 10 * time.Minute}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	m, err := pool.Rent(ctx)
	if err != nil {
		t.Fatalf("%v\n%s", err, tail(d.stderr.String()))
	}
	// The program prints what it was given, a lot of it too.
	if _, err := m.Do(ctx, rent.Run("echo", []string{"-env"}, map[string]string{"SECRET": env})); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Do(ctx, rent.Run("echo", append([]string{arg}, slices.Repeat([]string{large}, 3000)...), nil)); err != nil {
		t.Fatal(err)
	}
	from := strings.Replace(strings.SplitN(built.Serve(t, built.Echo), ":", 4)[3], "://", "://user:"+url+"@", 1) + "?token=" + url
	if _, err := m.Do(ctx, rent.Transfer(from, "container:"+rent.In+"/file")); err != nil {
		t.Logf("transfer: %v", err)
	}
	for _, query := range []string{"?authToken=" + d.key, ""} {
		r, _ := http.NewRequestWithContext(ctx, http.MethodGet, d.url+"/me"+query, nil)
		if query == "" {
			r.Header.Set("Authorization", "Bearer "+d.key)
		}
		if resp, err := http.DefaultClient.Do(r); err == nil {
			_ = resp.Body.Close()
		}
	}
	secrets := map[string]string{"app-key": d.key, "variable of a guest": env, "argument of a guest": arg, "long output": large, "URL": url}
	pids := d.relatives()
	if len(pids) < 2 { // the daemon and the exe-unit; a runtime lives as long as its program
		t.Errorf("processes %v, want at least two", pids)
	}
	for _, pid := range pids {
		for _, f := range []string{"cmdline", "environ"} {
			b, _ := os.ReadFile("/proc/" + pid + "/" + f)
			for what, secret := range secrets {
				if bytes.Contains(b, []byte(secret)) {
					t.Errorf("%s is in /proc/%s/%s", what, pid, f)
				}
			}
		}
	}
	if err := m.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(pool.AwaitInvoices(ctx), pool.AwaitSettled(ctx)); err != nil {
		t.Fatal(err)
	}
	d.stop()
	key := identityKeys(t, d)
	for i, k := range key {
		secrets[fmt.Sprint("identity key ", i)] = k
	}
	d.search(t, secrets)
	for what, secret := range secrets {
		if strings.Contains(d.stderr.String(), secret) {
			t.Errorf("%s was logged:\n%s", what, grep(d.stderr.String(), secret))
		}
	}
}

// identityKeys cannot be known from outside: they only exist encrypted. What
// is looked for is the key material of the vault and of the keystore.
func identityKeys(t *testing.T, d *daemon) (out []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(d.dir, "secrets", "host.key"))
	if err == nil && len(b) >= 32 {
		out = append(out, strings.TrimSpace(string(b)))
	}
	return out
}

// search looks into every file for secrets in any usual spelling.
func (d *daemon) search(t *testing.T, secrets map[string]string) {
	t.Helper()
	err := filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(d.dir, path)
		info, err := e.Info()
		if err != nil {
			return err
		}
		open := info.Mode().Perm() & 0o077
		if info.Mode()&os.ModeSocket == 0 && open != 0 {
			t.Errorf("%s is %s: others may open it", rel, info.Mode())
		}
		if !e.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for what, secret := range secrets {
			if atHome(rel, what) {
				continue
			}
			for how, form := range map[string]string{
				"plain": secret, "base64": base64.StdEncoding.EncodeToString([]byte(secret))[:16], "hex": hex.EncodeToString([]byte(secret)),
			} {
				if bytes.Contains(b, []byte(form)) {
					t.Errorf("%s is in %s (%s)", what, rel, how)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// atHome says where a secret may be: keys in the secrets, what a requestor
// told its guest in the work directory of that guest.
func atHome(path, what string) bool {
	switch top, _, _ := strings.Cut(path, "/"); top {
	case "secrets":
		return what == "app-key" || strings.HasPrefix(what, "identity key")
	case "exe-unit":
		return what != "app-key" && !strings.HasPrefix(what, "identity key")
	}
	return false
}

// Pages of other sites, rebound names and slow clients get nothing.
func TestABrowserIsNotTrusted(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	host := strings.TrimPrefix(d.url, "http://")
	ask := func(method, path string, head map[string]string) (int, http.Header) {
		r, err := http.NewRequestWithContext(t.Context(), method, d.url+path, strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range head {
			if k == "Host" {
				r.Host = v
			} else {
				r.Header.Set(k, v)
			}
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
		_ = resp.Body.Close()
		return resp.StatusCode, resp.Header
	}
	auth := "Bearer " + d.key
	for _, c := range []struct {
		name, method, path string
		head               map[string]string
		want               int
	}{
		{"the owner", "GET", "/me", map[string]string{"Authorization": auth}, 200},
		{"by a docker name", "GET", "/me", map[string]string{"Authorization": auth, "Host": "emet.docker"}, 200},
		{"rebound, key-less", "GET", "/version/get", map[string]string{"Host": "evil.example"}, 403},
		{"rebound page", "GET", "/me", map[string]string{"Authorization": auth, "Host": "evil.example", "Origin": "http://evil.example"}, 403},
		{"other site", "GET", "/me", map[string]string{"Authorization": auth, "Origin": "https://evil.example"}, 403},
		{"null origin", "GET", "/me", map[string]string{"Authorization": auth, "Origin": "null"}, 403},
		{"simple POST", "POST", "/payment-api/v1/allocations", map[string]string{"Origin": "https://evil.example", "Content-Type": "text/plain"}, 403},
		{"no-cors POST", "POST", "/payment-api/v1/allocations", map[string]string{"Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"}, 403},
		{"key in a URL", "GET", "/me?authToken=" + d.key, nil, 401},
		{"key in the URL of a POST", "POST", "/market-api/v1/demands?authToken=" + d.key, nil, 401},
		{"cookie", "GET", "/me", map[string]string{"Cookie": "authToken=" + d.key}, 401},
		{"basic", "GET", "/me", map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(":"+d.key))}, 401},
		{"before routing", "GET", "/no/such/route", nil, 401},
		{"no key, dotted", "GET", "/version/get/../../me", nil, 404},
		{"no key, escaped", "GET", "/version%2Fget", nil, 401},
		{"bridge to the node's own services", "POST", "/_gsb/local/identity/GetKeyFile", map[string]string{"Authorization": auth}, 404},
	} {
		if got, h := ask(c.method, c.path, c.head); got != c.want || c.want == 403 && h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %d, want %d %v", c.name, got, c.want, h)
		}
	}
	if got, h := ask("OPTIONS", "/me", map[string]string{"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}); got == 200 || h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("preflight of a stranger: %d %v", got, h)
	}
	d.slow(t, host)
	if got, _ := ask("GET", "/me", map[string]string{"Authorization": auth}); got != 200 {
		t.Errorf("afterwards: %d", got)
	}
}

// slow keeps many connections half open, sends huge heads and bodies, and
// leaves streams unread.
func (d *daemon) slow(t *testing.T, host string) {
	t.Helper()
	dial := func(text string) net.Conn {
		c, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_, _ = io.WriteString(c, text)
		return c
	}
	var idle []net.Conn
	for range 200 {
		idle = append(idle, dial("GET /me HTTP/1.1\r\nHost: localhost\r\nX-Slow: "))
	}
	for range 300 {
		dial("GET /market-api/v1/demands/" + strings.Repeat("a", 32) + "-" + strings.Repeat("b", 64) + "/events?timeout=300 HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nAuthorization: Bearer " + d.key + "\r\n\r\n")
	}
	status := func(c net.Conn) string {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			return err.Error()
		}
		return strings.TrimSpace(line)
	}
	for name, text := range map[string]string{
		"long header":  "GET /me HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 60<<10) + "\r\n\r\n",
		"many headers": "GET /me HTTP/1.1\r\nHost: localhost\r\n" + strings.Repeat("X: y\r\n", 400) + "\r\n",
		"long line":    "GET /me?" + strings.Repeat("x", 60<<10) + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
	} {
		if got := status(dial(text)); !strings.Contains(got, " 431") && !strings.Contains(got, " 414") && !strings.Contains(got, " 400") {
			t.Errorf("%s: %s", name, got)
		}
	}
	body := dial("POST /market-api/v1/demands HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + d.key + "\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n" + strings.Repeat(" ", 3<<20))
	if got := status(body); !strings.Contains(got, " 413") {
		t.Errorf("huge body: %s", got)
	}
	until := time.Now().Add(patience)
	for _, c := range idle {
		_ = c.SetReadDeadline(until)
		if b, err := io.ReadAll(c); err != nil {
			t.Fatalf("a half-sent request is waited for more than %v: %q %v", patience, b, err)
		}
	}
}
