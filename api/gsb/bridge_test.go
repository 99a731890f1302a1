package gsb_test

import (
	"bytes"
	"context"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/emet-node/emet/api/gsb"
	"github.com/emet-node/emet/api/gsb/client"
	"github.com/emet-node/emet/api/gsb/flex"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

// patience is how long something is waited for that a busy machine does late.
const patience = 2 * time.Minute

const me = identity.NodeID("0x00000000000000000000000000000000000000aa")

var owner = gsb.Owner{Identity: me, Key: "k1"}

// serve is the least that a client of the bridge needs of a node.
func serve(t *testing.T) (*gsb.Bridge, *httptest.Server) {
	t.Helper()
	b := gsb.New(nil)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /me", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"identity": string(me)})
	})
	mux.HandleFunc("POST /gsb-api/v1/services", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Listen struct {
				On         string
				Components []string
			}
		}
		_ = json.NewDecoder(r.Body).Decode(&in)
		id, err := b.Bind(owner, in.Listen.On, in.Listen.Components)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"servicesId": id})
	})
	mux.HandleFunc("DELETE /gsb-api/v1/services/{id}", func(w http.ResponseWriter, r *http.Request) {
		if err := b.Unbind(owner, r.PathValue("id")); err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
		}
	})
	mux.HandleFunc("GET /gsb-api/v1/services/{id}", func(w http.ResponseWriter, r *http.Request) {
		if err := b.Connect(owner, r.PathValue("id"), w, r); err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
		}
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(func() { _ = b.Close(); srv.Close() })
	return b, srv
}

func dial(t *testing.T, srv *httptest.Server, id string) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{gsb.Subprotocol}}
	conn, resp, err := d.Dial("ws"+strings.TrimPrefix(srv.URL, "http")+"/gsb-api/v1/services/"+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Sec-Websocket-Protocol"); got != gsb.Subprotocol {
		t.Errorf("sub-protocol %q was selected", got)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func request(t *testing.T, conn *websocket.Conn) map[string]any {
	t.Helper()
	_, frame, err := conn.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	v, err := flex.Unmarshal(frame)
	if err != nil {
		t.Fatal(err)
	}
	return v.(map[string]any)
}

func answer(t *testing.T, conn *websocket.Conn, v map[string]any) {
	t.Helper()
	b, err := flex.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.WriteMessage(websocket.BinaryMessage, b); err != nil {
		t.Fatal(err)
	}
}

func closeCode(t *testing.T, conn *websocket.Conn) int {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	for {
		_, _, err := conn.ReadMessage()
		var closed *websocket.CloseError
		if errors.As(err, &closed) {
			return closed.Code
		}
		if err != nil {
			t.Fatalf("no close frame: %v", err)
		}
	}
}

func TestAFileGoesOutPurelyOverREST(t *testing.T) {
	t.Parallel()
	b, srv := serve(t)
	content := make([]byte, 300_000)
	for i := range content {
		content[i] = byte(rand.N(256))
	}
	c := &client.Client{URL: srv.URL, AppKey: "x"}
	tr, err := c.Publish(t.Context(), bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	id := tr.URL[strings.LastIndexByte(tr.URL, '/')+1:]
	if want := "gftp://" + string(me) + "/" + id; tr.URL != want {
		t.Errorf("URL %s, want %s", tr.URL, want)
	}
	size, err := b.GetMetadata(t.Context(), me, id)
	if err != nil || size != int64(len(content)) {
		t.Fatalf("size %d, %v", size, err)
	}
	var got []byte
	for int64(len(got)) < size {
		chunk, err := b.GetChunk(t.Context(), me, id, int64(len(got)), 40960)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, chunk...)
	}
	if !bytes.Equal(got, content) {
		t.Error("content changed on the way")
	}
	if beyond, err := b.GetChunk(t.Context(), me, id, size+5, 10); err != nil || len(beyond) != 0 {
		t.Errorf("beyond the end: %d bytes, %v", len(beyond), err)
	}
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
	if _, err := b.GetMetadata(t.Context(), me, id); !errors.Is(err, gsb.ErrNoService) {
		t.Errorf("after the end: %v", err)
	}
}

func TestPiecesOfAFileArriveInOrderHoweverTheyAreSent(t *testing.T) {
	t.Parallel()
	b, srv := serve(t)
	var out bytes.Buffer
	tr, err := (&client.Client{URL: srv.URL}).Receive(t.Context(), &out)
	if err != nil {
		t.Fatal(err)
	}
	id := tr.URL[strings.LastIndexByte(tr.URL, '/')+1:]
	content := bytes.Repeat([]byte("0123456789"), 1000)
	var all sync.WaitGroup
	for _, i := range rand.Perm(10) {
		for range 2 { // every piece twice: a retry after a lost answer
			all.Go(func() {
				if err := b.UploadChunk(t.Context(), me, id, int64(i*1000), content[i*1000:(i+1)*1000]); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	if err := b.UploadFinished(t.Context(), me, id, strings.Repeat("0", 64)); !errors.Is(err, gsb.ErrFile) {
		t.Errorf("a wrong digest reached the client: %v", err)
	}
	sum := sha3.Sum256(content)
	if err := b.UploadFinished(t.Context(), me, id, hex.EncodeToString(sum[:])); err != nil {
		t.Fatal(err)
	}
	if err := tr.Err(); err != nil || !bytes.Equal(out.Bytes(), content) {
		t.Errorf("received %d bytes, %v", out.Len(), err)
	}
	_ = tr.Close()
}

func TestADigestIsNeverNull(t *testing.T) {
	t.Parallel()
	b, srv := serve(t)
	id, _ := b.Bind(owner, "/public/gftp/f", []string{"UploadChunk", "UploadFinished"})
	conn := dial(t, srv, id)
	done := make(chan error, 1)
	go func() { done <- b.UploadFinished(context.Background(), me, "f", "") }()
	req := request(t, conn)
	empty := sha3.Sum256(nil)
	if got := req["payload"].(map[string]any)["hash"]; got != hex.EncodeToString(empty[:]) {
		t.Errorf("hash of an empty file: %v", got)
	}
	answer(t, conn, map[string]any{"id": req["id"], "payload": nil})
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRequestsWaitForTheSocketInOrder(t *testing.T) {
	t.Parallel()
	b, srv := serve(t)
	id, err := b.Bind(owner, "/public/gftp/f", []string{"GetMetadata", "GetChunk"})
	if err != nil || id != "L3B1YmxpYy9nZnRwL2Y" {
		t.Fatalf("id %q, %v", id, err)
	}
	results := make(chan any, 3)
	for i := range 3 {
		go func() {
			v, err := b.Call(context.Background(), me, "/public/gftp/f", "GetChunk", map[string]any{"offset": uint64(i)})
			if err != nil {
				results <- err
				return
			}
			results <- v
		}()
		waitForQueue(t, b, i+1)
	}
	conn := dial(t, srv, id)
	for i := range 3 {
		req := request(t, conn)
		if req["component"] != "GetChunk" || req["payload"].(map[string]any)["offset"] != uint64(i) {
			t.Errorf("request %d is %v", i, req)
		}
		answer(t, conn, map[string]any{"id": req["id"], "payload": uint64(i)})
		if got := <-results; got != uint64(i) {
			t.Errorf("answer %d is %v", i, got)
		}
	}
}

// waitForQueue waits until a service holds n requests.
func waitForQueue(t *testing.T, b *gsb.Bridge, n int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for gsb.Queued(b, me, "/public/gftp/f") < n {
		if time.Now().After(deadline) {
			t.Fatalf("%d requests never came", n)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestCloseCodes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(*testing.T, *gsb.Bridge, *httptest.Server, *websocket.Conn, string)
		code int
	}{
		"text frame": {func(t *testing.T, _ *gsb.Bridge, _ *httptest.Server, c *websocket.Conn, _ string) {
			_ = c.WriteMessage(websocket.TextMessage, []byte("hi"))
		}, websocket.CloseUnsupportedData},
		"malformed answer": {func(t *testing.T, _ *gsb.Bridge, _ *httptest.Server, c *websocket.Conn, _ string) {
			_ = c.WriteMessage(websocket.BinaryMessage, []byte("garbage"))
		}, websocket.ClosePolicyViolation},
		"answer without content": {func(t *testing.T, _ *gsb.Bridge, _ *httptest.Server, c *websocket.Conn, _ string) {
			answer(t, c, map[string]any{"id": "x"})
		}, websocket.ClosePolicyViolation},
		"second socket": {func(t *testing.T, _ *gsb.Bridge, s *httptest.Server, _ *websocket.Conn, id string) {
			dial(t, s, id)
		}, websocket.ClosePolicyViolation},
		"unbound": {func(t *testing.T, b *gsb.Bridge, _ *httptest.Server, _ *websocket.Conn, id string) {
			if err := b.Unbind(owner, id); err != nil {
				t.Error(err)
			}
		}, websocket.CloseNormalClosure},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, srv := serve(t)
			id, _ := b.Bind(owner, "/public/gftp/f", []string{"GetChunk"})
			conn := dial(t, srv, id)
			c.do(t, b, srv, conn, id)
			if got := closeCode(t, conn); got != c.code {
				t.Errorf("closed with %d, want %d", got, c.code)
			}
		})
	}
}

func TestAClientThatLeavesFailsWhatItWasAsked(t *testing.T) {
	t.Parallel()
	b, srv := serve(t)
	id, _ := b.Bind(owner, "/public/gftp/f", []string{"GetMetadata"})
	conn := dial(t, srv, id)
	failed := make(chan error, 1)
	go func() {
		_, err := b.GetMetadata(context.Background(), me, "f")
		failed <- err
	}()
	request(t, conn)
	_ = conn.Close()
	if err := <-failed; !errors.Is(err, gsb.ErrGone) {
		t.Errorf("pending request: %v", err)
	}
	go func() {
		_, err := b.GetMetadata(context.Background(), me, "f")
		failed <- err
	}()
	again := dial(t, srv, id)
	req := request(t, again)
	answer(t, again, map[string]any{"id": req["id"], "error": "ReadError"})
	var refused *gsb.Refused
	if err := <-failed; !errors.As(err, &refused) || refused.Value != "ReadError" {
		t.Errorf("client's error: %v", err)
	}
}

func TestOnlyItsOwnCornerMayBeBound(t *testing.T) {
	t.Parallel()
	b := gsb.New(nil)
	for _, on := range []string{
		"", "/", "/public/payment", "/local/identity", "/public/gftp", "/public/gftp/", "/public/gftp/../payment",
		"/public/app/0x00000000000000000000000000000000000000bb/x", "/public/gftpx/1", "public/gftp/1",
	} {
		if _, err := b.Bind(owner, on, nil); !errors.Is(err, gsb.ErrAddress) {
			t.Errorf("%q was bound: %v", on, err)
		}
	}
	for _, on := range []string{"/public/gftp/1", "/public/app/" + string(me) + "/x"} {
		if _, err := b.Bind(owner, on, nil); err != nil {
			t.Errorf("%q: %v", on, err)
		}
		if _, err := b.Bind(owner, on, nil); !errors.Is(err, gsb.ErrTaken) {
			t.Errorf("%q was bound twice: %v", on, err)
		}
	}
}

func TestAServiceBelongsToItsKeyAndIdentity(t *testing.T) {
	t.Parallel()
	b := gsb.New(nil)
	id, _ := b.Bind(owner, "/public/gftp/1", nil)
	for _, o := range []gsb.Owner{{Identity: me, Key: "k2"}, {Identity: "0x00000000000000000000000000000000000000bb", Key: "k1"}} {
		if err := b.Has(o, id); !errors.Is(err, gsb.ErrNoService) {
			t.Errorf("%v sees it: %v", o, err)
		}
		if err := b.Unbind(o, id); !errors.Is(err, gsb.ErrNoService) {
			t.Errorf("%v took it away: %v", o, err)
		}
	}
	b.UnbindKey("k1")
	if err := b.Has(owner, id); !errors.Is(err, gsb.ErrNoService) {
		t.Errorf("it outlived its key: %v", err)
	}
}

func TestTheBufferHasAnEnd(t *testing.T) {
	t.Parallel()
	b := gsb.New(nil)
	_, _ = b.Bind(owner, "/public/gftp/f", []string{"GetMetadata"})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range gsb.MaxQueuedCalls {
		all.Go(func() { _, _ = b.Call(ctx, me, "/public/gftp/f", "GetMetadata", nil) })
	}
	waitForQueue(t, b, gsb.MaxQueuedCalls)
	if _, err := b.GetMetadata(t.Context(), me, "f"); !errors.Is(err, gsb.ErrBusy) {
		t.Errorf("one more was taken: %v", err)
	}
	cancel()
	all.Wait()
	if n := gsb.Queued(b, me, "/public/gftp/f"); n != 0 {
		t.Errorf("%d requests nobody waits for are kept", n)
	}
}

func TestPeersAreAnsweredInTheirWords(t *testing.T) {
	t.Parallel()
	b, srv := serve(t)
	tr, err := (&client.Client{URL: srv.URL}).Publish(t.Context(), strings.NewReader("hello"), 5)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close() //nolint:errcheck // the test is over
	id := tr.URL[strings.LastIndexByte(tr.URL, '/')+1:]
	reply, ok, err := b.HandleFile(t.Context(), me, peer.FileChunk{FileID: id, Offset: 1, Size: 3})
	if is, _ := reply.(peer.FileChunkIs); !ok || err != nil || string(is.Content) != "ell" || is.Offset != 1 {
		t.Errorf("chunk: %v, %v, %v", reply, ok, err)
	}
	var refused *peer.Refusal
	if _, _, err := b.HandleFile(t.Context(), me, peer.FileMetadata{FileID: "other"}); !errors.As(err, &refused) || refused.Code != peer.NotFound {
		t.Errorf("unknown file: %v", err)
	}
	if _, _, err := b.HandleFile(t.Context(), me, peer.FileChunk{FileID: id, Offset: -1, Size: 3}); !errors.As(err, &refused) || refused.Code != peer.BadRequest {
		t.Errorf("negative offset: %v", err)
	}
	if _, ok, _ := b.HandleFile(t.Context(), me, peer.Ack{}); ok {
		t.Error("took a message that is not about files")
	}
}
