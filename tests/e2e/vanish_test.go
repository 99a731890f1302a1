package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emet-node/emet/api/client"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/tests/built"
)

// market is a chain, a requestor and providers, each a process that can be
// started again where it was.
type market struct {
	chain     *process
	dir       string
	requestor *process
	providers []*process
}

func newMarket(t *testing.T, providers int, env ...string) *market {
	t.Helper()
	c := chain(t, "hoodi")
	m := &market{dir: t.TempDir(), chain: c}
	env = append([]string{
		"HOODI_GETH_ADDR=" + c.said["hoodi"], "EMET_PAYMENT_CYCLE=5s", "EMET_PROVIDER_ALLOW_LOOPBACK=true",
		"EMET_ACTIVITY_ORPHAN_AFTER=1m", "EMET_ACTIVITY_PROVIDER_LOST=2m", "EMET_STORE_SEGMENT_MIB=1",
	}, env...)
	t.Cleanup(func() { m.replayed(t, env) }) // when all nodes have ended
	up := func(name string, args ...string) *process {
		return begin(t, append([]string{"EMET_NET_LISTEN=" + loopback(built.Port(t))}, env...), append([]string{
			"up", "--export", "--name", name, "-d", filepath.Join(m.dir, name), "--listen", fmt.Sprintf("http://127.0.0.1:%d", built.Port(t)),
		}, args...)...)
	}
	m.requestor = up("requestor", "--no-provider")
	fund(t, c.said["hoodi"], m.requestor)
	for i := range providers {
		m.providers = append(m.providers, up(fmt.Sprintf("provider-%d", i), "--end-units", "--bootstrap", m.requestor.said["EMET_BOOTSTRAP"]))
	}
	return m
}

// replayed checks at the end that the views of every node are the fold of its
// log, and that every decision in it is made again.
func (m *market) replayed(t *testing.T, env []string) {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(m.dir, "*", "store"))
	if err != nil {
		t.Error(err)
	}
	for _, store := range dirs {
		dir := filepath.Dir(store)
		cmd := exec.Command(built.Emet.Path(), "replay", "-d", dir) // the context of the test is over
		cmd.Env = built.Env(env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", filepath.Base(dir), err, out)
		}
	}
}

// of finds the process of a node id.
func (m *market) of(t *testing.T, id string) *process {
	t.Helper()
	for _, p := range m.providers {
		if me, err := p.client().Me(t.Context()); err == nil && strings.EqualFold(me.Identity, id) {
			return p
		}
	}
	t.Fatalf("no provider is %s", id)
	return nil
}

// amountOf reads an amount of a REST answer.
func amountOf(t *testing.T, c *client.Client, path, field string) money.Amount {
	t.Helper()
	var body map[string]any
	if err := c.Do(t.Context(), "GET", path, nil, &body); err != nil {
		t.Fatal(err)
	}
	a, err := money.Parse(fmt.Sprint(body[field]))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A provider that is killed, or stands still, in the middle of a task: the task
// is lost soon, its agreement ends, another takes the task, and nothing is paid
// that was not accepted. When it is back it hears of the end, and bills.
func TestAProviderVanishes(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]struct{ gone, back func(*process) }{
		"killed":  {(*process).die, (*process).again},
		"stopped": {func(p *process) { p.signal(syscall.SIGSTOP) }, func(p *process) { p.signal(syscall.SIGCONT) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMarket(t, 2, "EMET_ACTIVITY_PROVIDER_LOST=8s")
			c, img := m.requestor.client(), built.Serve(t, built.Guest)
			d := strike(t, c, wish{image: img, budget: "1"})
			d.start()
			lost := m.of(t, d.provider)
			spin := d.exec(guest("spin"))
			eventually(t, 20*time.Second, "it spins", func() bool {
				return strings.Contains(ask(t, c, "GET", "/activity-api/v1/activity/"+d.activity+"/command", "").body, "Run")
			})
			how.gone(lost)
			r := d.results(spin, 15*time.Second)
			if got := message(r[len(r)-1]); r[len(r)-1].Result != "Error" || !strings.Contains(got, "out of reach") {
				t.Errorf("the lost task: %+v %q", r, got)
			}
			began := time.Now()
			if err := c.Terminate(t.Context(), d.agreement, "the provider is gone"); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > least/2 {
				t.Errorf("to terminate took %s", took)
			}
			if state, _ := d.state(c); state != "Terminated" {
				t.Errorf("the dead agreement is %s", state)
			}

			again := strike(t, c, wish{image: img, budget: "1", not: []string{d.provider}})
			again.start()
			if r := again.do(guest("args", "elsewhere")); r[len(r)-1].Result != "Ok" {
				t.Errorf("elsewhere: %+v", r)
			}
			if spent := amountOf(t, c, "/payment-api/v1/allocations/"+d.allocation, "spentAmount"); spent.Sign() != 0 {
				t.Errorf("%s was spent on nothing accepted", spent)
			}

			how.back(lost)
			eventually(t, time.Minute, "the provider hears that it is over", func() bool {
				state, reason := d.state(lost.client())
				return state == "Terminated" && strings.Contains(reason, "the provider is gone")
			})
			id := d.bill(time.Minute) // it comes to the requestor, who decides
			doc, err := c.Invoice(t.Context(), id)
			if err != nil || doc.Status != "RECEIVED" || doc.Amount == "0" {
				t.Errorf("the invoice: %+v %v", doc, err)
			}
			if spent := amountOf(t, c, "/payment-api/v1/allocations/"+d.allocation, "spentAmount"); spent.Sign() != 0 {
				t.Errorf("%s was spent on nothing accepted", spent)
			}
			if err := c.Accept(t.Context(), "invoices", id, doc.Amount, d.allocation); err != nil {
				t.Fatal(err)
			}
			eventually(t, 30*time.Second, "the provider finds its payment", func() bool {
				doc, err := lost.client().Invoice(t.Context(), id)
				return err == nil && doc.Status == "SETTLED"
			})
			eventually(t, 30*time.Second, "no exe-unit of the lost activity", func() bool { return len(running(d.activity)) == 0 })
		})
	}
}

// A requestor that does not answer any more, while its task spins: the provider
// stops the work at the agreed time, bills what was done, and is free again.
func TestARequestorVanishes(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 1)
	c, provider := m.requestor.client(), m.providers[0]
	d := strike(t, c, wish{image: built.Serve(t, built.Guest), budget: "1", accept: 30, notes: 12})
	d.start()
	d.exec(guest("spin"))
	d.acceptNote()
	eventually(t, 10*time.Second, "no note waits for acceptance", func() bool {
		notes := ask(t, provider.client(), "GET", "/payment-api/v1/debitNotes", "").body
		return strings.Contains(notes, "ACCEPTED") && !strings.Contains(notes, "ISSUED") && !strings.Contains(notes, "RECEIVED")
	})
	m.requestor.die()

	var reason string
	eventually(t, time.Minute, "the provider ends the agreement", func() (over bool) {
		var state string
		state, reason = d.state(provider.client())
		return state == "Terminated"
	})
	if !strings.Contains(reason, "RequestorUnreachable") {
		t.Errorf("the reason is %s", reason)
	}
	eventually(t, 20*time.Second, "the work is stopped", func() bool { return len(running(d.activity)) == 0 })
	var invoices []client.Document
	eventually(t, 20*time.Second, "the invoice is issued", func() bool {
		_ = provider.client().Do(t.Context(), "GET", "/payment-api/v1/invoices", nil, &invoices)
		return len(invoices) == 1
	})
	if a, err := money.Parse(invoices[0].Amount); err != nil || a.Sign() <= 0 || invoices[0].AgreementID != d.agreement {
		t.Errorf("%+v", invoices[0])
	}

	m.requestor.again()
	d.c = m.requestor.client()
	eventually(t, time.Minute, "the requestor hears that it is over", func() bool {
		state, _ := d.state(d.c)
		return state == "Terminated"
	})
	if _, heard := d.state(d.c); !strings.Contains(heard, "RequestorUnreachable") {
		t.Errorf("the reason is %s", heard)
	}
	if id := d.bill(time.Minute); id != invoices[0].InvoiceID {
		t.Errorf("another invoice came: %s", id)
	}
	next := strike(t, d.c, wish{image: built.Serve(t, built.Guest), budget: "1"}) // the slot is free
	if state, _ := next.state(d.c); state != "Approved" {
		t.Errorf("the next agreement is %s", state)
	}
}

// A requestor that is there but accepts nothing.
func TestARequestorThatAcceptsNothing(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 1)
	d := strike(t, m.requestor.client(), wish{image: built.Serve(t, built.Guest), budget: "1", accept: 15, notes: 1})
	d.create()
	// It is broken off whatever the machine is doing then.
	spin := d.exec(append(slices.Clone(getReady), guest("spin"))...)
	var reason string
	eventually(t, 2*time.Minute, "the agreement is broken off", func() bool {
		var state string
		state, reason = d.state(d.c)
		return state == "Terminated"
	})
	if !strings.Contains(reason, "DebitNotesDeadline") || !strings.Contains(reason, "(15s)") {
		t.Errorf("the reason is %s", reason)
	}
	r := d.results(spin, time.Minute)
	if r[len(r)-1].Result != "Error" {
		t.Errorf("the batch goes on: %s", told(r))
	}
	d.bill(time.Minute)
}

// An agreement in which nobody works is ended.
func TestAnIdleAgreementEnds(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 1, "EMET_PROVIDER_IDLE_AGREEMENT=10s")
	d := strike(t, m.requestor.client(), wish{image: built.Serve(t, built.Guest), budget: "1"})
	var reason string
	eventually(t, 20*time.Second, "the agreement is ended", func() bool {
		var state string
		state, reason = d.state(d.c)
		return state == "Terminated"
	})
	if !strings.Contains(reason, "NoActivity") || !strings.Contains(reason, "within 10s") {
		t.Errorf("the reason is %s", reason)
	}
}

// The demo finishes its picture though one of its providers is killed and stays
// away.
func TestThePictureGetsDone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "demo")
	p := begin(t, []string{"EMET_ACTIVITY_PROVIDER_LOST=15s"}, "demo", "--program", built.Render.Path(), "--dir", dir, "--json", "--no-restart",
		"--width", "240", "--height", "160", "--tiles", "30", "--spp", "20", "--providers", "2")
	var victim int
	eventually(t, time.Minute, "the first provider works:\n"+p.out.String(), func() bool {
		units, _ := filepath.Glob(filepath.Join(dir, "provider-1", "exe-unit", "work", "*", "journal.jsonl"))
		for _, u := range units {
			b, _ := os.ReadFile(u)
			for _, pid := range running(filepath.Join(dir, "provider-1")) {
				line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
				if bytes.Contains(line, []byte("\x00up\x00")) && bytes.Contains(b, []byte("render")) {
					victim = pid
				}
			}
		}
		return victim != 0
	})
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := p.ended(10 * time.Minute); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, p.out)
	}
	var result struct {
		Picture string
		Deals   []struct {
			Name, Status string
			Lost         bool
		}
	}
	if err := json.Unmarshal([]byte(p.out.String()), &result); err != nil {
		t.Fatalf("%v:\n%s", err, p.out)
	}
	f, err := os.Open(result.Picture)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	picture, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	if b := picture.Bounds(); b.Dx() != 240 || b.Dy() != 160 {
		t.Errorf("the picture is %v", b)
	}
	for x := 0; x < 240; x += 7 { // every tile is there: nothing is transparent
		for y := 0; y < 160; y += 7 {
			if _, _, _, a := picture.At(x, y).RGBA(); a != 0xffff {
				t.Fatalf("nothing at %d, %d", x, y)
			}
		}
	}
	paid, lost := 0, 0
	for _, d := range result.Deals {
		switch {
		case d.Lost && d.Name == "provider-1":
			lost++
		case d.Status == "SETTLED":
			paid++
		default:
			t.Errorf("%+v", d)
		}
	}
	if paid == 0 || lost == 0 {
		t.Errorf("%d paid, %d lost", paid, lost)
	}
}
