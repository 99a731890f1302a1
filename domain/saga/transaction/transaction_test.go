package transaction_test

import (
	"testing"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity/account"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/saga/transaction"
)

// A failure to sign is written down after the unlocking that it missed: the
// signature is asked for again, and once.
func TestAnUnlockingThatAFailureMissedCounts(t *testing.T) {
	t.Parallel()
	p := transaction.Saga.Start()
	asked, unlocked := tx.SigningRequested{Address: payer, ChainID: 560048}, account.Unlocked{Identity: payer}
	var cause es.Position // the wish that a failure follows
	for i, step := range []struct {
		fact  any
		signs bool
	}{
		{planned(t, 1), true},
		{asked, false},
		{failed(tx.Locked), false},
		{unlocked, true},
		{asked, false},
		{unlocked, false},
		{failed(tx.Locked), true},
		{asked, false},
		{unlocked, false},
		{failed(tx.NoGas), false}, // which no key changes
		{asked, false},
		{failed(tx.Locked), false},
		{gone, false},
		{unlocked, false}, // nothing waits for it any more
	} {
		if _, ok := step.fact.(tx.SigningRequested); ok {
			cause = es.Position(i)
		}
		wish, signs := cause, false
		for _, c := range p.Hear(es.Recorded{Event: es.Event{Stream: "tx-a", Position: es.Position(i)}, Info: es.Meta{Cause: &wish}, Data: step.fact}) {
			if again, ok := c.Command.(tx.RequestSigning); ok && c.ID == "a" && again.Replaces == "" {
				signs = true
			}
		}
		if signs != step.signs {
			t.Errorf("%d %T: %v", i, step.fact, signs)
		}
	}
}
