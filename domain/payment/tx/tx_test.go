package tx_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/es/estest"
	"github.com/emet-node/emet/domain/payment/tx"
)

var (
	story = estest.For(tx.Rules)
	plan  = tx.Plan{Address: "0xBB", BatchID: "b", ChainID: 5, Nonce: 3, OrderID: "o", PayloadHash: "0x1", To: "0xFF"}
)

func signed(n int) tx.AnswerSigning {
	return tx.AnswerSigning{Hash: fmt.Sprint("0x", n), Raw: []byte{byte(n)}}
}

func in(block, hash string, status uint64) tx.Include {
	return tx.Include{BlockHash: block, BlockNumber: 9, Hash: hash, Status: status}
}

func sent(t *testing.T) estest.Story[tx.Command, tx.Event, tx.State] {
	t.Helper()
	return story.After(t, plan, tx.RequestSigning{}, signed(1), tx.RequestBroadcast{}, tx.AnswerBroadcast{Hash: "0x1", Result: tx.Accepted, RPC: "r"})
}

func TestANonceHasOnePayload(t *testing.T) {
	t.Parallel()
	s := story.After(t, plan)
	s.When(plan).Then(t)
	other := plan
	other.PayloadHash = "0x2"
	s.When(other).Refused(t, tx.ErrOtherPayload)
	story.When(tx.RequestSigning{}).Refused(t, tx.ErrUnknown)
}

func TestSignedBytesComeBeforeSending(t *testing.T) {
	t.Parallel()
	s := story.After(t, plan)
	s.When(tx.RequestBroadcast{}).Refused(t, tx.ErrNotSigned)
	asked := s.After(t, tx.RequestSigning{})
	asked.When(tx.RequestSigning{}).Then(t)
	asked.When(tx.AnswerSigning{}).Refused(t, tx.ErrNotSigned)
	failed := asked.After(t, tx.AnswerSigning{Code: tx.Locked, Why: "locked"})
	failed.When(signed(1)).Then(t) // the question is closed
	failed.After(t, tx.RequestSigning{}, signed(1), tx.RequestBroadcast{})
}

func TestATransactionIsWatchedUntilItIsFinal(t *testing.T) {
	t.Parallel()
	s := sent(t)
	if !s.State().Watching() {
		t.Fatal("not watched")
	}
	s.When(in("b1", "0x9", 1)).Refused(t, tx.ErrForeign)
	included := s.After(t, in("b1", "0x1", 1))
	included.When(in("b1", "0x1", 1)).Then(t)
	included.When(tx.Finalise{BlockHash: "other"}).Then(t)
	included.When(tx.RequestBroadcast{}).Then(t)
	final := included.After(t, tx.Finalise{BlockHash: "b1"})
	final.When(in("b2", "0x1", 1)).Refused(t, tx.ErrFinal)
	final.When(tx.Orphan{BlockHash: "b1"}).Then(t)
	if s := final.State(); s.Watching() || !s.Final() || s.Phase != tx.PhaseFinalised {
		t.Fatalf("%+v", s)
	}
}

func TestTheProofOfAFinalTransactionIsKeptOnce(t *testing.T) {
	t.Parallel()
	keep := tx.KeepProof{Blob: "ab", BlockHash: "b1", Size: 7}
	s := sent(t).After(t, in("b1", "0x1", 1))
	s.When(keep).Then(t) // the block may go
	final := s.After(t, tx.Finalise{BlockHash: "b1"})
	final.When(tx.KeepProof{Blob: "ab", BlockHash: "b2", Size: 7}).Refused(t, tx.ErrOtherBlock)
	final.When(keep).Then(t, tx.ProofKept{Address: "0xbb", Blob: "ab", BlockHash: "b1", BlockNumber: 9, ChainID: 5, Hash: "0x1", Nonce: 3, Size: 7})
	kept := final.After(t, keep)
	kept.When(keep).Then(t)
	if s := kept.State(); s.Phase != tx.PhaseFinalised || s.Proof.Blob != "ab" {
		t.Fatalf("%+v", s)
	}
	sent(t).After(t, in("b1", "0x1", 0), tx.Finalise{BlockHash: "b1"}).When(keep).Then(t) // it paid nothing
}

func TestARevertedTransactionNeverPays(t *testing.T) {
	t.Parallel()
	s := sent(t).After(t, in("b1", "0x1", 0))
	s.When(tx.Finalise{BlockHash: "b1"}).Then(t, tx.Reverted{
		Address: "0xbb", BatchID: "b", BlockNumber: 9, ChainID: 5, Hash: "0x1", Nonce: 3, OrderID: "o",
	})
}

func TestAnotherBlockFirstTakesTheOldOneBack(t *testing.T) {
	t.Parallel()
	o := sent(t).After(t, in("b1", "0x1", 1)).When(in("b2", "0x1", 1))
	if o.Err != nil || len(o.Facts) != 2 {
		t.Fatalf("%v, %v", o.Facts, o.Err)
	}
	if e, ok := o.Facts[0].(tx.Orphaned); !ok || e.BlockHash != "b1" {
		t.Fatalf("%v", o.Facts)
	}
}

func TestHigherFeesReplaceAndEitherMayWin(t *testing.T) {
	t.Parallel()
	s := sent(t)
	s.When(tx.RequestSigning{}).Then(t) // signed already
	s.When(tx.RequestSigning{Replaces: "0x7"}).Then(t)
	bumped := s.After(t, tx.RequestSigning{Replaces: "0x1"}, signed(2))
	bumped.When(tx.RequestBroadcast{}).Then(t,
		tx.Replaced{Address: "0xbb", By: "0x2", ChainID: 5, Hash: "0x1", Nonce: 3},
		tx.BroadcastRequested{Address: "0xbb", ChainID: 5, Hash: "0x2", Nonce: 3})
	bumped.After(t, tx.RequestBroadcast{}, in("b1", "0x1", 1), tx.Finalise{BlockHash: "b1"})
	bumped.After(t, tx.RequestBroadcast{}, in("b1", "0x2", 1), tx.Finalise{BlockHash: "b1"})
}

func TestOpenIntentsAreAlwaysAnswered(t *testing.T) {
	t.Parallel()
	s := sent(t).After(t, tx.RequestSigning{Replaces: "0x1"}, in("b1", "0x1", 1), tx.Finalise{BlockHash: "b1"})
	if o := s.When(signed(2)); o.Err != nil || len(o.Facts) != 1 {
		t.Fatalf("%v, %v", o.Facts, o.Err)
	}
	if got := s.After(t, signed(2)).State().Phase; got != tx.PhaseFinalised {
		t.Fatalf("a late signature made it %s", got)
	}
}

// Whatever comes: nothing pays after the end, and at most one end.
func TestAFinalNonceStaysFinal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var s tx.State
		ends := 0
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			block := fmt.Sprint("b", rapid.IntRange(1, 3).Draw(t, "block"))
			hash := fmt.Sprint("0x", rapid.IntRange(1, 2).Draw(t, "hash"))
			cmd := rapid.SampledFrom([]tx.Command{
				plan,
				tx.RequestSigning{},
				tx.RequestSigning{Replaces: hash},
				signed(1), signed(2),
				tx.RequestBroadcast{},
				tx.AnswerBroadcast{Hash: hash},
				in(block, hash, 1), in(block, hash, 0),
				tx.Finalise{BlockHash: block},
				tx.Orphan{BlockHash: block},
				tx.KeepProof{Blob: "ab", BlockHash: block, Size: 1},
			}).Draw(t, "command")
			was := s
			facts, err := tx.Rules.Decide(s, cmd)
			if err != nil {
				continue
			}
			s = tx.Rules.Fold(s, facts...)
			for _, f := range facts {
				switch f.(type) {
				case tx.Finalised, tx.Reverted:
					ends++
				case tx.Included, tx.Orphaned:
					if was.Final() {
						t.Fatalf("%T after the end", f)
					}
				}
			}
			if ends > 1 || was.Final() && s.Phase != was.Phase {
				t.Fatalf("%d ends, %s after %s", ends, s.Phase, was.Phase)
			}
		}
	})
}
