package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/api/client"
	"github.com/emet-node/emet/tests/built"
)

// putBack replaces a node's directory by an old copy.
func putBack(t *testing.T, old, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(old, dir); err != nil {
		t.Fatal(err)
	}
}

// frozen waits until a node says that it does not act any more, and checks
// that it says so wherever it is asked.
func frozen(t *testing.T, p *process, dir string) {
	t.Helper()
	eventually(t, 30*time.Second, "the node is frozen", func() bool { return len(written(t, dir, "$log.frozen.v1")) > 0 })
	eventually(t, 20*time.Second, "the node says so itself", func() bool { return strings.Contains(p.out.String(), "this node is frozen") })
	var health struct{ Detail string }
	if r := ask(t, p.client(), "GET", "/healthcheck", ""); r.status != 500 || json.Unmarshal([]byte(r.body), &health) != nil || !strings.Contains(health.Detail, "emet store reconcile") {
		t.Errorf("%d %s", r.status, r.body)
	}
	emet(t, nil, "store", "info", "-d", dir).shows(t, 0, "frozen")
	emet(t, nil, "log", "list", "-d", dir).says(t, 0, "this node is frozen", "put back the newest copy")
	emet(t, nil, "store", "reconcile", "-d", dir).says(t, 1, "another process")
}

// An old copy of a node's directory is put back, and the node goes on: what it
// signed meanwhile is held by others, and it is frozen, whether it is shorter
// than what they hold or has grown beyond it. The operator's word lets it go
// on, under another name of its log.
func TestARestoredCopyIsFrozen(t *testing.T) {
	t.Parallel()
	for name, grow := range map[string]int{"shorter": 0, "longer": 200} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMarket(t, 1)
			provider, dir, old := filepath.Join(m.dir, "provider-0"), filepath.Join(m.dir, "requestor"), filepath.Join(m.dir, "old")
			img := built.Serve(t, built.Guest)
			deal := func() {
				d := strike(t, m.requestor.client(), wish{image: img, budget: "1"})
				if err := d.c.Terminate(t.Context(), d.agreement, "Finished"); err != nil {
					t.Fatal(err)
				}
			}
			cosigned := func(n int) func() bool {
				return func() bool { return len(written(t, provider, "peer.checkpoint_cosigned.v1")) >= n }
			}
			deal()
			eventually(t, 20*time.Second, "the agreement is cosigned", cosigned(2))
			m.requestor.kill()
			copyDir(t, dir, old)
			m.requestor.again()
			publish(t, m, 60)
			seen := len(written(t, provider, "peer.checkpoint_cosigned.v1"))
			deal()
			eventually(t, 20*time.Second, "the second agreement is cosigned", cosigned(seen+2))
			m.requestor.kill()
			m.requestor.again()
			if n := len(written(t, provider, "peer.conflict_found.v1")) + len(written(t, dir, "$log.frozen.v1")); n != 0 {
				t.Fatalf("an honest node is accused %d times", n)
			}

			m.requestor.kill()
			m.providers[0].kill()
			putBack(t, old, dir)
			if err := os.Remove(filepath.Join(dir, "store", "checkpoint")); err != nil { // the only one who knew
				t.Fatal(err)
			}
			m.requestor.again()
			publish(t, m, grow)
			m.providers[0].again()
			frozen(t, m.requestor, dir)
			found := written(t, dir, "$log.frozen.v1")
			if data, _ := found[0]["data"].(map[string]any); data["kind"] != "cosigned" || data["note"] == "" || len(found) != 1 {
				t.Errorf("%v", found)
			}
			_, err := try(t, m.requestor.client(), wish{image: img, budget: "1"})
			var refused *client.Error
			if !errors.As(err, &refused) || refused.Status != 503 || !strings.Contains(refused.Message, "frozen") {
				t.Errorf("it agrees, or does not say why not: %v", err)
			}
			if n := len(written(t, dir, "agreement.created.v1")); n != 1 {
				t.Errorf("%d agreements", n)
			}
			m.requestor.kill()
			emet(t, m.requestor.env, "store", "reconcile", "-d", dir).shows(t, 0, "cosigned", "Nothing was changed")
			emet(t, m.requestor.env, "store", "reconcile", "-d", dir, "--reason", "").says(t, 2, "--reason is empty")
			emet(t, m.requestor.env, "store", "reconcile", "-d", dir, "--reason", "the disk died").shows(t, 0, "epoch 1. The node may be started")
			emet(t, m.requestor.env, "store", "reconcile", "-d", dir).says(t, 4, "not frozen")
			m.requestor.again()
			deal()
			eventually(t, 30*time.Second, "its log is cosigned under its new name", func() bool {
				r := emet(t, nil, "log", "list", "-d", dir, "--type", "peer.checkpoint_cosigned.v1", "--limit", "0", "--json")
				opened := written(t, dir, "$log.opened.v1")
				data, _ := opened[len(opened)-1]["data"].(map[string]any)
				return strings.Contains(r.stdout, fmt.Sprint(data["logId"]))
			})
			emet(t, nil, "store", "verify", "-d", dir).says(t, 0)
		})
	}
}

// The copy was taken before a bill was accepted and paid. Put back, the node
// accepts the bill once more and pays nothing: the chain knows better. After
// its operator's word the bill is settled by what was paid, and the next one
// is paid as ever.
func TestARestoredCopyPaysNothingTwice(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 1)
	dir, old := filepath.Join(m.dir, "requestor"), filepath.Join(m.dir, "old")
	d := strike(t, m.requestor.client(), wish{image: built.Serve(t, built.Guest), budget: "1"})
	d.start()
	d.do(guest("args"))
	if err := d.c.DestroyActivity(t.Context(), d.activity, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := d.c.Terminate(t.Context(), d.agreement, "Finished"); err != nil {
		t.Fatal(err)
	}
	id := d.bill(30 * time.Second)
	doc, err := d.c.Invoice(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	m.requestor.kill()
	copyDir(t, dir, old)

	m.requestor.again()
	accept := func() {
		t.Helper()
		if err := m.requestor.client().Accept(t.Context(), "invoices", id, doc.Amount, d.allocation); err != nil {
			t.Fatal(err)
		}
	}
	settled := func(c *client.Client, id string) func() bool {
		return func() bool {
			doc, err := c.Invoice(t.Context(), id)
			return err == nil && doc.Status == "SETTLED"
		}
	}
	accept()
	eventually(t, time.Minute, "the bill is paid", settled(m.providers[0].client(), id))
	eventually(t, time.Minute, "the payment is final", func() bool { return len(written(t, dir, "tx.finalised.v1")) == 1 })
	paid := m.balance(t)
	m.requestor.kill()
	m.providers[0].kill() // nobody can tell but the chain

	putBack(t, old, dir)
	m.requestor.again()
	accept()
	frozen(t, m.requestor, dir)
	time.Sleep(12 * time.Second) // two more runs of the cycle
	if n := len(written(t, dir, "tx.planned.v1")); n != 0 || m.balance(t) != paid {
		t.Fatalf("%d transactions, %s of %s", n, m.balance(t), paid)
	}
	m.requestor.kill()
	emet(t, m.requestor.env, "store", "reconcile", "-d", dir).shows(t, 0, doc.Amount, "would be counted as paid")
	emet(t, nil, "store", "reconcile", "-d", dir, "--reason", "x").says(t, 1, "HOODI_GETH_ADDR")
	emet(t, m.requestor.env, "store", "reconcile", "-d", dir, "--reason", "an old snapshot").shows(t, 0, "is counted as paid")
	m.providers[0].again()
	m.requestor.again()
	eventually(t, time.Minute, "the bill is settled by what was paid", settled(m.requestor.client(), id))
	if n := len(written(t, dir, "tx.planned.v1")); n != 0 || m.balance(t) != paid {
		t.Fatalf("%d transactions, %s of %s", n, m.balance(t), paid)
	}
	eventually(t, time.Minute, "the proof of what was paid is kept", func() bool { return len(written(t, dir, "payment.proof_kept.v1")) == 1 })
	m.provesOffline(t, d.agreement)
	next := strike(t, m.requestor.client(), wish{image: built.Serve(t, built.Guest), budget: "1"})
	next.start()
	next.do(guest("args"))
	next.finish(m)
	if m.balance(t) == paid {
		t.Error("the next bill was not paid")
	}
	emet(t, m.requestor.env, "replay", "-d", dir).says(t, 0)
}

// provesOffline checks that the requestor's dossier proves a payment although no
// chain is asked and the log has no transaction of it.
func (m *market) provesOffline(t *testing.T, agreement string) {
	t.Helper()
	dir, file := filepath.Join(m.dir, "requestor"), filepath.Join(m.dir, "adopted.dossier")
	var ids []string
	for _, c := range []*client.Client{m.requestor.client(), m.providers[0].client()} {
		me, err := c.Me(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, "--identity", me.Identity)
	}
	eventually(t, time.Minute, "the payment is in the signed log", func() bool {
		emet(t, nil, "evidence", "create", agreement, "-d", dir, "--no-chain", "-o", file).says(t, 0)
		r := emet(t, nil, append([]string{"evidence", "verify", file, "--json"}, ids...)...)
		var v struct {
			Claims []struct{ Claim, Verdict, Says string }
		}
		if err := json.Unmarshal([]byte(r.stdout), &v); err != nil {
			t.Fatalf("%v: %s%s", err, r.stdout, r.stderr)
		}
		proved := 0
		for _, c := range v.Claims {
			if c.Verdict == "disproved" {
				t.Fatalf("%s: %s", c.Claim, c.Says)
			}
			if (c.Claim == "payment.chain" || c.Claim == "payment.signed" || c.Claim == "payment.amount") && c.Verdict == "proved" {
				proved++
			}
		}
		return proved == 3
	})
}

// balance is what the requestor holds on the chain.
func (m *market) balance(t *testing.T) string {
	t.Helper()
	me, err := m.requestor.client().Me(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var url string
	for _, kv := range m.requestor.env {
		if v, ok := strings.CutPrefix(kv, "HOODI_GETH_ADDR="); ok {
			url = v
		}
	}
	call := map[string]string{"to": "0x55555555555556acff9c332ed151758858bd7a26", "data": "0x70a08231" + strings.Repeat("0", 24) + strings.TrimPrefix(me.Identity, "0x")}
	return string(rpc(t, url, "eth_call", call, "latest"))
}
