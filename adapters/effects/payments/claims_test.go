package payments_test

import (
	"context"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/chain/chaintest"
	chainfake "github.com/emet-node/emet/adapters/chain/fake"
	netmemory "github.com/emet-node/emet/adapters/net/memory"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/peer"
)

// prove has the payer prove a payment and returns what became of it.
func (w *world) prove(hash, glm string) (string, payment.State) {
	w.t.Helper()
	id := w.key()
	w.ask(id, hash, glm)
	time.Sleep(20 * time.Second)
	s, _, err := w.payee.money.Payments.Load(context.Background(), payment.ReceivedID(w.payee.id, id))
	if err != nil {
		w.t.Fatal(err)
	}
	return id, s
}

func (w *world) ask(id, hash, glm string) {
	w.t.Helper()
	ctx, stream := context.Background(), payment.SentID(id)
	for _, c := range []payment.Command{
		payment.RequestSigning{
			PayeeAddr: string(w.payee.id), PayeeID: w.payee.id, PayerAddr: string(w.payer.id), PayerID: w.payer.id, PaymentID: id,
			Platform: pay.Platform(w.chain.Profile().Platform()), Shares: []pay.Share{{AgreementID: w.deal, Amount: money.MustParse(glm)}},
			Timestamp: time.Now().UTC(), TxHash: hash,
		}, payment.RequestDelivery{PayeeID: w.payee.id},
	} {
		if _, err := w.payer.money.Payments.Do(ctx, stream, c, w.meta(w.payer)); err != nil {
			w.t.Fatal(err)
		}
		if _, err := w.payer.money.Payments.Await(ctx, stream, func(s payment.State) bool { return s.Sent[w.payee.id].Canonical != nil }); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestClaimsAreHeldAgainstTheChain(t *testing.T) {
	with(t, func(t *testing.T, w *world) {
		w.invoice("7")
		time.Sleep(time.Second)
		good := w.transfer(0, 7)
		w.mine(3)
		call := onchain.Call{From: w.payer.account.Address, To: w.payee.account.Address, Value: chaintest.GLM(1)}
		coin := w.plan(1, call)
		w.mine(3)
		w.chain.Disturb(func(f *chainfake.Faults) { f.Revert = 1 })
		bad := w.transfer(2, 7)
		w.mine(3)
		phase := func(id, glm string) payment.Phase {
			t.Helper()
			_, s := w.prove(w.tx(id).Inclusion.Hash, glm)
			return s.Claim.Phase
		}
		if got := phase(coin, "1"); got != payment.PhaseDisproved {
			t.Errorf("the native coin counts as GLM: %s", got)
		}
		if got := phase(bad, "7"); got != payment.PhaseDisproved {
			t.Errorf("a reverted transaction pays: %s", got)
		}
		if got := phase(good, "8"); got != payment.PhaseDisproved {
			t.Errorf("more than was paid: %s", got)
		}
		if got := phase(good, "4"); got != payment.PhaseVerified {
			t.Errorf("part of it: %s", got)
		}
		if got := phase(good, "4"); got != payment.PhaseDisproved {
			t.Errorf("the same part again: %s", got)
		}
		if got := phase(good, "3"); got != payment.PhaseVerified {
			t.Errorf("the rest: %s", got)
		}
	})
}

// Claims on one transfer at the same moment: one of them holds.
func TestClaimsAtTheSameMoment(t *testing.T) {
	with(t, func(t *testing.T, w *world) {
		w.invoice("7")
		good := w.transfer(0, 7)
		w.mine(3)
		hash := w.tx(good).Inclusion.Hash
		w.n.Faults(func(identity.NodeID, identity.NodeID, string) netmemory.Fault {
			return netmemory.Fault{Delay: time.Second}
		})
		var ids []string
		for range 8 {
			ids = append(ids, w.key())
			w.ask(ids[len(ids)-1], hash, "7")
		}
		time.Sleep(time.Minute)
		verified := 0
		for _, id := range ids {
			s, _, err := w.payee.money.Payments.Load(t.Context(), payment.ReceivedID(w.payee.id, id))
			if err != nil {
				t.Fatal(err)
			}
			if s.Claim.Phase == payment.PhaseVerified {
				verified++
			}
		}
		if verified != 1 {
			t.Errorf("%d payments rest on one transfer", verified)
		}
	})
}

func TestAClaimWaitsForItsBlockAndIsAcknowledgedAgain(t *testing.T) {
	with(t, func(t *testing.T, w *world) {
		w.invoice("7")
		id := w.transfer(0, 7)
		time.Sleep(time.Second)
		proof, s := w.prove(w.tx(id).Newest().Hash, "7")
		if s.Claim.Phase != payment.PhaseClaimed {
			t.Fatalf("%+v", s.Claim)
		}
		w.mine(60)
		stream := payment.ReceivedID(w.payee.id, proof)
		for range 100 {
			w.mine(5)
			if s, _, _ = w.payee.money.Payments.Load(t.Context(), stream); s.Claim.Phase == payment.PhaseFinalised {
				break
			}
		}
		if got := w.payee.types("payment", stream); got != "claimed verified finalised" {
			t.Error(got)
		}
		sent, _, err := w.payer.money.Payments.Load(t.Context(), payment.SentID(proof))
		if err != nil || !sent.Sent[w.payee.id].Delivered {
			t.Errorf("%+v, %v", sent, err)
		}
		x := sent.Sent[w.payee.id]
		if _, err := w.payer.net.Call(t.Context(), w.payer.id, w.payee.id, peer.PaymentSent{Canonical: x.Canonical, Signature: x.Signature}); err != nil {
			t.Errorf("told again: %v", err)
		}
		if _, err := w.payer.net.Call(t.Context(), w.payer.id, w.payee.id, peer.PaymentSent{Canonical: x.Canonical, Signature: []byte("forged")}); err == nil {
			t.Error("a forged signature was taken")
		}
		w.settled()
	})
}

// The block of a payment leaves the chain and another one has the transfer: the
// payment is taken back and counts again, without the payer saying it again.
func TestAReceivedPaymentFollowsItsTransferIntoAnotherBlock(t *testing.T) {
	with(t, func(t *testing.T, w *world) {
		w.invoice("7")
		id := w.transfer(0, 7)
		w.mine(2)
		proof, s := w.prove(w.tx(id).Newest().Hash, "7")
		if s.Claim.Phase != payment.PhaseVerified {
			t.Fatal(s.Claim.Phase)
		}
		w.chain.Reorganise(2, false)
		w.mine(3)
		if s := w.final(id); s.Phase != tx.PhaseFinalised {
			t.Fatal(s.Phase)
		}
		time.Sleep(time.Minute)
		if got := w.payee.types("payment", payment.ReceivedID(w.payee.id, proof)); got != "claimed verified reversed claimed verified finalised" {
			t.Error(got)
		}
		w.settled()
	})
}

// A payment that was taken back may be made by another transaction, which the
// payer says under the same name.
func TestAPaymentThatWasTakenBackIsMadeByAnotherTransaction(t *testing.T) {
	with(t, func(t *testing.T, w *world) {
		w.invoice("7")
		first := w.transfer(0, 7)
		w.mine(2)
		proof, s := w.prove(w.tx(first).Newest().Hash, "7")
		if s.Claim.Phase != payment.PhaseVerified {
			t.Fatal(s.Claim.Phase)
		}
		w.chain.Reorganise(2, true)
		time.Sleep(10 * time.Second)
		hash := w.elsewhere(0, w.pays(7))
		w.ask(proof, hash.String(), "7")
		time.Sleep(2 * time.Minute)
		w.mine(120)
		time.Sleep(2 * time.Hour)
		s, _, err := w.payee.money.Payments.Load(t.Context(), payment.ReceivedID(w.payee.id, proof))
		if err != nil || s.Claim.Phase != payment.PhaseFinalised || s.Claim.Claimed.TxHash != hash.String() {
			t.Errorf("%s %s: %s, %v", s.Claim.Phase, s.Claim.Claimed.TxHash, w.payee.types("payment", payment.ReceivedID(w.payee.id, proof)), err)
		}
		sent, _, err := w.payer.money.Payments.Load(t.Context(), payment.SentID(proof))
		if err != nil || !sent.Sent[w.payee.id].Delivered {
			t.Errorf("%s, %v", w.payer.types("payment", payment.SentID(proof)), err)
		}
	})
}
