package dev_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/chain/chaintest"
	"github.com/emet-node/emet/adapters/chain/dev"
	"github.com/emet-node/emet/adapters/chain/evm"
	"github.com/emet-node/emet/domain/payment/onchain"
)

// dirVariable makes this test binary a process that serves chains.
const dirVariable = "EMET_DEVCHAIN_TEST_DIR"

func TestMain(m *testing.M) {
	dir := os.Getenv(dirVariable)
	if dir == "" {
		os.Exit(m.Run())
	}
	err := dev.Serve(context.Background(), dev.Config{Dir: dir, Networks: []string{"hoodi"}}, func(urls map[string]string) {
		_ = json.NewEncoder(os.Stdout).Encode(urls)
	})
	if err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
}

func profile(t testing.TB, network string) onchain.Profile {
	t.Helper()
	p, ok := onchain.Network(network)
	if !ok {
		t.Fatalf("no network %s", network)
	}
	return p
}

func start(t *testing.T, cfg dev.Config) *dev.Chains {
	t.Helper()
	s, err := dev.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *dev.Chains) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func client(t *testing.T, network, url string) *evm.Client {
	t.Helper()
	c, err := evm.Open(evm.Config{Profile: profile(t, network), URLs: []string{url}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestConformance(t *testing.T) {
	t.Parallel()
	chaintest.Run(t, func(t *testing.T) chaintest.Lab {
		s := start(t, dev.Config{Networks: []string{"hoodi"}})
		chain, err := s.Chain("hoodi")
		if err != nil {
			t.Fatal(err)
		}
		c := client(t, "hoodi", s.URL("hoodi"))
		return chaintest.Lab{
			Chain: c,
			Fund: func(a onchain.Address) {
				if err := c.Fund(context.Background(), a); err != nil {
					t.Fatal(err)
				}
			},
			Reorganise: func(depth uint64, drop bool) {
				if err := chain.Reorganise(depth, drop); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

func TestEachNetworkIsItself(t *testing.T) {
	t.Parallel()
	s := start(t, dev.Config{})
	for _, p := range onchain.Networks() {
		c := client(t, p.Network, s.URL(p.Network))
		if err := c.Check(context.Background()); err != nil {
			t.Errorf("%s: %v", p.Network, err)
		}
		a := chaintest.NewAccount(t)
		if err := s.Fund(context.Background(), p.Network, a.Address); err != nil {
			t.Fatal(err)
		}
		f, err := c.Funds(context.Background(), a.Address)
		if err != nil || f.Token.Cmp(chaintest.GLM(1000)) != 0 || f.Native.Sign() <= 0 {
			t.Errorf("%s: funds %+v, %v", p.Network, f, err)
		}
	}
}

func TestNamedAccountsAreFundedOnce(t *testing.T) {
	t.Parallel()
	a, dir := chaintest.NewAccount(t), t.TempDir()
	for range 2 {
		s := start(t, dev.Config{Dir: dir, Networks: []string{"hoodi"}, FundAccounts: []onchain.Address{a.Address}})
		n, err := client(t, "hoodi", s.URL("hoodi")).TokenBalance(context.Background(), a.Address)
		if err != nil || n.Cmp(chaintest.GLM(1000)) != 0 {
			t.Errorf("GLM %v, %v; want 1000", n, err)
		}
		stop(t, s)
	}
}

func TestWhatIsInABlockIsFinal(t *testing.T) {
	t.Parallel()
	s := start(t, dev.Config{Networks: []string{"polygon"}})
	c, a := client(t, "polygon", s.URL("polygon")), chaintest.NewAccount(t)
	if err := s.Fund(context.Background(), "polygon", a.Address); err != nil {
		t.Fatal(err)
	}
	head, err := c.Head(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if final, err := c.Finalised(context.Background()); err != nil || final != head {
		t.Errorf("finalised %+v, %v; want %+v", final, err, head)
	}
}

func TestPricesAreThoseOfToday(t *testing.T) {
	t.Parallel()
	s := start(t, dev.Config{Networks: []string{"hoodi"}})
	c, payer := client(t, "hoodi", s.URL("hoodi")), chaintest.NewAccount(t)
	if err := c.Fund(context.Background(), payer.Address); err != nil {
		t.Fatal(err)
	}
	call, err := onchain.Pay(c.Profile(), payer.Address, []onchain.Payment{{To: chaintest.NewAccount(t).Address, Amount: chaintest.GLM(1)}})
	if err != nil {
		t.Fatal(err)
	}
	if r := chaintest.Do(t, c, payer, call); r.GasUsed < 45_000 || r.GasUsed > 60_000 {
		t.Errorf("a transfer to a new account took %d gas, want about 51 500", r.GasUsed)
	}
}

func TestManySendersAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t, dev.Config{Networks: []string{"hoodi"}})
	c := client(t, "hoodi", s.URL("hoodi"))
	payee := chaintest.NewAccount(t).Address
	const senders, each = 8, 5
	var all sync.WaitGroup
	for range senders {
		all.Go(func() {
			payer := chaintest.NewAccount(t)
			if err := c.Fund(context.Background(), payer.Address); err != nil {
				t.Error(err)
				return
			}
			call, err := onchain.Pay(c.Profile(), payer.Address, []onchain.Payment{{To: payee, Amount: chaintest.GLM(1)}})
			if err != nil {
				t.Error(err)
				return
			}
			for range each {
				chaintest.Do(t, c, payer, call)
			}
		})
	}
	all.Wait()
	n, err := c.TokenBalance(context.Background(), payee)
	if err != nil || n.Cmp(chaintest.GLM(senders*each)) != 0 {
		t.Errorf("payee has %v, %v; want %d GLM", n, err, senders*each)
	}
}

// process starts a chain in a process of its own.
func process(t *testing.T, dir string) (kill func(), url string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	scratch := t.TempDir()
	cmd.Env = append(os.Environ(), dirVariable+"="+dir, "TMPDIR="+scratch)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // SIGKILL: it has no time to tidy up
		_ = cmd.Wait()
		if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
			t.Errorf("it leaves %v outside of its directory, %v", left, err)
		}
	})
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var urls map[string]string
	if err == nil {
		err = json.Unmarshal(line, &urls)
	}
	if err != nil {
		t.Fatalf("the process says %q: %v; %s", line, err, stderr.String())
	}
	return kill, urls["hoodi"]
}

func TestAKilledChainComesBackWithAllThatWasConfirmed(t *testing.T) {
	t.Parallel()
	ctx, dir := context.Background(), t.TempDir()
	payer, payee := chaintest.NewAccount(t), chaintest.NewAccount(t).Address
	var receipts []*onchain.Receipt
	for round := range 4 {
		kill, url := process(t, dir)
		c := client(t, "hoodi", url)
		if round == 0 {
			if err := c.Fund(ctx, payer.Address); err != nil {
				t.Fatal(err)
			}
		}
		for _, old := range receipts {
			r, err := c.Receipt(ctx, old.TxHash)
			for deadline := time.Now().Add(2 * time.Minute); err != nil && time.Now().Before(deadline); {
				r, err = c.Receipt(ctx, old.TxHash) // its index is being made
			}
			if err != nil || r == nil || r.BlockHash != old.BlockHash {
				t.Fatalf("round %d: receipt %+v, %v; want %+v", round, r, err, old)
			}
		}
		n, err := c.TokenBalance(ctx, payee)
		if want := chaintest.GLM(int64(len(receipts))); err != nil || n.Cmp(want) != 0 {
			t.Fatalf("round %d: payee has %v, %v; want %v", round, n, err, want)
		}
		for range 3 {
			call, err := onchain.Pay(c.Profile(), payer.Address, []onchain.Payment{{To: payee, Amount: chaintest.GLM(1)}})
			if err != nil {
				t.Fatal(err)
			}
			receipts = append(receipts, chaintest.Do(t, c, payer, call))
		}
		kill()
	}
}

func TestAHalfWrittenBlockIsCutOff(t *testing.T) {
	t.Parallel()
	dir, a := t.TempDir(), chaintest.NewAccount(t).Address
	s := start(t, dev.Config{Dir: dir, Networks: []string{"hoodi"}})
	if err := s.Fund(context.Background(), "hoodi", a); err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	path := filepath.Join(dir, "hoodi.blocks")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{1, 2, 100} {
		if err := os.WriteFile(path, append(bytes.Clone(whole), whole[:cut]...), 0o600); err != nil {
			t.Fatal(err)
		}
		s := start(t, dev.Config{Dir: dir, Networks: []string{"hoodi"}})
		n, err := client(t, "hoodi", s.URL("hoodi")).TokenBalance(context.Background(), a)
		if err != nil || n.Cmp(chaintest.GLM(1000)) != 0 {
			t.Errorf("cut after %d bytes: GLM %v, %v", cut, n, err)
		}
		stop(t, s)
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, whole) {
			t.Errorf("cut after %d bytes: the file has %d bytes (%v), want %d", cut, len(after), err, len(whole))
		}
	}
}

func TestAKeptForkStaysForked(t *testing.T) {
	t.Parallel()
	ctx, dir, a := context.Background(), t.TempDir(), chaintest.NewAccount(t).Address
	s := start(t, dev.Config{Dir: dir, Networks: []string{"hoodi"}})
	for range 3 {
		if err := s.Fund(ctx, "hoodi", a); err != nil {
			t.Fatal(err)
		}
	}
	chain, err := s.Chain("hoodi")
	if err != nil {
		t.Fatal(err)
	}
	if err := chain.Reorganise(2, true); err != nil {
		t.Fatal(err)
	}
	before, err := client(t, "hoodi", s.URL("hoodi")).Funds(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	s = start(t, dev.Config{Dir: dir, Networks: []string{"hoodi"}})
	after, err := client(t, "hoodi", s.URL("hoodi")).Funds(ctx, a)
	if err != nil || after.At != before.At || after.Token.Cmp(before.Token) != 0 || after.Token.Cmp(chaintest.GLM(1000)) != 0 {
		t.Errorf("after the restart %+v, %v; want %+v", after, err, before)
	}
}

func TestBlocksOfAnotherChainAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dev.Config{Dir: dir, Networks: []string{"hoodi"}})
	if err := s.Fund(context.Background(), "hoodi", chaintest.NewAccount(t).Address); err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	if err := os.Rename(filepath.Join(dir, "hoodi.blocks"), filepath.Join(dir, "holesky.blocks")); err != nil {
		t.Fatal(err)
	}
	s = start(t, dev.Config{Dir: dir, Networks: []string{"holesky"}})
	if _, err := s.Chain("holesky"); err == nil || !strings.Contains(err.Error(), "does not fit") {
		t.Errorf("error %v, want that the blocks do not fit", err)
	}
}

func TestStrangersAreTurnedAway(t *testing.T) {
	t.Parallel()
	s := start(t, dev.Config{Networks: []string{"hoodi"}})
	ask := func(host, path, method string) (int, string) {
		t.Helper()
		body := `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":[]}`
		r, err := http.NewRequest(http.MethodPost, strings.TrimSuffix(s.URL("hoodi"), "/hoodi")+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		r.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		if _, err := b.ReadFrom(resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, b.String()
	}
	if code, body := ask("127.0.0.1", "/hoodi", "eth_chainId"); code != http.StatusOK || !strings.Contains(body, "0x88bb0") {
		t.Errorf("an honest question: %d %s", code, body)
	}
	if code, _ := ask("evil.example", "/hoodi", "eth_chainId"); code != http.StatusForbidden {
		t.Errorf("by another name: %d", code)
	}
	if code, _ := ask("localhost", "/mars", "eth_chainId"); code != http.StatusNotFound {
		t.Errorf("another chain: %d", code)
	}
	for _, method := range []string{"admin_exportChain", "debug_cpuProfile", "miner_setGasPrice"} {
		if _, body := ask("localhost", "/hoodi", method); !strings.Contains(body, "does not exist") {
			t.Errorf("%s: %s", method, body)
		}
	}
}

// It is not parallel, so that the time of the processor is that of the chain.
func TestAChainIsReadySoon(t *testing.T) {
	before := processorTime(t)
	s := start(t, dev.Config{Networks: []string{"hoodi"}})
	if _, err := s.Chain("hoodi"); err != nil {
		t.Fatal(err)
	}
	took := processorTime(t) - before
	if took > 10*time.Second {
		t.Errorf("ready after %v of a processor: a chain must not delay a node", took)
	}
	t.Logf("ready after %v of a processor", took)
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
