package effects_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/saga/dispatch"
	"github.com/emet-node/emet/domain/saga/expiry"
	"github.com/emet-node/emet/domain/saga/handshake"
	"github.com/emet-node/emet/domain/saga/negotiator"
	"github.com/emet-node/emet/domain/saga/subscription"
	"github.com/emet-node/emet/domain/saga/termination"
)

// commands is what the sagas make of a node's whole log, with all metadata,
// and what is due at the end of it.
func (x *node) commands() (out []string) {
	x.t.Helper()
	processes := []es.Process{
		subscription.Saga.Start(), negotiator.Saga.Start(), handshake.Saga.Start(), dispatch.Saga.Start(), termination.Saga.Start(),
	}
	book := &expiry.Book{Policy: expiry.Policy{IdleAgreement: time.Hour}}
	if err := x.scan(func(r es.Recorded) {
		for _, p := range processes {
			for _, c := range p.Hear(r) {
				b, err := json.Marshal(c.Command)
				if err != nil {
					x.t.Fatal(err)
				}
				m, err := c.Meta.MarshalJSON()
				if err != nil {
					x.t.Fatal(err)
				}
				out = append(out, fmt.Sprintf("%s %s-%s %T%s %s", p.Name(), c.Category, c.ID, c.Command, b, m))
			}
		}
		book.Hear(r)
	}); err != nil {
		x.t.Fatal(err)
	}
	for d, ok := book.Next(); ok; d, ok = book.Next() {
		out = append(out, fmt.Sprintf("%s %s %+v", d.Name, d.At, d.Order(d.At)))
		book.Passed(d)
	}
	return out
}

// What a node did once, its sagas would do again, to the byte: every command
// that is in the log by a saga's key is asked for again under that key.
func TestSagasAreAFunctionOfTheLog(t *testing.T) {
	rented(t, say("x"), func(t *testing.T, p *pair, id string) {
		b, _ := p.exec(id, hello)
		p.closed(id, b)
		p.alice.tellAgreement(identity.Requestor, p.alice.activity(identity.Requestor, id).AgreementID, agreement.Terminate{By: p.alice.client()})
		time.Sleep(time.Hour)
		for _, x := range []*node{p.alice, p.bob} {
			first := x.commands()
			for range 5 { // maps are walked in another order each time
				if again := x.commands(); fmt.Sprint(again) != fmt.Sprint(first) {
					t.Fatalf("%v\n%v", first, again)
				}
			}
		}
		if n := len(p.bob.commands()); n < 8 {
			t.Errorf("%d commands", n)
		}
	})
}
