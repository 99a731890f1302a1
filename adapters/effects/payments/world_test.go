package payments_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emet-node/emet/adapters/chain/chaintest"
	"github.com/emet-node/emet/adapters/chain/evm"
	chainfake "github.com/emet-node/emet/adapters/chain/fake"
	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/adapters/effects/payments"
	netmemory "github.com/emet-node/emet/adapters/net/memory"
	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/dealterms"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
	"github.com/emet-node/emet/domain/peer"
	"github.com/emet-node/emet/domain/saga/transaction"
	"github.com/emet-node/emet/eventschemas"
)

var errLocked = errors.New("locked")

// world is a payer and a payee with a debt between them, and a chain.
type world struct {
	t            *testing.T
	n            *netmemory.Network
	chain        *chainfake.Chain
	payer, payee *node
	deal         string
	number       int
}

// node is one side's part in payments.
type node struct {
	t       *testing.T
	account chaintest.Account
	id      identity.NodeID
	l       *es.Log
	money   *payments.Effects
	net     *netmemory.Node
	locked  atomic.Bool
	dry     atomic.Bool // the faucet
	astray  atomic.Bool // its node of the chain
	stop    func()
}

func (x *node) SignTransaction(_ context.Context, as identity.NodeID, digest [32]byte) ([]byte, error) {
	if x.locked.Load() || as != x.id {
		return nil, errLocked
	}
	return x.account.Sign(x.t, digest), nil
}

func (x *node) SignPayment(_ context.Context, as identity.NodeID, text []byte) ([]byte, error) {
	if x.locked.Load() {
		return nil, errLocked
	}
	return append([]byte(as+"|"), text...), nil
}

func recovered(text, signature []byte) (identity.NodeID, error) {
	who, signed, _ := strings.Cut(string(signature), "|")
	if signed != string(text) {
		return "", errors.New("bad signature")
	}
	return identity.NodeID(who), nil
}

// chains knows one network.
type chains struct {
	x *node
	c *chainfake.Chain
}

func (c chains) Chain(id uint64) (onchain.Chain, error) {
	if id != c.c.Profile().ChainID {
		return nil, fmt.Errorf("chain %d is not configured", id)
	}
	return shaky{c.c, &c.x.astray}, nil
}

type unsigned struct{ evm.Unsigned }

func (u unsigned) SigningHash() [32]byte { return u.Digest }

func (c chains) Build(p onchain.Profile, call onchain.Call, nonce, gas uint64, fees onchain.Fees) (payments.Unsigned, error) {
	u, err := evm.Build(p, call, nonce, gas, fees)
	return unsigned{u}, err
}

func (c chains) Fund(_ context.Context, _ uint64, owner onchain.Address) (string, error) {
	if c.x.dry.Load() {
		return "", errors.New("the faucet is dry")
	}
	c.c.Give(owner, chaintest.GLM(1), chaintest.GLM(100))
	return "given", nil
}

// Claimed reads the log; so does OpenIntents.
func (x *node) Claimed(ctx context.Context, ref onchain.LogRef, except string) (*big.Int, error) {
	sum := new(big.Int)
	for r, err := range x.l.ReadAll(ctx, 0, es.Filter{Types: []string{"payment.verified.v1"}}) {
		if err != nil {
			return nil, err
		}
		v := r.Data.(payment.Verified)
		for _, l := range v.Logs {
			if v.TxHash == ref.Tx.String() && l.Index == ref.Index && v.PaymentID+"/"+string(v.PayeeID) != except {
				sum.Add(sum, l.Amount.Wei())
			}
		}
	}
	return sum, nil
}

func (x *node) OpenIntents(ctx context.Context) (out []es.Position, err error) {
	answered := map[string]bool{}
	var open []es.Recorded
	for r, err := range x.l.ReadAll(ctx, 0, es.Filter{}) {
		if err != nil {
			return nil, err
		}
		answered[strings.TrimSuffix(r.Info.Key, "/final")] = true
		if in, ok := r.Data.(es.Intent); ok && in.IsIntent() {
			open = append(open, r)
		}
	}
	for _, r := range open {
		if !answered[r.ID.String()] {
			out = append(out, r.Position)
		}
	}
	return out, nil
}

// slow takes its time to record what was found for a claim.
type slow struct{ effects.Handler }

func (s slow) Handle(ctx context.Context, id string, c any, m es.Meta) error {
	if _, ok := c.(payment.AnswerClaim); ok {
		time.Sleep(time.Second)
	}
	return s.Handler.Handle(ctx, id, c, m)
}

type nowhere struct{}

func (nowhere) Checkpoint(context.Context, string) (es.Position, error)  { return 0, nil }
func (nowhere) SetCheckpoint(context.Context, string, es.Position) error { return nil }

type late struct {
	mu sync.Mutex
	effects.Inbound
}

func (l *late) HandleCall(ctx context.Context, from peer.Caller, m peer.Message) (peer.Message, error) {
	l.mu.Lock()
	in := l.Inbound
	l.mu.Unlock()
	return in.HandleCall(ctx, from, m)
}

func start(t *testing.T, n *netmemory.Network, c *chainfake.Chain, account chaintest.Account, s *memory.Store) *node {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	l := &es.Log{Store: s, Codec: eventschemas.New()}
	x := &node{t: t, account: account, id: identity.NodeID(strings.ToLower(account.Address.String())), l: l}
	h := &late{}
	x.net = n.Join([]identity.NodeID{x.id}, h, nil)
	x.money = &payments.Effects{
		Aggregates: payments.Aggregates{
			Log: l, Agreements: es.NewAggregate(l, agreement.Category, agreement.Rules), Bills: es.NewAggregate(l, bill.Category, bill.Rules),
			Wallets: es.NewAggregate(l, wallet.Category, wallet.Rules), Txs: es.NewAggregate(l, tx.Category, tx.Rules),
			Payments: es.NewAggregate(l, payment.Category, payment.Rules),
		},
		Peers: x.net, Signer: x, Locked: func(err error) bool { return errors.Is(err, errLocked) }, Chains: chains{x, c},
		Recover: recovered, Claims: x, Logger: quiet, AgreementOf: func(context.Context, string) (string, error) { return "", nil },
	}
	in := &payments.Inbound{Effects: x.money, Activities: func(context.Context, identity.Side, string) ([]string, error) { return nil, nil }}
	h.mu.Lock()
	h.Inbound = in.Answers()
	h.mu.Unlock()
	router := effects.Router{
		bill.Category: x.money.Bills, wallet.Category: x.money.Wallets, tx.Category: x.money.Txs,
		payment.Category: slow{x.money.Payments},
	}
	runner := &effects.Runner{Log: l, Router: router, Intents: x, Effects: x.money.Table(), Logger: quiet}
	sagas := &effects.Sagas{Log: l, Router: router, Checkpoints: nowhere{}, Logger: quiet, Processes: []es.Process{transaction.Saga.Start()}}
	watcher := &payments.Watcher{Effects: x.money, Open: func(ctx context.Context) ([]string, error) {
		return effects.OpenStreams(ctx, s, "tx-", []string{"tx.planned.v1"}, []string{"tx.finalised.v1", "tx.reverted.v1"})
	}}
	finality := &payments.FinalityWatcher{Effects: x.money, Verified: func(ctx context.Context) ([]string, error) {
		return effects.OpenStreams(ctx, s, "payment-P-", []string{"payment.verified.v1"}, []string{"payment.finalised.v1", "payment.reversed.v1"})
	}}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{runner.Run, sagas.Run, watcher.Run, finality.Run} {
		wg.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		})
	}
	x.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := x.net.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

func with(t *testing.T, f func(t *testing.T, w *world)) {
	t.Parallel()
	a, b := chaintest.NewAccount(t), chaintest.NewAccount(t)
	synctest.Test(t, func(t *testing.T) {
		p, ok := onchain.Network("hoodi")
		if !ok {
			t.Fatal("no hoodi")
		}
		w := &world{t: t, n: netmemory.New(), chain: chainfake.New(p, false)}
		w.chain.Give(a.Address, chaintest.GLM(10), chaintest.GLM(100))
		w.payer, w.payee = start(t, w.n, w.chain, a, memory.New()), start(t, w.n, w.chain, b, memory.New())
		defer func() { w.payer.stop(); w.payee.stop() }()
		w.agree()
		f(t, w)
	})
}

func (w *world) key() string { w.number++; return fmt.Sprintf("%032x", w.number) }

func (w *world) meta(x *node) es.Meta {
	return es.Meta{Key: w.key(), Actor: es.ActorREST, Identity: string(x.id), Correlation: w.deal}
}

func (x *node) client() identity.Caller {
	return identity.Caller{Actor: es.ActorREST, Node: x.id, Role: identity.RoleManager}
}

// agree makes the agreement that debts are about, on both sides.
func (w *world) agree() {
	ctx, now := context.Background(), time.Now().UTC()
	offerID, demandID := strings.Repeat("a", 32)+"-"+strings.Repeat("b", 64), strings.Repeat("c", 32)+"-"+strings.Repeat("d", 64)
	t := agreement.Terms{
		Created: now, DemandID: demandID, OfferID: offerID, Provider: w.payee.id, Requestor: w.payer.id, ValidTo: now.Add(time.Hour),
		DemandProperties: `{"golem.com.payment.chosen-platform":"` + w.chain.Profile().Platform() + `"}`, OfferProperties: `{}`,
	}
	w.deal = market.PairHash(offerID, demandID, now)
	if _, err := w.payer.money.Agreements.Do(ctx, agreement.StreamID(identity.Requestor, w.deal), agreement.Create{AgreementID: w.deal, By: w.payer.client(), Terms: t}, w.meta(w.payer)); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.payee.money.Agreements.Do(ctx, agreement.StreamID(identity.Provider, w.deal), agreement.Receive{
		AgreementID: w.deal, At: now, By: identity.Caller{Actor: es.ActorPeer, Node: w.payer.id}, Terms: t,
	}, w.meta(w.payee)); err != nil {
		w.t.Fatal(err)
	}
}

// invoice issues one and waits a moment.
func (w *world) invoice(glm string) string {
	w.t.Helper()
	ctx, id := context.Background(), w.key()
	s, _, err := w.payee.money.Agreements.Load(ctx, agreement.StreamID(identity.Provider, w.deal))
	if err != nil {
		w.t.Fatal(err)
	}
	owed, err := dealterms.Of(s)
	if err != nil {
		w.t.Fatal(err)
	}
	now := time.Now().UTC()
	if _, err := w.payee.money.Bills.Do(ctx, bill.StreamID(identity.Provider, w.deal), bill.IssueInvoice{
		AgreementID: w.deal, Amount: money.MustParse(glm), At: now, By: w.payee.client(), DueDate: now.Add(time.Hour), InvoiceID: id, Terms: owed,
	}, w.meta(w.payee)); err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (x *node) types(category, id string) string {
	x.t.Helper()
	var out []string
	for r, err := range x.l.ReadStream(context.Background(), es.StreamOf(category, id), 0) {
		if err != nil {
			x.t.Fatal(err)
		}
		out = append(out, strings.TrimSuffix(strings.TrimPrefix(r.Type, category+"."), ".v1"))
	}
	return strings.Join(out, " ")
}

func (w *world) settled() {
	w.t.Helper()
	for _, x := range []*node{w.payer, w.payee} {
		if open, err := x.OpenIntents(context.Background()); err != nil || len(open) > 0 {
			w.t.Errorf("open intents at %v, %v", open, err)
		}
	}
}

// transfer plans a transaction that pays the payee. Nonces follow each other.
func (w *world) transfer(nonce uint64, glm int64) string {
	w.t.Helper()
	call, err := onchain.Pay(w.chain.Profile(), w.payer.account.Address, []onchain.Payment{{To: w.payee.account.Address, Amount: chaintest.GLM(glm)}})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.plan(nonce, call)
}

func (w *world) plan(nonce uint64, call onchain.Call) string {
	w.t.Helper()
	id := tx.StreamID(w.chain.Profile().ChainID, string(w.payer.id), nonce)
	value := money.FromWei(new(big.Int))
	if call.Value != nil {
		value = money.FromWei(call.Value)
	}
	if _, err := w.payer.money.Txs.Do(context.Background(), id, tx.Plan{
		Address: string(w.payer.id), BatchID: "b", Calldata: "0x" + hex.EncodeToString(call.Data), ChainID: w.chain.Profile().ChainID, Nonce: nonce,
		OrderID: "o", OwnerID: w.payer.id, PayloadHash: w.key(), Platform: pay.Platform(w.chain.Profile().Platform()), To: call.To.String(), Value: value,
	}, w.meta(w.payer)); err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) tx(id string) tx.State {
	w.t.Helper()
	s, _, err := w.payer.money.Txs.Load(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// mine makes blocks, a second apart.
func (w *world) mine(n int) {
	for range n {
		time.Sleep(time.Second)
		w.chain.Mine()
	}
	time.Sleep(2 * time.Second)
}

// final waits until a transaction is.
func (w *world) final(id string) tx.State {
	w.t.Helper()
	for range 200 {
		if s := w.tx(id); s.Final() {
			return s
		}
		w.mine(5)
	}
	w.t.Fatalf("not final: %s", w.payer.types("tx", id))
	return tx.State{}
}
