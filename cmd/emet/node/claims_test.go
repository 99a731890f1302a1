package node

import (
	"context"
	"strings"
	"testing"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/eventschemas"
	"github.com/emet-node/emet/projections"
)

// A transfer is used up by the payments of all identities, whether they are
// still here or not: they may have been paid at one address.
func TestATransferIsUsedUpByAllIdentities(t *testing.T) {
	t.Parallel()
	l := &es.Log{Store: memory.New(), Codec: eventschemas.New()}
	agg := newAggregates(l)
	view, err := projections.OpenPayment(t.Context(), projections.Memory, l)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- view.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		if err := view.Close(); err != nil {
			t.Error(err)
		}
	})
	payer := identity.NodeID("0x" + strings.Repeat("a", 40))
	say := func(payee identity.NodeID, id string, tx onchain.Hash, facts ...any) {
		t.Helper()
		claim := payment.Claimed{
			Amount: money.MustParse("1"), Attempt: 1, Canonical: []byte("{}"), PayeeAddr: "0xcc", PayeeID: payee, PayerAddr: string(payer), PayerID: payer,
			PaymentID: id, Platform: "erc20-hoodi-tglm", Side: identity.Provider, TxHash: tx.String(),
		}
		_, err := l.Append(t.Context(), es.Meta{Key: id + string(payee)}, nil, es.Facts{
			Stream: es.StreamOf(payment.Category, payment.ReceivedID(payee, id)), Expected: es.Any, Facts: append([]any{claim}, facts...),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	verified := func(payee identity.NodeID, id string) payment.Verified {
		return payment.Verified{PayeeID: payee, PaymentID: id, Side: identity.Provider, Logs: []payment.LogShare{{Amount: money.MustParse("1")}, {Amount: money.MustParse("5"), Index: 1}}}
	}
	one, two := identity.NodeID("0x"+strings.Repeat("1", 40)), identity.NodeID("0x"+strings.Repeat("2", 40))
	this, other := onchain.Hash{1}, onchain.Hash{2}
	say(one, "p", this, verified(one, "p"))
	say(two, "p", this, verified(two, "p"))
	say(two, "q", this, verified(two, "q"), payment.Reversed{PayeeID: two, PaymentID: "q", Side: identity.Provider})
	say(two, "r", this, payment.Disproved{PayeeID: two, PaymentID: "r", Side: identity.Provider})
	say(two, "s", other, verified(two, "s"))
	for except, want := range map[string]string{"": "2", "p/" + string(one): "1", "p/" + string(two): "1", "s/" + string(two): "2"} {
		got, err := claims{view: view, agg: agg}.Claimed(t.Context(), onchain.LogRef{ChainID: 560048, Tx: this}, except)
		if err != nil || money.FromWei(got).String() != want {
			t.Errorf("except %q: %v, %v; want %s", except, got, err, want)
		}
	}
}

// Payees of one payment do not wait for each other's proofs, and a proof that is
// signed anew does not wait for the delivery of the old one, which waits for it.
func TestAPayeeThatIsAwayHoldsUpNobody(t *testing.T) {
	t.Parallel()
	queue := func(intent any) string {
		r := es.Recorded{Data: intent}
		r.Stream = es.StreamOf(payment.Category, payment.SentID("p"))
		return queueOf(r)
	}
	one, two := queue(payment.DeliveryRequested{PayeeID: "0x1", PaymentID: "p"}), queue(payment.DeliveryRequested{PayeeID: "0x2", PaymentID: "p"})
	if signing := queue(payment.SigningRequested{PayeeID: "0x1", PaymentID: "p"}); one == two || one == signing {
		t.Error(one, two, signing)
	}
}
