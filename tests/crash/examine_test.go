package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/activity/usage"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/account"
	"github.com/emet-node/emet/domain/identity/appkey"
	"github.com/emet-node/emet/domain/identity/contact"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/order"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/tests/built"
)

// balances are what both hold of the token before a deal.
type balances struct{ payer, payee *big.Int }

func token(t *testing.T) string {
	t.Helper()
	p, ok := onchain.Network("hoodi")
	if !ok {
		t.Fatal("hoodi is not known")
	}
	return p.Token.String()
}

func (w *world) balances(ctx context.Context, t *testing.T) balances {
	t.Helper()
	return balances{w.glm(ctx, t, token(t), w.payer), w.glm(ctx, t, token(t), w.payee)}
}

// book is everything that a node wrote down.
type book struct {
	name  string
	facts []es.Recorded
}

func (p *process) read(ctx context.Context) (book, error) {
	r, err := node.ReadLog(p.dir)
	if err != nil {
		return book{}, err
	}
	defer r.Close() //nolint:errcheck // only read
	b := book{name: p.name}
	for rec, err := range r.Log.ReadAll(ctx, 0, es.Filter{}) {
		if err != nil {
			return b, err
		}
		b.facts = append(b.facts, rec)
	}
	return b, nil
}

// of are the facts of one type, in order.
func of[F any](b book) []F {
	var out []F
	for _, r := range b.facts {
		if f, ok := r.Data.(F); ok {
			out = append(out, f)
		}
	}
	return out
}

// open are the facts that wait for another one: intents without outcome,
// batches without end, transactions and payments whose proof is not kept yet.
func (b book) open() (out []es.Recorded) {
	known, ended := map[es.ID]bool{}, map[es.Stream]bool{}
	for _, r := range b.facts {
		known[r.ID] = true
		switch r.Data.(type) {
		case batch.Closed, tx.ProofKept, payment.ProofKept:
			ended[r.Stream] = true
		}
	}
	for _, r := range b.facts {
		in, ok := r.Data.(es.Intent)
		waits := ok && in.IsIntent() && !known[es.EventID(r.Stream, es.FinalKey(r.ID), 0)]
		switch r.Data.(type) {
		case batch.Accepted, tx.Included, payment.Verified:
			waits = !ended[r.Stream]
		}
		if waits {
			out = append(out, r)
		}
	}
	return out
}

// pending names what is open.
func (b book) pending() []string {
	var out []string
	for _, r := range b.open() {
		out = append(out, fmt.Sprintf("%d %s %s", r.Position, r.Stream, r.Type))
	}
	return out
}

// examine looks at everything that is left of a deal: books, chain, processes.
func (w *world) examine(ctx context.Context, t *testing.T, d deal, before balances) {
	t.Helper()
	buyer, seller := w.quiet(ctx, t, w.requestor), w.quiet(ctx, t, w.provider)
	w.noneLeft(t)
	w.requestor.faults(nil)
	w.provider.faults(nil)
	amount := oneInvoice(t, buyer, seller, d)
	w.paidOnce(ctx, t, buyer, amount, before)
	pricedByUsage(t, seller, d, amount)
	agreed(t, buyer, seller, d)
	oneSelf(t, buyer)
	oneSelf(t, seller)
	sameBatches(t, buyer, seller, d)
	w.restful(ctx, t)
	w.verified(t)
}

// quietTime is how long something may go on after a deal was settled.
const quietTime = 4 * time.Minute

// quiet waits until nothing is open in the books of a node.
func (w *world) quiet(ctx context.Context, t *testing.T, p *process) book {
	t.Helper()
	var b book
	var err error
	for begun := time.Now(); time.Since(begun) < quietTime; time.Sleep(100 * time.Millisecond) {
		if b, err = p.read(ctx); err == nil && len(b.pending()) == 0 {
			return b
		}
	}
	t.Errorf("%s: after %v there is something open: %s (%v)", p.name, quietTime, strings.Join(b.pending(), ", "), err)
	return b
}

// oneInvoice checks that there is one invoice, the same on both sides, and
// returns its amount.
func oneInvoice(t *testing.T, buyer, seller book, d deal) money.Amount {
	t.Helper()
	issued, received, accepted := of[bill.InvoiceIssued](seller), of[bill.InvoiceReceived](buyer), of[bill.InvoiceAccepted](buyer)
	if len(issued) != 1 || len(received) != 1 || len(accepted) != 1 {
		t.Fatalf("%d invoices issued, %d received, %d accepted, want one", len(issued), len(received), len(accepted))
	}
	i, r := issued[0], received[0]
	if i.InvoiceID != d.invoice || r.InvoiceID != d.invoice || i.Amount.Cmp(r.Amount) != 0 || i.AgreementID != d.agreement {
		t.Errorf("invoice issued %+v, received %+v, driver %+v", i, r, d)
	}
	if i.Amount.Sign() <= 0 {
		t.Errorf("the invoice is over %s", i.Amount)
	}
	return i.Amount
}

// paidOnce checks the chain: what left the payer is what the payee got and what
// the invoice says, in one transfer for each intent.
func (w *world) paidOnce(ctx context.Context, t *testing.T, buyer book, amount money.Amount, before balances) {
	t.Helper()
	after := w.balances(ctx, t)
	out, in := new(big.Int).Sub(before.payer, after.payer), new(big.Int).Sub(after.payee, before.payee)
	if out.Cmp(amount.Wei()) != 0 || in.Cmp(amount.Wei()) != 0 {
		t.Errorf("%s wei left the payer and %s came to the payee, the invoice is over %s", out, in, amount.Wei())
	}
	var moved []struct {
		Topics []string `json:"topics"`
		Data   string   `json:"data"`
	}
	pad := func(address string) string { return "0x000000000000000000000000" + strings.TrimPrefix(address, "0x") }
	err := w.ask(ctx, "eth_getLogs", &moved, map[string]any{"fromBlock": "0x0", "toBlock": "latest", "address": token(t), "topics": []any{
		"0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef", nil, pad(w.payee),
	}})
	if err != nil {
		t.Fatal(err)
	}
	intents := of[order.IntentRecorded](buyer)
	if len(moved) != len(intents) {
		t.Errorf("%d transfers on the chain for %d intents", len(moved), len(intents))
	}
	sum := money.Amount{}
	for _, i := range intents {
		sum = sum.Add(i.Amount)
	}
	if sum.Cmp(amount) != 0 {
		t.Errorf("the intents are over %s, the invoice over %s", sum, amount)
	}
	payload := map[string]string{}
	for _, p := range of[tx.Planned](buyer) {
		key := tx.StreamID(p.ChainID, p.Address, p.Nonce)
		if was, ok := payload[key]; ok && was != p.PayloadHash {
			t.Errorf("nonce %s has two payloads: %s and %s", key, was, p.PayloadHash)
		}
		payload[key] = p.PayloadHash
	}
	var nonce string
	if err := w.ask(ctx, "eth_getTransactionCount", &nonce, w.payer, "latest"); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("0x%x", len(payload)); nonce != want {
		t.Errorf("the chain has seen %s transactions of the payer, its books %s", nonce, want)
	}
}

// pricedByUsage checks that the invoice is what the last usage costs.
func pricedByUsage(t *testing.T, seller book, d deal, amount money.Amount) {
	t.Helper()
	final := of[usage.Finalised](seller)
	approved := of[agreement.Received](seller)
	if len(final) != 1 || len(approved) != 1 {
		t.Fatalf("%d final usages, %d agreements", len(final), len(approved))
	}
	want, err := cost(approved[0].Terms.OfferProperties, final[0].Vector)
	if err != nil {
		t.Fatal(err)
	}
	if want.Cmp(new(big.Rat).SetFrac(amount.Wei(), big.NewInt(1e18))) != 0 {
		t.Errorf("the usage %s costs %s, the invoice is over %s", final[0].Vector, want.FloatString(20), amount)
	}
}

// agreed checks that both sides tell the same of their agreement.
func agreed(t *testing.T, buyer, seller book, d deal) {
	t.Helper()
	ours, theirs := of[agreement.Created](buyer), of[agreement.Received](seller)
	if len(ours) != 1 || len(theirs) != 1 || ours[0].AgreementID != theirs[0].AgreementID || ours[0].AgreementID != d.agreement {
		t.Fatalf("agreements created %d, received %d, driver %s", len(ours), len(theirs), d.agreement)
	}
	a, b := ours[0].Terms, theirs[0].Terms
	a.NegotiationID, b.NegotiationID = "", ""
	if x, y := text(t, a), text(t, b); x != y {
		t.Errorf("terms differ:\n%s\n%s", x, y)
	}
	for _, book := range []struct {
		b    book
		side identity.Side
	}{{buyer, identity.Requestor}, {seller, identity.Provider}} {
		var story []string
		for _, r := range book.b.facts {
			if r.Stream == agreement.StreamOf(book.side, d.agreement) {
				switch r.Data.(type) {
				case agreement.Approved, agreement.Terminated, agreement.Rejected, agreement.Cancelled, agreement.Expired:
					story = append(story, r.Type)
				}
			}
		}
		if got := strings.Join(story, " "); got != "agreement.approved.v1 agreement.terminated.v1" {
			t.Errorf("%s: %s", book.b.name, got)
		}
	}
}

// oneSelf checks that a node has one identity, which is the default, and one key.
func oneSelf(t *testing.T, b book) {
	t.Helper()
	if n, d, k := len(of[account.Created](b)), len(of[account.MadeDefault](b)), len(of[appkey.Created](b)); n != 1 || d != 1 || k != 1 {
		t.Errorf("%s: %d identities, %d of them made default, %d app-keys", b.name, n, d, k)
	}
}

// sameBatches checks that what the guest did is told alike on both sides.
func sameBatches(t *testing.T, buyer, seller book, d deal) {
	t.Helper()
	told := func(b book, side identity.Side, id string) (out []string) {
		for _, r := range b.facts {
			if r.Stream != es.StreamOf(batch.Category, batch.StreamID(side, d.activity, id)) {
				continue
			}
			switch r.Data.(type) {
			case batch.CommandStarted, batch.CommandOutput, batch.CommandFinished, batch.TransferFinished, batch.Closed:
				out = append(out, r.Type+" "+text(t, r.Data))
			}
		}
		return out
	}
	for _, id := range d.batches {
		a, b := told(buyer, identity.Requestor, id), told(seller, identity.Provider, id)
		if len(a) == 0 || strings.Join(a, "\n") != strings.Join(b, "\n") {
			t.Errorf("batch %s: the requestor tells\n%s\nthe provider\n%s", id, strings.Join(a, "\n"), strings.Join(b, "\n"))
		}
	}
	for _, b := range []book{buyer, seller} {
		if n := len(of[batch.Accepted](b)); n != len(d.batches) {
			t.Errorf("%s: %d batches accepted, the driver gave %d", b.name, n, len(d.batches))
		}
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// restful restarts both nodes once more and checks that they have nothing more
// to say.
func (w *world) restful(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, p := range []*process{w.requestor, w.provider} {
		if err := p.restart(ctx); err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
	}
	// Steps that were not cosigned yet are, and then there is rest.
	var before [2]int
	for begun := time.Now(); ; {
		time.Sleep(2500 * time.Millisecond) // nothing is what is waited for
		rest := true
		for i, p := range []*process{w.requestor, w.provider} {
			b, err := p.read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range b.facts[before[i]:] {
				if before[i] > 0 && r.Stream.Category() != contact.Category {
					t.Errorf("%s: the log grows with nothing to do: %s %s", p.name, r.Stream, r.Type)
				}
			}
			rest = rest && before[i] == len(b.facts)
			before[i] = len(b.facts)
		}
		if rest {
			return
		}
		if time.Since(begun) > quietTime {
			t.Fatal("the nodes do not come to rest")
		}
	}
}

// verified checks both logs byte by byte.
func (w *world) verified(t *testing.T) {
	t.Helper()
	for _, p := range []*process{w.requestor, w.provider} {
		p.stop()
		r, err := segment.Verify(filepath.Join(p.dir, "store"))
		if err != nil || len(r.Damage) > 0 {
			t.Errorf("%s: %v %v", p.name, err, r.Damage)
		}
		if out, err := exec.CommandContext(t.Context(), built.Faulty.Path(), "replay", "-d", p.dir).CombinedOutput(); err != nil {
			t.Errorf("%s: the views are not the fold of the log, or a decision is another one: %v\n%s", p.name, err, out)
		}
	}
}

// noneLeft waits until no process of an activity lives: their directory is
// below that of the provider.
func (w *world) noneLeft(t *testing.T) {
	t.Helper()
	var left []string
	for begun := time.Now(); time.Since(begun) < quietTime; time.Sleep(100 * time.Millisecond) {
		if left = w.units(); len(left) == 0 {
			return
		}
	}
	t.Errorf("processes are left %v after the deal: %s", quietTime, strings.Join(left, "; "))
}

// units are the processes that work for the provider's activities.
func (w *world) units() (out []string) {
	for _, u := range w.unitPIDs() {
		cmd, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", u))
		out = append(out, fmt.Sprintf("%d %s", u, bytes.ReplaceAll(bytes.TrimRight(cmd, "\x00"), []byte{0}, []byte{' '})))
	}
	return out
}

// unitPIDs finds them by their working directory.
func (w *world) unitPIDs() (out []int) {
	work := filepath.Join(w.provider.dir, "exe-unit") + string(filepath.Separator)
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		var pid int
		if _, err := fmt.Sscan(e.Name(), &pid); err != nil {
			continue
		}
		cwd, err := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		if err == nil && strings.HasPrefix(cwd+string(filepath.Separator), work) {
			out = append(out, pid)
		}
	}
	return out
}

// endUnits ends what a failed test left; the nodes are down by then.
func (w *world) endUnits() {
	if w.provider == nil {
		return
	}
	for _, pid := range w.unitPIDs() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// cost is what a usage costs under an offer.
func cost(offer, vector string) (*big.Rat, error) {
	var o struct {
		Coeffs []json.Number `json:"golem.com.pricing.model.linear.coeffs"`
		Names  []string      `json:"golem.com.usage.vector"`
	}
	var used []json.Number
	if err := decode(offer, &o); err != nil {
		return nil, err
	}
	if err := decode(vector, &used); err != nil {
		return nil, err
	}
	if len(o.Coeffs) != len(used)+1 {
		return nil, fmt.Errorf("%d coefficients for %d counters", len(o.Coeffs), len(used))
	}
	sum := new(big.Rat)
	for i, c := range o.Coeffs {
		x, ok := new(big.Rat).SetString(c.String())
		if !ok {
			return nil, fmt.Errorf("coefficient %q", c)
		}
		if i < len(used) {
			u, ok := new(big.Rat).SetString(used[i].String())
			if !ok {
				return nil, fmt.Errorf("counter %q", used[i])
			}
			x.Mul(x, u)
		}
		sum.Add(sum, x)
	}
	return sum, nil
}

func decode(s string, out any) error {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	return d.Decode(out)
}
