package order_test

import (
	"strings"
	"testing"

	"github.com/emet-node/emet/domain/es/estest"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/order"
)

var (
	one, two = strings.Repeat("1", 64), strings.Repeat("2", 64)
	story    = estest.For(order.Rules)
	open     = order.Open{CycleID: "c", OrderID: "o", PayerAddr: "0xbb", Intents: []order.Intent{
		{ID: one, PayeeAddr: "0xaa", Ranges: debt("0", "3")}, {ID: two, PayeeAddr: "0xcc", Ranges: debt("3", "5")},
	}}
)

func debt(from, to string) []payment.Range {
	return []payment.Range{{AgreementID: "agr", From: money.MustParse(from), To: money.MustParse(to)}}
}

func seal(batch string, intents ...string) order.SealBatch {
	return order.SealBatch{BatchID: batch, Calldata: "0x", Intents: intents, To: "0xff"}
}

func TestAnOrderNamesItsPayments(t *testing.T) {
	t.Parallel()
	s := story.After(t, open)
	if got := s.State(); got.Total.String() != "5" || got.Intents[0].PaymentID != one[:32] || got.Intents[1].Amount.String() != "2" {
		t.Fatalf("%+v", got)
	}
	s.When(open).Then(t)
	story.When(order.Open{OrderID: "o"}).Refused(t, order.ErrIntent)
	twice := open
	twice.Intents = append(twice.Intents[:1:1], open.Intents[0])
	story.When(twice).Refused(t, order.ErrIntent)
	empty := open
	empty.Intents = []order.Intent{{ID: one, Ranges: debt("3", "3")}}
	story.When(empty).Refused(t, order.ErrIntent)
	story.When(order.Complete{}).Refused(t, order.ErrUnknown)
}

func TestAnIntentIsInOneLiveBatch(t *testing.T) {
	t.Parallel()
	s := story.After(t, open, seal("b1", one))
	s.When(seal("b1", one)).Then(t)
	s.When(seal("b2", one)).Refused(t, order.ErrIntent)
	s.When(seal("b2", two, two)).Refused(t, order.ErrIntent)
	s.When(seal("b2", "unheard of")).Refused(t, order.ErrIntent)
	s.When(seal("b2")).Refused(t, order.ErrIntent)
	s.When(order.Complete{}).Refused(t, order.ErrUnbatched)
	returned := s.After(t, order.ReturnBatch{BatchID: "b1", Why: "reverted"})
	returned.When(order.ReturnBatch{BatchID: "b1"}).Then(t)
	returned.When(seal("b1", one)).Then(t) // a batch that failed is not sealed again
	all := returned.After(t, seal("b2", one), seal("b3", two), order.Complete{})
	all.When(order.Complete{}).Then(t)
	all.When(seal("b4", one)).Refused(t, order.ErrCompleted)
}
