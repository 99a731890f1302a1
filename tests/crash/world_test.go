package crash

import (
	"context"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emet-node/emet/api/client"
	"github.com/emet-node/emet/tests/built"
)

// world is a chain, a requestor and a provider, each a process.
type world struct {
	dir                        string
	chain, requestor, provider *process
	rpc                        string // URL of the chain
	image                      string // task package of the guest
	payer, payee               string // addresses
}

// newWorld starts everything, and funds the requestor. born says what the lives
// of the nodes die of from the first on. With CRASH_KEEP=<dir> the data and the
// logs of the processes are kept there for a look.
func newWorld(t *testing.T, born func(life int) string) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), image: built.Serve(t, built.Echo)}
	if keep := os.Getenv("CRASH_KEEP"); keep != "" {
		w.dir = filepath.Join(keep, strings.ReplaceAll(t.Name(), "/", "_"))
		_ = os.RemoveAll(w.dir)
		if err := os.MkdirAll(w.dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(w.endUnits)
	chain := built.Port(t)
	w.chain = &process{name: "chain", dir: filepath.Join(w.dir, "chain"), args: []string{
		"devchain", "--listen", fmt.Sprintf("127.0.0.1:%d", chain), "--network", "hoodi", "-d", filepath.Join(w.dir, "chain"),
	}}
	start(t, w.chain)
	w.rpc = w.chain.word("hoodi")
	w.requestor = w.node(t, "requestor", "--no-provider")
	w.requestor.fault = born
	start(t, w.requestor)
	w.provider = w.node(t, "provider", "--name", "provider", "--bootstrap", w.requestor.word("EMET_BOOTSTRAP"))
	w.provider.fault = born
	start(t, w.provider)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	w.payer, w.payee = whoIs(ctx, t, w.requestor), whoIs(ctx, t, w.provider)
	if err := w.ask(ctx, "emet_fund", nil, w.payer); err != nil {
		t.Fatal(err)
	}
	return w
}

func whoIs(ctx context.Context, t *testing.T, p *process) string {
	t.Helper()
	me, err := p.client().Me(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return me.Identity
}

// node prepares a node whose addresses stay the same in all its lives.
func (w *world) node(t *testing.T, name string, args ...string) *process {
	rest, peers := built.Port(t), built.Port(t)
	dir := filepath.Join(w.dir, name)
	return &process{
		name: name, dir: dir,
		args: append([]string{
			"up", "--export", "-d", dir, "--listen", fmt.Sprintf("http://127.0.0.1:%d", rest),
			"--net-listen", fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1,/ip4/127.0.0.1/tcp/%d", peers, peers),
		}, args...),
		env: []string{
			"HOODI_GETH_ADDR=" + w.rpc, "EMET_PAYMENT_CYCLE=5s", "EMET_PROVIDER_ALLOW_LOOPBACK=true", "EMET_STORE_SEGMENT_MIB=1",
			"EMET_PROVIDER_DEBIT_NOTE_INTERVAL_MIN=5s", "EMET_ACTIVITY_ORPHAN_AFTER=2m", "EMET_ACTIVITY_PROVIDER_LOST=3m", "EMET_LOG_LEVEL=info",
			"EMET_PROVIDER_MEM_GIB=4.0", "EMET_PROVIDER_STORAGE_GIB=4.0",
		},
	}
}

// client is a client of a node that waits and tries again when the node is
// down, as patient users do.
func (p *process) client() *client.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &client.Client{URL: p.words["YAGNA_API_URL"], Key: p.words["YAGNA_APPKEY"], Patience: patience}
}

// ask calls a JSON-RPC method of the chain.
func (w *world) ask(ctx context.Context, method string, out any, params ...any) error {
	rpc := &client.Client{URL: w.rpc, Patience: patience}
	answer := struct {
		Result any `json:"result"`
		Error  *struct {
			Message string `json:"message"`
		} `json:"error"`
	}{Result: out}
	err := rpc.Do(ctx, "POST", "", map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, &answer)
	if err == nil && answer.Error != nil {
		err = fmt.Errorf("%s: %s", method, answer.Error.Message)
	}
	return err
}

// glm is how many units of 1e-18 GLM an address holds on the chain.
func (w *world) glm(ctx context.Context, t *testing.T, token, address string) *big.Int {
	t.Helper()
	var hex string
	data := "0x70a08231000000000000000000000000" + strings.TrimPrefix(address, "0x")
	if err := w.ask(ctx, "eth_call", &hex, map[string]any{"to": token, "data": data}, "latest"); err != nil {
		t.Fatal(err)
	}
	n, ok := new(big.Int).SetString(strings.TrimPrefix(hex, "0x"), 16)
	if !ok {
		t.Fatalf("balance %q", hex)
	}
	return n
}
