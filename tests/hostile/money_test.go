package hostile

import (
	"encoding/json"
	"testing"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment/onchain"
)

// token is the address of GLM.
func (w *world) token(t *testing.T) string {
	t.Helper()
	p, ok := onchain.Network("hoodi")
	if !ok {
		t.Fatal("hoodi is not known")
	}
	return p.Token.String()
}

// story lists the facts of a stream.
func (m *member) story(t *testing.T, s es.Stream) (types []string) {
	t.Helper()
	for e, err := range m.Store.ReadStream(t.Context(), s, 0, es.Forward, 0) {
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, e.Type+" "+string(e.Data))
	}
	return types
}

// books checks what the buyer's log says about money: paid ≤ accepted, and one
// payload for each nonce.
func (w *world) books(t *testing.T) {
	t.Helper()
	accepted, paid := map[es.Stream]money.Amount{}, map[es.Stream]money.Amount{}
	payloads := map[es.Stream]map[string]bool{}
	for r, err := range w.buyer.Log.ReadAll(t.Context(), 0, es.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		var f struct {
			Delta       money.Amount
			PayloadHash string
			Ranges      []struct{ From, To money.Amount }
		}
		_ = json.Unmarshal(r.Event.Data, &f)
		switch r.Type {
		case "bill.note_accepted.v1", "bill.invoice_accepted.v1":
			accepted[r.Stream] = accepted[r.Stream].Add(f.Delta)
		case "bill.paid.v1":
			for _, x := range f.Ranges {
				paid[r.Stream] = paid[r.Stream].Add(x.To.Sub(x.From))
			}
		case "tx.planned.v1":
			if payloads[r.Stream] == nil {
				payloads[r.Stream] = map[string]bool{}
			}
			payloads[r.Stream][f.PayloadHash] = true
		}
	}
	if len(accepted) == 0 || len(payloads) == 0 {
		t.Errorf("%d bills, %d transactions", len(accepted), len(payloads))
	}
	for bill, a := range accepted {
		if paid[bill].IsZero() {
			t.Errorf("%s: nothing of %s is paid: %v", bill, a, w.buyer.story(t, bill))
		}
		if a.Less(paid[bill]) {
			t.Errorf("%s: %s accepted, %s paid", bill, a, paid[bill])
		}
	}
	for nonce, all := range payloads {
		if len(all) > 1 {
			t.Errorf("%s has %d payloads", nonce, len(all))
		}
	}
}
