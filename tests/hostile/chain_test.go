package hostile

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/emet-node/emet/domain/es"
)

// liar stands between a node and its chain.
type liar struct {
	to string
	mu sync.Mutex
	// lie changes the answer to a method, or answers in its place when the
	// status is not 0. nil = the truth.
	lie func(method string, answer []byte) (body []byte, status int)
}

func (l *liar) tell(f func(method string, answer []byte) ([]byte, int)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lie = f
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	var q struct{ Method string }
	_ = json.Unmarshal(b, &q)
	resp, err := http.Post(l.to, "application/json", bytes.NewReader(b))
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	answer, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	l.mu.Lock()
	lie := l.lie
	l.mu.Unlock()
	status := 0
	if lie != nil {
		answer, status = lie(q.Method, answer)
	}
	if status < 0 { // says nothing
		<-r.Context().Done()
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(max(status, 200))
	_, _ = w.Write(answer)
}

// count is how many facts of a type a node has.
func (m *member) count(t *testing.T, typ string) (n int) {
	t.Helper()
	for e, err := range m.Store.ReadAll(t.Context(), 0, es.Forward, es.Filter{Types: []string{typ}}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		_ = e
		n++
	}
	return n
}

func (m *member) await(t *testing.T, typ string, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for m.count(t, typ) < n {
		head := m.head(t)
		if m.count(t, typ) >= n {
			return
		}
		if err := m.Log.Wait(ctx, head, es.Filter{}); err != nil {
			t.Fatalf("%d facts %s, want %d\n%s", m.count(t, typ), typ, n, tail(m.logs.String()))
		}
	}
}

// Whatever an endpoint of the chain says, money that is not there is not
// credited, money that is there is credited once, and the node works.
func TestAChainEndpointCannotInventOrHideMoney(t *testing.T) {
	t.Parallel()
	l := &liar{}
	s := httptest.NewServer(l)
	t.Cleanup(s.Close)
	w := newWorld(t, func(urls map[string]string) map[string]string {
		l.to = urls["hoodi"]
		return map[string]string{"hoodi": s.URL}
	})
	const receipt = "eth_getTransactionReceipt"
	lies := []func(string, []byte) ([]byte, int){
		func(m string, a []byte) ([]byte, int) { return []byte("<html>rate limited</html>"), 429 },
		func(m string, a []byte) ([]byte, int) { return a[:len(a)/2], 0 },
		func(m string, a []byte) ([]byte, int) {
			if m != receipt {
				return a, 0
			}
			return bytes.ReplaceAll(a, []byte(`"transactionHash":"0x`), []byte(`"transactionHash":"0xdead`)), 0
		},
		func(m string, a []byte) ([]byte, int) { // the receipt of some other transaction
			if m != receipt || !bytes.Contains(a, []byte(`"transactionHash"`)) {
				return a, 0
			}
			i := bytes.Index(a, []byte(`"transactionHash":"0x`)) + len(`"transactionHash":"0x`)
			return bytes.ReplaceAll(a, a[i:i+64], bytes.Repeat([]byte("ab"), 32)), 0
		},
		func(m string, a []byte) ([]byte, int) {
			return append([]byte(`{"jsonrpc":"2.0","id":1,"result":"`), bytes.Repeat([]byte("A"), 12<<20)...), 0
		},
		func(m string, a []byte) ([]byte, int) {
			return []byte(`{"jsonrpc":"2.0","id":1,"result":` + strings.Repeat("[", 200_000)), 0
		},
		func(m string, a []byte) ([]byte, int) {
			if m == receipt {
				return []byte(`{"jsonrpc":"2.0","id":1,"result":{"status":"0x1","blockNumber":"0xffffffffffffffff","logs":[null,{}]}}`), 0
			}
			return a, 0
		},
	}
	next := 0
	l.tell(func(m string, a []byte) ([]byte, int) {
		l.mu.Lock()
		next++
		lie := lies[next%len(lies)]
		l.mu.Unlock()
		return lie(m, a)
	})
	w.deal(t)
	w.provider.await(t, "payment.claimed.v1", 1)
	if n := w.provider.count(t, "payment.verified.v1"); n != 0 {
		t.Errorf("%d payments were verified by lies", n)
	}
	l.tell(nil)
	w.provider.await(t, "payment.verified.v1", 1)

	// A transfer of another token, and one that gives to somebody else.
	token := bytes.ToLower([]byte(strings.TrimPrefix(w.token(t), "0x")))
	l.tell(func(m string, a []byte) ([]byte, int) {
		if m != receipt {
			return a, 0
		}
		return bytes.ReplaceAll(a, token, bytes.Repeat([]byte("e1"), 20)), 0
	})
	claims := w.provider.count(t, "payment.claimed.v1")
	w.deal(t)
	w.provider.await(t, "payment.claimed.v1", claims+1)
	w.provider.await(t, "payment.disproved.v1", 1)
	if n := w.provider.count(t, "payment.verified.v1"); n != 1 {
		t.Errorf("%d payments are verified, one was made in GLM", n)
	}
	l.tell(nil)
	w.deal(t)
	if n := w.buyer.count(t, "tx.finalised.v1") + w.buyer.count(t, "tx.included.v1"); n == 0 {
		t.Error("the buyer paid nothing")
	}
	w.books(t)
}
