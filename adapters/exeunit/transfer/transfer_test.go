package transfer_test

import (
	"bytes"
	"context"
	"crypto/sha3"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/exeunit/transfer"
)

func TestContainerPaths(t *testing.T) {
	t.Parallel()
	vols := []transfer.Volume{{Path: "/in/dst", Dir: "vol-1"}, {Path: "/in", Dir: "vol-2"}, {Path: "/out", Dir: "vol-3"}, {Path: "/out/bin", Dir: "vol-4"}}
	for path, want := range map[string]string{
		"/in/task.json": "vol-2/task.json",
		"/in/dst/a":     "vol-1/a",
		"/out/b/x":      "vol-3/b/x",
		"/out/bin/sh":   "vol-4/sh",
		"/in":           "vol-2/.",
		"/in/a%20b":     "vol-2/a b",
		"/in/100%":      "vol-2/100%",
		// What may not be.
		"/outs/x": "", "/in//x": "", "/in/../etc/x": "", "/in/..%2f..%2fetc/x": "", "/in/%2e%2e/x": "",
		"/in/./x": "", "/etc/passwd": "", "in/x": "", "": "", "/in/a%00b": "", "/in/..": "", "/in/a/": "",
		"/in/%252e%252e/x": "vol-2/%2e%2e/x",
	} {
		v, rest, err := transfer.Resolve(vols, path)
		got := ""
		if err == nil {
			got = v.Dir + "/" + rest
		}
		if got != want {
			t.Errorf("%q: %q, %v", path, got, err)
		}
	}
	all := []transfer.Volume{{Path: "", Dir: "."}}
	if _, rest, err := transfer.Resolve(all, "/a/b"); err != nil || rest != "a/b" {
		t.Errorf("a volume at the root: %q, %v", rest, err)
	}
}

func TestHashReferences(t *testing.T) {
	t.Parallel()
	for _, ok := range []string{"hash:alg:ff00:http://h", "hash://alg:0xff00:http://h", "HASH://alg:0xFF00:http://h"} {
		if r, err := transfer.ParseRef(ok); err != nil || hex.EncodeToString(r.Digest) != "ff00" || r.URL != "http://h" {
			t.Errorf("%s: %+v, %v", ok, r, err)
		}
	}
	for _, bad := range []string{"", "hash:", "hash::val", "hash:alg:val", "hash:alg:0f0f:", "http:", "http://", "hash:sha3:abc:http://h"} {
		if _, err := transfer.ParseRef(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestPrivateAddressesAreOutOfReach(t *testing.T) {
	t.Parallel()
	for addr, ok := range map[string]bool{
		"93.184.216.34:443": true, "[2606:4700::1111]:443": true,
		"127.0.0.1:80": false, "127.8.9.1:80": false, "10.1.2.3:80": false, "192.168.1.1:80": false, "172.20.0.1:80": false,
		"169.254.169.254:80": false, "100.100.1.1:80": false, "0.0.0.0:80": false, "255.255.255.255:80": false, "224.0.0.1:80": false,
		"[::1]:80": false, "[::]:80": false, "[::ffff:127.0.0.1]:80": false, "[::ffff:169.254.169.254]:80": false,
		"[fe80::1%eth0]:80": false, "[fd00::1]:80": false, "[64:ff9b::7f00:1]:80": false, "[2002:7f00:1::]:80": false, "[::127.0.0.1]:80": false,
		"93.184.216.34:25": false, "93.184.216.34:22": false,
	} {
		if err := transfer.CheckAddr(netip.MustParseAddrPort(addr), false); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if err := transfer.CheckAddr(netip.MustParseAddrPort("127.0.0.1:8080"), true); err != nil {
		t.Errorf("in development: %v", err)
	}
}

func mover(t *testing.T, allow bool) (*transfer.Mover, string) {
	t.Helper()
	dir := t.TempDir()
	return &transfer.Mover{Volumes: []transfer.Volume{{Path: "/v", Dir: dir}}, Client: transfer.NewClient(allow)}, dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHTTPBothWays(t *testing.T) {
	t.Parallel()
	var put string
	fails := 1
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, pass, _ := r.BasicAuth()
		switch {
		case r.URL.Path == "/flaky" && fails > 0:
			fails--
			w.WriteHeader(http.StatusBadGateway)
		case r.URL.Path == "/missing":
			w.WriteHeader(http.StatusNotFound)
		case r.Method == http.MethodPut:
			b, _ := io.ReadAll(r.Body)
			put = fmt.Sprintf("%s:%s:%s", user, pass, b)
		default:
			fmt.Fprint(w, "content")
		}
	}))
	defer s.Close()
	m, dir := mover(t, true)
	m.Retry = []time.Duration{time.Millisecond}
	write(t, filepath.Join(dir, "a"), "older and longer content")
	for _, path := range []string{"/a", "/flaky"} {
		moved, err := m.Copy(t.Context(), s.URL+path+"?token=secret", "container:/v/a", nil)
		if err != nil || moved.Bytes != 7 || moved.SHA3 != fmt.Sprintf("%x", sha3.Sum256([]byte("content"))) || strings.Contains(moved.From, "secret") {
			t.Fatalf("%+v, %v", moved, err)
		}
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "a")); string(b) != "content" {
		t.Errorf("%q: what was there before shows through", b)
	}
	to := strings.Replace(s.URL, "http://", "http://user:pass@", 1) + "/up"
	if moved, err := m.Copy(t.Context(), "/v/a", to, nil); err != nil || put != "user:pass:content" || strings.Contains(moved.To, "pass") {
		t.Errorf("put %q, %+v, %v", put, moved, err)
	}
	if _, err := m.Copy(t.Context(), s.URL+"/missing", "container:/v/b", nil); err == nil {
		t.Error("a 404 is content")
	}
	if _, err := os.Stat(filepath.Join(dir, "b")); err == nil {
		t.Error("a failed transfer left a file")
	}
}

func TestAFetchStaysOutside(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("reached") }))
	defer s.Close()
	m, _ := mover(t, false)
	for _, from := range []string{s.URL, strings.Replace(s.URL, "127.0.0.1", "localhost", 1), strings.Replace(s.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1)} {
		if _, err := m.Copy(t.Context(), from, "container:/v/a", nil); !errors.Is(err, transfer.ErrEgress) {
			t.Errorf("%s: %v", from, err)
		}
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	var auth string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { auth = r.Header.Get("Authorization") }))
	defer other.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		default:
			http.Redirect(w, r, other.URL, http.StatusFound)
		}
	}))
	defer s.Close()
	m, _ := mover(t, true)
	if _, err := m.Copy(t.Context(), strings.Replace(s.URL, "//", "//u:p@", 1)+"/away", "/v/a", nil); err != nil || auth != "" {
		t.Errorf("credentials %q went along, %v", auth, err)
	}
	for _, path := range []string{"/loop", "/file"} {
		if _, err := m.Copy(t.Context(), s.URL+path, "/v/a", nil); !errors.Is(err, transfer.ErrEgress) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestLinksDoNotLeadOut(t *testing.T) {
	t.Parallel()
	m, dir := mover(t, false)
	outside := t.TempDir()
	write(t, filepath.Join(outside, "secret"), "secret")
	for name, target := range map[string]string{"abs": filepath.Join(outside, "secret"), "up": "../../../../etc/passwd", "dir": outside, "proc": "/proc/self/environ"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"/v/abs", "/v/up", "/v/dir/secret", "/v/proc", "/v/fifo", "/v"} {
		if _, err := m.Copy(t.Context(), from, "/v/copy", nil); err == nil {
			t.Errorf("%s was read", from)
		}
	}
	write(t, filepath.Join(dir, "mine"), "mine")
	for _, to := range []string{"/v/dir/new", "/v/dir/secret"} {
		if _, err := m.Copy(t.Context(), "/v/mine", to, nil); err == nil {
			t.Errorf("%s was written", to)
		}
	}
	if b, _ := os.ReadFile(filepath.Join(outside, "secret")); string(b) != "secret" {
		t.Errorf("outside is now %q", b)
	}
}

// files is a requestor's side of gftp.
type files struct {
	content  []byte
	up       bytes.Buffer
	finished string
}

func (f *files) Metadata(context.Context, string, string) (int64, error) {
	return int64(len(f.content)), nil
}

func (f *files) Chunk(_ context.Context, node, file string, off, size int64) ([]byte, error) {
	if off >= int64(len(f.content)) {
		return nil, errors.New("asked beyond the end")
	}
	return f.content[off:min(off+size, int64(len(f.content)))], nil
}

func (f *files) Upload(_ context.Context, _, _ string, off int64, p []byte) error {
	if off != int64(f.up.Len()) || len(p) > 40960 || f.finished != "" {
		return fmt.Errorf("chunk of %d at %d after %d", len(p), off, f.up.Len())
	}
	f.up.Write(p)
	return nil
}

func (f *files) UploadFinished(_ context.Context, _, _, hash string) error {
	f.finished = hash
	return nil
}

func TestGFTPBothWays(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 40960, 40961, 600_000} {
		f := &files{content: bytes.Repeat([]byte("0123456789"), size/10+1)[:size]}
		m, dir := mover(t, false)
		m.Files = f
		if _, err := m.Copy(t.Context(), "gftp://0xabc/id", "container:/v/sub/f", nil); err != nil {
			t.Fatal(size, err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "sub", "f")); err != nil || !bytes.Equal(b, f.content) {
			t.Errorf("%d: %d bytes, %v", size, len(b), err)
		}
		moved, err := m.Copy(t.Context(), "container:/v/sub/f", "gftp://0xabc/up", nil)
		if err != nil || f.finished != fmt.Sprintf("%x", sha3.Sum256(f.content)) || f.finished != moved.SHA3 || !bytes.Equal(f.up.Bytes(), f.content) {
			t.Errorf("%d: finished %q, moved %+v, %v", size, f.finished, moved, err)
		}
	}
}

func TestStorageHasAnEnd(t *testing.T) {
	t.Parallel()
	m, dir := mover(t, false)
	m.Files = &files{content: make([]byte, 5000)}
	m.Room = func() int64 { return 4999 }
	if _, err := m.Copy(t.Context(), "gftp://0xa/b", "/v/f", nil); !errors.Is(err, transfer.ErrNoRoom) {
		t.Error(err)
	}
	if list, _ := os.ReadDir(dir); len(list) != 0 {
		t.Errorf("left behind: %v", list)
	}
}

func TestImagesAreVerifiedAndKept(t *testing.T) {
	t.Parallel()
	image, hits := []byte("\x00asm....."), 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { hits++; _, _ = w.Write(image) }))
	defer s.Close()
	m, _ := mover(t, true)
	dir := t.TempDir()
	ref := fmt.Sprintf("hash:sha3:%x:%s/i", sha3.Sum224(image), s.URL)
	get := func(c *transfer.Cache) (string, error) {
		p, _, err := c.Image(t.Context(), m, ref, nil)
		return p, err
	}
	first := &transfer.Cache{Dir: dir}
	path, err := get(first)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o400 {
		t.Errorf("mode %s", info.Mode())
	}
	if _, err := get(first); err != nil || hits != 1 {
		t.Errorf("%d downloads, %v", hits, err)
	}
	// Somebody changes the file; the next process notices.
	_ = os.Chmod(path, 0o600)
	write(t, path, "something else")
	if p, err := get(&transfer.Cache{Dir: dir}); err != nil || hits != 2 {
		t.Errorf("%d downloads, %v", hits, err)
	} else if b, _ := os.ReadFile(p); !bytes.Equal(b, image) {
		t.Errorf("the image is %q", b)
	}
	wrong := fmt.Sprintf("hash:sha3:%x:%s/i", sha3.Sum224([]byte("x")), s.URL)
	if _, _, err := first.Image(t.Context(), m, wrong, nil); !errors.Is(err, transfer.ErrHash) {
		t.Errorf("a wrong hash: %v", err)
	}
	for _, bad := range []string{"http://h/i", "hash:md5:ff:" + s.URL, "hash:sha3:ff:" + s.URL, fmt.Sprintf("hash:sha3:%x:file:///etc/passwd", sha3.Sum224(image)) + "x"} {
		if _, _, err := (&transfer.Cache{Dir: t.TempDir()}).Image(t.Context(), m, bad, nil); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func FuzzResolve(f *testing.F) {
	for _, s := range []string{"/v/a", "/v/..%2fx", "/v//x", "/v/%2e%2e/%2e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		v, rest, err := transfer.Resolve([]transfer.Volume{{Path: "/v", Dir: "/d"}}, p)
		if err == nil && (v.Dir != "/d" || !filepath.IsLocal(rest)) {
			t.Fatalf("%q leads to %q", p, rest)
		}
	})
}
