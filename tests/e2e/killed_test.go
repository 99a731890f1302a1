package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/segment"
	ledgers "github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/tests/built"
)

// show is a run of the demo.
type show struct {
	*process
	dir, mark string // every process has one of them in its command line or environment
}

// shown is what a demo came to.
type shown struct {
	Picture           string
	Tiles, TilesThere int
	Deals             []struct {
		Agreement, Provider, Name, Invoice, Amount, Status string
		Lost                                               bool
	}
}

// keptDir is a directory that can be looked at after the test.
func keptDir(t *testing.T) string {
	t.Helper()
	keep := os.Getenv("E2E_KEEP")
	if keep == "" {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(keep, "demo-")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(dir)
	return dir
}

func perform(t *testing.T, dir string, more ...string) *show {
	t.Helper()
	mark := filepath.Join(t.TempDir(), "tmp")
	if err := os.MkdirAll(mark, 0o700); err != nil {
		t.Fatal(err)
	}
	args := append([]string{
		"demo", "--program", built.Render.Path(), "--dir", dir, "--width", "240", "--height", "160", "--tiles", "24", "--spp", "20", "--providers", "2",
	}, more...)
	s := &show{begin(t, []string{"TMPDIR=" + mark}, args...), dir, mark}
	t.Cleanup(func() {
		for _, pid := range s.processes("") {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return s
}

// works waits until a machine of the demo works.
func (s *show) works() {
	s.t.Helper()
	eventually(s.t, time.Minute, "somebody works:\n"+s.out.String(), func() bool { return len(s.processes("runtime-wasm\x00")) > 0 })
}

// processes lists those of a demo whose command line has a piece of text; the
// demo itself is not among them. A runtime is told by its working directory only.
func (s *show) processes(text string) (pids []int) {
	all := append(running(s.dir), running(s.mark)...)
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(d))
		if cwd, err := os.Readlink(filepath.Join(d, "cwd")); err == nil && strings.HasPrefix(cwd, s.dir) {
			all = append(all, pid)
		}
	}
	for _, pid := range all {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if len(line) > 0 && !bytes.Contains(line, []byte("\x00demo\x00")) && bytes.Contains(line, []byte(text)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// kill kills one process of the demo as soon as there is one, if there is before
// the demo ends.
func (s *show) kill(text string) (killed bool) {
	s.t.Helper()
	eventually(s.t, 20*time.Second, "there is a process "+strings.ReplaceAll(text, "\x00", " ")+" to kill:\n"+s.out.String(), func() bool {
		pids := s.processes(text)
		killed = len(pids) > 0 && syscall.Kill(pids[0], syscall.SIGKILL) == nil
		return killed || s.hasEnded()
	})
	return killed
}

// result waits for the end and reads what the demo printed.
func (s *show) result(within time.Duration) (r shown) {
	s.t.Helper()
	if code := s.ended(within); code != 0 {
		s.t.Fatalf("exit code %d:\n%s", code, s.out)
	}
	if err := json.Unmarshal([]byte(s.out.String()), &r); err != nil {
		s.t.Fatalf("%v:\n%s", err, s.out)
	}
	if left := s.processes(""); len(left) > 0 {
		s.t.Errorf("processes are left: %v", left)
	}
	return r
}

// facts are those of one type in the books of a node that is down.
func facts[F any](t *testing.T, dir string) (out []F) {
	t.Helper()
	r, err := ledgers.ReadLog(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // only read
	for rec, err := range r.Log.ReadAll(t.Context(), 0, es.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := rec.Data.(F); ok {
			out = append(out, f)
		}
	}
	return out
}

// paidOnce checks that what moved on the chain is what was billed: every
// invoice once, and nothing else.
func (s *show) paidOnce(r shown) {
	t := s.t
	t.Helper()
	owed := map[string]*big.Int{}
	for _, d := range r.Deals {
		if d.Status != "SETTLED" {
			t.Errorf("%+v", d)
		}
		a, err := money.Parse(d.Amount)
		if err != nil {
			t.Fatalf("%v: %+v", err, d)
		}
		if owed[d.Provider] == nil {
			owed[d.Provider] = new(big.Int)
		}
		owed[d.Provider].Add(owed[d.Provider], a.Wei())
	}
	requestor := filepath.Join(s.dir, "requestor")
	received, accepted := facts[bill.InvoiceReceived](t, requestor), facts[bill.InvoiceAccepted](t, requestor)
	if len(received) != len(r.Deals) || len(accepted) != len(r.Deals) {
		t.Errorf("%d deals, %d invoices received, %d accepted", len(r.Deals), len(received), len(accepted))
	}
	if made, over := facts[agreement.Approved](t, requestor), facts[agreement.Terminated](t, requestor); len(made) != len(over) {
		t.Errorf("%d agreements were approved, %d terminated", len(made), len(over))
	}
	for provider, moved := range s.transfers() {
		if owed[provider] == nil || owed[provider].Cmp(moved) != 0 {
			t.Errorf("%s got %s wei, its invoices are over %s", provider, moved, owed[provider])
		}
		delete(owed, provider)
	}
	for provider, wei := range owed {
		if wei.Sign() != 0 {
			t.Errorf("%s got nothing of its %s wei", provider, wei)
		}
	}
}

// transfers are the sums that moved on the chain of an ended demo, by receiver,
// without what the chain itself gave away.
func (s *show) transfers() map[string]*big.Int {
	t := s.t
	t.Helper()
	c := begin(t, nil, "devchain", "--listen", fmt.Sprintf("127.0.0.1:%d", built.Port(t)), "--network", "hoodi", "-d", filepath.Join(s.dir, "chain"))
	p, _ := onchain.Network("hoodi")
	var logs []struct {
		Topics []string
		Data   string
	}
	payer := facts[agreement.Created](t, filepath.Join(s.dir, "requestor"))[0].Terms.Requestor
	answer := rpc(t, c.said["hoodi"], "eth_getLogs", map[string]any{"fromBlock": "0x0", "toBlock": "latest", "address": p.Token.String(), "topics": []any{
		"0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef", "0x000000000000000000000000" + strings.TrimPrefix(string(payer), "0x"),
	}})
	if err := json.Unmarshal(answer, &logs); err != nil {
		t.Fatal(err)
	}
	sums := map[string]*big.Int{}
	for _, l := range logs {
		wei, ok := new(big.Int).SetString(strings.TrimPrefix(l.Data, "0x"), 16)
		if !ok || len(l.Topics) != 3 {
			t.Fatalf("%+v", l)
		}
		to := "0x" + l.Topics[2][26:]
		if sums[to] == nil {
			sums[to] = new(big.Int)
		}
		sums[to].Add(sums[to], wei)
	}
	return sums
}

// whole checks all logs byte by byte.
func (s *show) whole() {
	s.t.Helper()
	for _, name := range []string{"requestor", "provider-1", "provider-2"} {
		r, err := segment.Verify(filepath.Join(s.dir, name, "store"))
		if err != nil || len(r.Damage) > 0 {
			s.t.Errorf("%s: %v %v", name, err, r.Damage)
		}
	}
}

// TestTheDemoSurvivesEveryKill kills each kind of process of the demo, at random
// moments and in any order. The picture is the same as that of an undisturbed
// demo, and every bill is paid once.
func TestTheDemoSurvivesEveryKill(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // to be repeated
	calm := perform(t, filepath.Join(t.TempDir(), "calm"), "--json")
	want, err := os.ReadFile(calm.result(10 * time.Minute).Picture)
	if err != nil {
		t.Fatal(err)
	}

	s := perform(t, filepath.Join(keptDir(t), "d"), "--json")
	victims := []string{"\x00devchain\x00", "d/requestor\x00", "d/provider-1\x00", "exe-unit\x00", "runtime-wasm\x00"}
	eventually(t, time.Minute, "an exe-unit lives:\n"+s.out.String(), func() bool { return len(s.processes("exe-unit\x00")) > 0 })
	began := time.Now()
	for _, i := range r.Perm(len(victims)) {
		time.Sleep(time.Duration(r.IntN(800)) * time.Millisecond) // any moment is a good one
		t.Logf("%.1f s: %s is killed: %t", time.Since(began).Seconds(), strings.ReplaceAll(victims[i], "\x00", " "), s.kill(victims[i]))
	}
	result := s.result(10 * time.Minute)
	t.Logf("the demo came to its end after %.1f s", time.Since(began).Seconds())
	got, err := os.ReadFile(result.Picture)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the picture is another than that of an undisturbed demo")
	}
	s.paidOnce(result)
	s.whole()
}

// TestAnInterruptedDemoLeavesNoOrphans interrupts a demo right after one of its
// providers was killed, whose exe-unit nobody knows any more.
func TestAnInterruptedDemoLeavesNoOrphans(t *testing.T) {
	t.Parallel()
	s := perform(t, filepath.Join(t.TempDir(), "d"), "--no-restart")
	s.works()
	s.kill("d/provider-1\x00")
	s.kill("d/provider-2\x00")
	words := []string{"provider-1   was killed; not started again", "provider-2   was killed; not started again"}
	eventually(t, time.Minute, "it says that both are gone", func() bool {
		return s.hasEnded() || strings.Contains(s.out.String(), words[0]) && strings.Contains(s.out.String(), words[1])
	})
	s.signal(syscall.SIGINT)
	if code := s.ended(20 * time.Second); code != 130 {
		t.Errorf("exit code %d:\n%s", code, s.out)
	}
	if left := s.processes(""); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	for _, word := range words {
		if !strings.Contains(s.out.String(), word) {
			t.Errorf("it does not say %q:\n%s", word, s.out)
		}
	}
}

// killNetwork kills the network of dev or run, told by a text in its command
// line or environment.
func killNetwork(mark string) {
	for _, pid := range running(mark) {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if bytes.Contains(line, []byte("\x00--kept\x00")) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// TestTheExportsStayValid kills the network of emet dev: a client goes on with
// what it was told at the start.
func TestTheExportsStayValid(t *testing.T) {
	t.Parallel()
	mark := t.TempDir()
	p := begin(t, []string{"TMPDIR=" + mark}, "dev", "--port", "0", "--providers", "1")
	c := p.client()
	c.Patience = time.Minute
	d := strike(t, c, wish{image: built.Serve(t, built.Guest), budget: "1"})
	d.start()
	for range 2 {
		killNetwork(mark)
		if r := d.do(guest("args", "after a kill")); r[len(r)-1].Result != "Ok" {
			t.Errorf("%+v", r)
		}
	}
	eventually(t, time.Minute, "it is said to be started again twice", func() bool {
		return strings.Count(p.out.String(), "the network was killed; started again") == 2
	})
	d.settle(c)
	p.die()
	eventually(t, 30*time.Second, "nothing is left of it", func() bool {
		left, _ := os.ReadDir(mark)
		return len(running(mark)) == 0 && len(left) == 0
	})
}

// TestARunOutlivesItsNetwork kills the network that emet run started for itself.
func TestARunOutlivesItsNetwork(t *testing.T) {
	t.Parallel()
	mark := t.TempDir()
	p := begin(t, []string{"TMPDIR=" + mark}, "run", "--json", "--", built.Guest.Path(), "drip", "1000") // some seconds
	eventually(t, time.Minute, "it runs:\n"+p.out.String(), func() bool { return strings.Contains(p.out.String(), "Agreement with") })
	killNetwork(mark)
	if code := p.ended(time.Minute); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, p.out)
	}
	for _, word := range []string{"the network was killed; started again", "drop 999", "SETTLED"} {
		if !strings.Contains(p.out.String(), word) {
			t.Errorf("it does not say %q:\n%s", word, p.out)
		}
	}
	if left, _ := os.ReadDir(mark); len(running(mark)) > 0 || len(left) > 0 {
		t.Errorf("left: %v %v", running(mark), left)
	}
}
