package rest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/api/gsb"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/eventschemas"
)

// countedBook counts the cursors that are open.
type countedBook struct {
	Book
	open *atomic.Int64
}

type countedCursor struct {
	Cursor
	open *atomic.Int64
}

func (b countedBook) Scan(constraints string) (Cursor, error) {
	c, err := b.Book.Scan(constraints)
	if err != nil {
		return nil, err
	}
	b.open.Add(1)
	return countedCursor{c, b.open}, nil
}

func (c countedCursor) Close() {
	c.open.Add(-1)
	c.Cursor.Close()
}

// A scan that is refused follows nothing, and one tenant cannot have all scans.
func TestScansOfATenantAreBounded(t *testing.T) {
	t.Parallel()
	var open atomic.Int64
	w := newWorld(t, func(d *Deps) { d.Market.Book = countedBook{d.Market.Book, &open} })
	begin := func(key string) int {
		return ask(t, w.url, "POST", "/market-api/v1/scan", `{"type":"offer"}`, isJSONBody, "Authorization: Bearer "+key).status
	}
	for i := range maxScansOfOne {
		if got := begin("alice"); got != http.StatusCreated {
			t.Fatalf("scan %d: %d", i, got)
		}
	}
	for range 5 {
		if got := begin("alice"); got != http.StatusBadRequest {
			t.Fatalf("one too many: %d", got)
		}
	}
	if got := open.Load(); got != maxScansOfOne {
		t.Errorf("%d cursors are open for %d scans", got, maxScansOfOne)
	}
	if got := begin("bob"); got != http.StatusCreated {
		t.Errorf("another tenant: %d", got)
	}
}

// Who has no key opens no moment of the past: that costs much, and there are
// few of them.
func TestThePastIsForKeys(t *testing.T) {
	t.Parallel()
	store, opened := memory.New(), 0
	deps := Deps{Keys: someKeys, Log: &es.Log{Store: store, Codec: eventschemas.New()}, Files: gsb.New(nil), Net: testNet{}}
	deps.Past = func(context.Context, es.Moment) (Deps, func(), error) { opened++; return deps, func() {}, nil }
	e := es.NewEvent{ID: es.EventID("a-1", "1", 0), Type: "a.b.v1", Data: []byte("{}"), Meta: []byte("{}")}
	if _, err := store.Append(t.Context(), nil, es.Write{Stream: "a-1", Expected: es.Any, Events: []es.NewEvent{e}}); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(New(Config{}, deps))
	t.Cleanup(srv.Close)
	for _, path := range []string{"/dashboard", "/dashboard/x", "/version/get", "/metrics-api/v1/expose", "/metrics-apix"} {
		if got := ask(t, srv.URL, "GET", path+"?asOf=0", ""); got.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	if opened != 0 {
		t.Errorf("%d moments were opened", opened)
	}
}

// longMe is a key with a long name, so that an answer about it is long.
type longMe struct {
	Keys
	name string
}

func (l longMe) Find(string) (Key, bool) {
	return Key{ID: "k", Name: l.name, Identity: "0xa", Role: identity.RoleManager}, true
}

func impatient(t *testing.T, idle, stall time.Duration) string {
	t.Helper()
	deps := Deps{Keys: longMe{someKeys, strings.Repeat("x", 64<<20)}, Log: &es.Log{Store: memory.New(), Codec: eventschemas.New()}, Files: gsb.New(nil), Net: testNet{}}
	srv := httptest.NewServer(New(Config{BodyIdle: idle, WriteStall: stall}, deps))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

func dialled(t *testing.T, addr, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

// A body that stands still ends the connection, whoever was to read it.
func TestABodyThatStandsStillIsGivenUp(t *testing.T) {
	t.Parallel()
	addr := impatient(t, 300*time.Millisecond, patience)
	for name, head := range map[string]string{
		"nobody reads it": "POST /market-api/v1/demands", "a handler reads it": "POST /market-api/v1/demands HTTP/1.1\r\nContent-Type: application/json\r\nAuthorization: Bearer alice",
		"of a GET": "GET /version/get",
	} {
		if !strings.Contains(head, "HTTP/") {
			head += " HTTP/1.1"
		}
		c := dialled(t, addr, head+"\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, c); err != nil {
			var late net.Error
			if errors.As(err, &late) && late.Timeout() {
				t.Errorf("%s: the connection is kept", name)
			}
		}
	}
}

// One that comes slowly, but comes, is read.
func TestASlowBodyIsRead(t *testing.T) {
	t.Parallel()
	c := dialled(t, impatient(t, 8*time.Second, patience), "POST /market-api/v1/demands HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAuthorization: Bearer alice\r\nContent-Length: 8\r\n\r\n")
	for range 8 {
		time.Sleep(1100 * time.Millisecond) // longer than is waited for, all together
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, " 400 ") {
		t.Errorf("%q, %v", line, err)
	}
}

// An answer that nobody takes is not kept for whoever asked for it.
func TestAnAnswerThatNobodyTakesIsGivenUp(t *testing.T) {
	t.Parallel()
	const stall = 4 * time.Second
	addr := impatient(t, patience, stall)
	const ask = "GET /me HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer alice\r\n\r\n"
	c := dialled(t, addr, ask)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); err != nil { // it begins
		t.Fatal(err)
	}
	time.Sleep(3 * stall) // and is given up
	if n, _ := io.Copy(io.Discard, c); n == 0 || n >= 64<<20 {
		t.Errorf("%d bytes came after a pause", n)
	}
	c = dialled(t, addr, ask)
	if n, err := io.Copy(io.Discard, c); err != nil || n < 64<<20 {
		t.Errorf("who reads gets %d bytes, %v", n, err)
	}
}
