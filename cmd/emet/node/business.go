package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/adapters/exeunit/wasm"
	"github.com/emet-node/emet/adapters/ledger/dossier"
	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/provider/agent"
	"github.com/emet-node/emet/domain/saga/cosign"
	"github.com/emet-node/emet/projections"
)

var errAlone = errors.New("this node is not connected to others")

// aliveOf lists the living activities of an agreement of the provider's side.
func (n *Node) aliveOf(ctx context.Context, agreementID string) ([]string, error) {
	t, err := n.units.Terms(ctx, agreementID)
	if err != nil {
		return nil, err
	}
	rows, err := n.Activity.Activities(ctx, projections.ActivityFilter{
		Owner: t.Provider, Side: identity.Provider, AgreementID: agreementID, Alive: true,
	})
	return activityIDs(rows), err
}

func (n *Node) activitiesOf(ctx context.Context, side identity.Side, agreementID string) ([]string, error) {
	rows, err := n.Activity.Activities(ctx, projections.ActivityFilter{Side: side, AgreementID: agreementID})
	return activityIDs(rows), err
}

func activityIDs(rows []projections.ActivityRow) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = r.ID
	}
	return out
}

func (n *Node) agreementOf(ctx context.Context, activityID string) (string, error) {
	s, _, err := n.Activities.Load(ctx, activity.StreamID(identity.Provider, activityID))
	return s.AgreementID, err
}

// EndUnits ends every exe-unit that this node started.
func (n *Node) EndUnits(ctx context.Context) {
	ids, err := aliveUnits(n.Store)(ctx)
	if err != nil {
		n.log.Warn("exe-units could not be listed", "error", err)
		return
	}
	for _, id := range ids {
		if err := n.units.Kill(ctx, id, "the node stops"); err != nil {
			n.log.Warn("an exe-unit could not be ended; it ends by itself", "activity", id, "error", err)
		}
	}
}

func (n *Node) openTxs(ctx context.Context) ([]string, error) {
	return effects.OpenStreams(ctx, n.Store, "tx-", []string{"tx.planned.v1"}, []string{"tx.finalised.v1", "tx.reverted.v1", "tx.superseded.v1"})
}

func (n *Node) verifiedPayments(ctx context.Context) ([]string, error) {
	return effects.OpenStreams(ctx, n.Store, "payment-P-", []string{"payment.verified.v1"}, []string{"payment.finalised.v1", "payment.reversed.v1"})
}

// Unproved is how many transactions of the log in a data directory are final
// without a proof that is kept. It reads beside a node that runs.
func Unproved(ctx context.Context, dir string) (int, error) {
	r, err := ReadLog(dir)
	if err != nil {
		return 0, err
	}
	defer r.Close() //nolint:errcheck // only read
	ids, err := sentUnproved(ctx, r.Store)
	return len(ids), err
}

// Uncosigned lists the nodes that have not cosigned the log in a data directory
// since the last step of their deals. It reads beside a node that runs.
func Uncosigned(ctx context.Context, dir string) ([]identity.NodeID, error) {
	r, err := ReadLog(dir)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // only read
	b := cosign.NewBook()
	for rec, err := range r.Log.ReadAll(ctx, 0, es.Filter{Types: b.Hears()}) {
		if err != nil {
			return nil, err
		}
		b.Hear(rec)
	}
	return b.Behind(), nil
}

// sentUnproved and receivedUnproved are final, without a proof that is kept.
func sentUnproved(ctx context.Context, s es.Store) ([]string, error) {
	return effects.OpenStreams(ctx, s, "tx-", []string{"tx.finalised.v1"}, []string{"tx.proof_kept.v1"})
}

func receivedUnproved(ctx context.Context, s es.Store) ([]string, error) {
	return effects.OpenStreams(ctx, s, "payment-P-", []string{"payment.finalised.v1"}, []string{"payment.proof_kept.v1"})
}

// adopted are orders with transfers that the log had lost.
func adopted(ctx context.Context, s es.Store) ([]string, error) {
	return effects.OpenStreams(ctx, s, "order-", []string{"order.transfer_adopted.v1"}, nil)
}

// putProof keeps a proof of what everybody can read on a chain: unlike what
// others sent, it is not sealed.
func (n *Node) putProof(i onchain.Inclusion) (blob string, size int64, err error) {
	b, err := dossier.TransferOf(i).Encode()
	if err != nil {
		return "", 0, err
	}
	return n.Blobs.Put(bytes.NewReader(b))
}

// openForBusiness sets up the identities that sell. Nothing that is as it was
// makes a fact, and what the operator closed stays closed.
func (n *Node) openForBusiness(ctx context.Context) error {
	n.handler.listen(n.gossip.Hear)
	for i, w := range n.o.Identities {
		if w.Closed {
			if _, err := n.Providers.Do(ctx, string(n.ids[i]), agent.Pause{By: operator}, operatorMeta(n.ids[i], "close/"+randomHex(8))); err != nil {
				return err
			}
		}
		if w.Provider == nil {
			continue
		}
		if err := n.sell(ctx, n.ids[i], *w.Provider); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

func (n *Node) sell(ctx context.Context, id identity.NodeID, p Provider) error {
	failure := n.testRuntime(ctx)
	if err := ctx.Err(); err != nil { // a test that was cut off says nothing of the runtime
		return err
	}
	err := errors.Join(
		n.provide(ctx, id, agent.Setup{By: operator, Hardware: p.Hardware, Presets: p.Presets, Provider: id, Rules: p.Rules}),
		n.provide(ctx, id, agent.RecordTest{By: operator, Failure: failure, Provider: id, Runtime: wasmRuntime}),
		n.provide(ctx, id, agent.Enable{
			AtStart: true, By: operator, NodeName: p.Name, Platforms: n.platforms(id), Provider: id, Public: p.Public, Subnet: p.Subnet,
		}),
	)
	if err == nil && failure != "" {
		go n.testAgain(ctx, id)
	}
	return err
}

func (n *Node) provide(ctx context.Context, id identity.NodeID, c agent.Command) error {
	_, err := n.Providers.Do(ctx, string(id), c, operatorMeta(id, "setup/"+randomHex(8)))
	return err
}

// testRuntime says why the runtime cannot be offered, "" when it can.
func (n *Node) testRuntime(ctx context.Context) (failure string) {
	err := wasm.Test(ctx, n.o.Program)
	if err == nil {
		return ""
	}
	if ctx.Err() == nil {
		n.log.Error("the WASM runtime failed its self-test and is not offered", "error", err)
	}
	return err.Error()
}

// testEvery is the pause before a runtime that failed is tested again: what
// was in the way, such as a busy machine, may be gone.
const testEvery = time.Minute

func (n *Node) testAgain(ctx context.Context, id identity.NodeID) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(testEvery):
		}
		if n.testRuntime(ctx) != "" {
			continue
		}
		err := n.provide(ctx, id, agent.RecordTest{By: operator, Provider: id, Runtime: wasmRuntime})
		if err == nil {
			n.log.Info("the WASM runtime passed its self-test and is offered")
			return
		}
		n.log.Warn("the result of a self-test was not recorded", "error", err)
	}
}

// What the WASM runtime reports and how it is named in offers: clients ask for
// "wasmtime" when they want to run WASM.
var wasmCounters = []string{
	"golem.!exp.emet.v1.usage.fuel", "golem.usage.cpu_sec", "golem.usage.duration_sec", "golem.usage.gib", "golem.usage.storage_gib",
}

var wasmRuntime = agent.Runtime{Counters: wasmCounters, Engine: "wazero", Isolation: "process", Name: "wasmtime", Version: "1.12.0"}

// platforms are the accounts that an identity is paid on.
func (n *Node) platforms(id identity.NodeID) []agent.Platform {
	out := make([]agent.Platform, 0, len(n.chains.profiles))
	for _, p := range n.chains.profiles {
		out = append(out, agent.Platform{Address: string(id), Platform: p.Platform()})
	}
	return out
}

// KeptClosed says in which state, "disabled" or "draining", a provider stays by
// its operator's word; "" when starting opens it.
func (n *Node) KeptClosed(ctx context.Context, id identity.NodeID) (string, error) {
	s, _, err := n.Providers.Load(ctx, string(id))
	if err != nil || !s.Kept {
		return "", err
	}
	if s.Phase == agent.PhaseDraining {
		return "draining", nil
	}
	return "disabled", nil
}

// Ready waits until an identity that sells has an offer on the market.
func (n *Node) Ready(ctx context.Context, id identity.NodeID) error {
	for {
		head, err := n.Store.Head(ctx)
		if err != nil {
			return err
		}
		rows, err := n.Market.Subscriptions(ctx, projections.Offers, id)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if r.State == "live" && r.Expires.After(time.Now()) {
				return nil
			}
		}
		if err := n.Log.Wait(ctx, head, es.Filter{Types: []string{"offer.published.v1"}}); err != nil {
			return fmt.Errorf("the provider %s has no offer: %w", id, err)
		}
	}
}
