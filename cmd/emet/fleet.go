package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/emet-node/emet/api/client"
	"github.com/emet-node/emet/api/client/rent"
	"github.com/emet-node/emet/cmd/emet/keep"
	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/cmd/emet/picture"
	"github.com/emet-node/emet/domain/identity"
)

// fleet is a network of processes of this program, each started again when it
// ends without being told to.
type fleet struct {
	dir    string
	env    []string // of every node, beyond what start sets
	keeper keep.Keeper
	// leave lets providers that end stay away.
	leave bool
	// portsFile keeps the ports of all processes for the next fleet in the
	// directory, unless it is empty.
	portsFile string
	mu        sync.Mutex
	nodes     map[string]*client.Client // providers, by name
	ports     map[string][]int
	chain     string // its URL
}

func newFleet(dir string, env ...string) *fleet {
	return &fleet{dir: dir, env: env, nodes: map[string]*client.Client{}}
}

// clientPatience is how long a node may need to be started again.
const clientPatience = time.Minute

// start brings up chain, requestor and providers and returns a client of the
// requestor, whose account is funded.
func (f *fleet) start(ctx context.Context, providers int) (*client.Client, error) {
	chain, err := f.begin(ctx, keep.Process{
		Name: "chain", Ports: 1, Log: f.log("chain"), Args: func(ports []int) []string {
			return []string{"devchain", "--listen", fmt.Sprintf("127.0.0.1:%d", ports[0]), "--network", "hoodi", "-d", filepath.Join(f.dir, "chain")}
		},
	})
	if err != nil {
		return nil, err
	}
	url := chain.Said()["hoodi"]
	f.chain = url
	env := []string{
		"HOODI_GETH_ADDR=" + url, "EMET_PAYMENT_CYCLE=5s", "EMET_PROVIDER_ALLOW_LOOPBACK=true",
		"EMET_ACTIVITY_PROVIDER_LOST=" + envOr("EMET_ACTIVITY_PROVIDER_LOST", "10s"), "EMET_ACTIVITY_ORPHAN_AFTER=15s", "EMET_STORE_SEGMENT_MIB=16",
	}
	requestor, err := f.node(ctx, "requestor", env, "--no-provider")
	if err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	errs := make([]error, providers)
	for i := range providers {
		wg.Go(func() {
			name := fmt.Sprintf("provider-%d", i+1)
			n, err := f.node(ctx, name, env, "--name", name, "--bootstrap", requestor.Said()["EMET_BOOTSTRAP"])
			if errs[i] = err; err != nil {
				return
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			f.nodes[name] = clientOf(n)
		})
	}
	c := clientOf(requestor)
	err = fundOnce(ctx, url, c)
	wg.Wait()
	return c, errors.Join(append(errs, err)...)
}

func (f *fleet) log(name string) string { return filepath.Join(f.dir, name+".log") }

func clientOf(n *keep.Child) *client.Client {
	said := n.Said()
	return &client.Client{URL: said["YAGNA_API_URL"], Key: said["YAGNA_APPKEY"], Patience: clientPatience}
}

func (f *fleet) node(ctx context.Context, name string, env []string, args ...string) (*keep.Child, error) {
	return f.begin(ctx, keep.Process{
		Name: name, Ports: 2, Log: f.log(name), Env: slices.Concat(env, f.env), Once: f.leave && name != "requestor",
		Args: func(ports []int) []string {
			return append([]string{
				"up", "--export", "--end-units", "-d", filepath.Join(f.dir, name), "--listen", fmt.Sprintf("http://127.0.0.1:%d", ports[0]),
				"--net-listen", fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1,/ip4/127.0.0.1/tcp/%d", ports[1], ports[1]),
			}, args...)
		},
	})
}

// recall reads the ports of an earlier fleet in the directory.
func (f *fleet) recall() {
	f.ports = map[string][]int{}
	if text, err := os.ReadFile(f.portsFile); err == nil {
		_ = json.Unmarshal(text, &f.ports) // others will do as well
	}
}

// begin starts a process, at the ports that it had before if they are free.
func (f *fleet) begin(ctx context.Context, p keep.Process) (*keep.Child, error) {
	if f.portsFile == "" {
		return f.keeper.Start(ctx, p)
	}
	f.mu.Lock()
	p.Prefer = f.ports[p.Name]
	f.mu.Unlock()
	c, err := f.keeper.Start(ctx, p)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ports[p.Name] = c.Ports()
	text, err := json.Marshal(f.ports)
	if err != nil {
		return nil, err
	}
	return c, picture.WriteFile(f.portsFile, text)
}

// fundOnce lets the chain give the requestor coins and tokens, unless it did.
func fundOnce(ctx context.Context, url string, c *client.Client) error {
	me, err := c.Me(ctx)
	if err != nil {
		return err
	}
	chain := &client.Client{URL: url, Patience: clientPatience}
	coins, err := call(ctx, chain, "eth_getBalance", me.Identity, "latest")
	if err != nil || coins != "0x0" {
		return err
	}
	_, err = call(ctx, chain, "emet_fund", me.Identity)
	return err
}

// call asks a chain for something whose answer is a word.
func call(ctx context.Context, chain *client.Client, method string, params ...string) (string, error) {
	var answer struct {
		Result string `json:"result"`
		Error  *struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	err := chain.Do(ctx, "POST", "", map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, &answer)
	if err == nil && answer.Error != nil {
		err = fmt.Errorf("%s: %s", method, answer.Error.Message)
	}
	return answer.Result, err
}

// verified waits until each provider's own invoice is settled in its own
// books: it has looked at the chain itself.
func (f *fleet) verified(ctx context.Context, deals []rent.Deal) error {
	for _, d := range deals {
		c, ok := f.nodes[d.Name]
		if !ok || d.Invoice == "" {
			continue
		}
		for {
			doc, err := c.Invoice(ctx, d.Invoice)
			if err == nil && doc.Status == "SETTLED" {
				break
			}
			select {
			case <-ctx.Done():
				return errors.Join(fmt.Errorf("%s: invoice %s is %s", d.Name, d.Invoice, doc.Status), err, ctx.Err())
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

// proofTime is how long the proofs of a demo are awaited. They are for those who
// look later, and a demo does not fail for them.
const proofTime = 20 * time.Second

// proved waits until the requestor keeps the proof of all that it paid, and all
// who were paid have cosigned that: the chain and the providers go away with the
// demo.
func (f *fleet) proved(ctx context.Context, deals []rent.Deal) {
	ctx, stop := context.WithTimeout(ctx, proofTime)
	defer stop()
	for ctx.Err() == nil && !f.isProved(ctx, deals) {
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (f *fleet) isProved(ctx context.Context, deals []rent.Deal) bool {
	dir := filepath.Join(f.dir, "requestor")
	if n, err := node.Unproved(ctx, dir); err != nil || n > 0 {
		return false
	}
	behind, err := node.Uncosigned(ctx, dir)
	return err == nil && !slices.ContainsFunc(deals, func(d rent.Deal) bool {
		return !d.Lost && d.Status == "SETTLED" && slices.Contains(behind, identity.NodeID(d.Provider))
	})
}

// stop ends all processes, the chain last, and waits for them. Exe-units whose
// node was killed a moment ago end with them.
func (f *fleet) stop() {
	f.keeper.Stop()
	keep.Sweep(f.dir)
}
