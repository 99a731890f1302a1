package payment_test

import (
	"bytes"
	"crypto/sha3"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/es/estest"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/payment"
)

const (
	payer  = identity.NodeID("0x7e5f4552091a69125d5dfcb7b8c2659029395bdf")
	payee  = identity.NodeID("0x2b5ad5c4795c026514f8317c7a215e218dccd6cf")
	third  = identity.NodeID("0x00000000000000000000000000000000000000cc")
	id     = "00000000000000000000000000000001"
	vector = `{"activityPayments":[{"activityId":"act-1","amount":"0.25"}],"agreementPayments":[{"agreementId":"agr-1","amount":"0.75"}],"amount":"1","details":"EjQ=","payeeAddr":"0x2b5ad5c4795c026514f8317c7a215e218dccd6cf","payeeId":"0x2b5ad5c4795c026514f8317c7a215e218dccd6cf","payerAddr":"0x7e5f4552091a69125d5dfcb7b8c2659029395bdf","payerId":"0x7e5f4552091a69125d5dfcb7b8c2659029395bdf","paymentId":"00000000000000000000000000000001","paymentPlatform":"erc20-polygon-glm","timestamp":"2026-01-01T00:00:00Z"}`
)

var (
	newYear = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	story   = estest.For(payment.Rules)
	fromP   = identity.Caller{Actor: es.ActorPeer, Node: payer}
	request = payment.RequestSigning{
		PayeeAddr: string(payee), PayeeID: payee, PayerAddr: string(payer), PayerID: payer, PaymentID: id, Platform: "erc20-polygon-glm",
		Shares: []pay.Share{
			{ActivityID: "act-1", AgreementID: "agr-1", Amount: money.MustParse("0.25")},
			{AgreementID: "agr-1", Amount: money.MustParse("0.750")},
		},
		Timestamp: newYear, TxHash: "0x1234",
	}
)

func claim(canonical string) payment.Claim {
	return payment.Claim{By: fromP, Canonical: []byte(canonical), PayeeID: payee, Signature: []byte("s"), Signer: payer}
}

func TestTheSignedBytesAreThoseOfTheNetwork(t *testing.T) {
	t.Parallel()
	s := story.After(t, request, payment.AnswerSigning{PayeeID: payee, Signature: []byte("s")}).State()
	got := s.Sent[payee].Canonical
	if string(got) != vector {
		t.Fatalf("%s", got)
	}
	digest := sha3.Sum256(got)
	if want := "fe166806559ccf4afdaae8b1f20ed30f27cc7b6f82db63a43e072b95d20fe59d"; hex.EncodeToString(digest[:]) != want {
		t.Fatalf("%x", digest)
	}
}

func TestADocumentReadsBack(t *testing.T) {
	t.Parallel()
	d, err := payment.ParseDocument([]byte(vector))
	if err != nil || d.TxHash != "0x1234" || !d.Covered() || len(d.Shares) != 2 {
		t.Fatalf("%+v, %v", d, err)
	}
	b, err := d.Canonical()
	if err != nil || string(b) != vector {
		t.Fatalf("%s, %v", b, err)
	}
}

func TestOnlyCanonicalDocumentsAreRead(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"", "null", "[]", vector + " ", vector + "{}", strings.Replace(vector, ":", ": ", 1),
		strings.Replace(vector, `"amount":"1"`, `"amount":"-1"`, 1), strings.Replace(vector, `"amount":"1"`, `"amount":"0"`, 1),
		strings.Replace(vector, `"amount":"1"`, `"amount":1`, 1), strings.Replace(vector, `"amount":"0.25"`, `"amount":"0.25","allocationId":"a"`, 1),
		strings.Replace(vector, `"EjQ="`, `"*"`, 1), strings.Replace(vector, "0001", "000g", 1),
		strings.Replace(vector, `"payeeId":"0x2b`, `"payeeId":"0x2`, 1), strings.Replace(vector, "2026-01", "2026-13", 1),
		strings.Replace(vector, "erc20-polygon-glm", "glm", 1),
	} {
		if _, err := payment.ParseDocument([]byte(bad)); !errors.Is(err, payment.ErrMalformed) {
			t.Errorf("%.60s…: %v", bad, err)
		}
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add([]byte(vector))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := payment.ParseDocument(b)
		if err != nil {
			return
		}
		again, err := d.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		if d2, err := payment.ParseDocument(again); err != nil || !d2.Amount.Equal(d.Amount) || d2.TxHash != d.TxHash {
			t.Fatalf("%s became %s, %v", b, again, err)
		}
	})
}

func TestRedeliveryIsHarmlessAndConflictsAreRefused(t *testing.T) {
	t.Parallel()
	s := story.After(t, claim(vector))
	s.When(claim(vector)).Then(t)
	other := claim(strings.Replace(vector, `"amount":"1"`, `"amount":"2"`, 1))
	stranger := claim(strings.ReplaceAll(vector, string(payer), string(third)))
	stranger.By.Node, stranger.Signer = third, third
	s.When(other).Refused(t, payment.ErrUndecided)
	s.When(stranger).Refused(t, payment.ErrOtherContent)
	verified := s.After(t, payment.AnswerClaim{Depth: 1, Logs: []payment.LogShare{{Amount: money.MustParse("1")}}})
	verified.When(claim(vector)).Then(t)
	verified.When(other).Refused(t, payment.ErrOtherContent)
	verified.After(t, payment.Finalise{BlockNumber: 9}).When(other).Refused(t, payment.ErrOtherContent)
	disproved := s.After(t, payment.AnswerClaim{Why: "no such transaction"})
	disproved.When(stranger).Refused(t, payment.ErrOtherContent)
	if o := disproved.When(other); o.Err != nil || o.Facts[0].(payment.Claimed).Amount.String() != "2" || o.Facts[0].(payment.Claimed).Attempt != 2 {
		t.Fatalf("what proved nothing stands in the way: %v, %v", o.Facts, o.Err)
	}
	if o := disproved.When(claim(vector)); o.Err != nil || o.Facts[0].(payment.Claimed).Attempt != 2 {
		t.Fatalf("a disproved claim cannot be made again: %v, %v", o.Facts, o.Err)
	}
	for range 15 {
		disproved = disproved.After(t, claim(vector), payment.AnswerClaim{Why: "no"})
	}
	disproved.When(claim(vector)).Refused(t, payment.ErrTooOften)
}

func TestAClaimMustComeFromItsPayer(t *testing.T) {
	t.Parallel()
	c := claim(vector)
	c.By.Node = payee
	story.When(c).Refused(t, identity.ErrForbidden)
	c = claim(vector)
	c.By.Actor = es.ActorREST
	story.When(c).Refused(t, identity.ErrForbidden)
	c = claim(vector)
	c.Signer = payee
	story.When(c).Refused(t, payment.ErrSigner)
	c = claim(vector)
	c.PayeeID = payer
	story.When(c).Refused(t, payment.ErrAddressee)
	theirs := strings.Replace(vector, `"payerAddr":"`+string(payer), `"payerAddr":"0x00000000000000000000000000000000000000cc`, 1)
	story.When(claim(theirs)).Refused(t, payment.ErrPayerAddr)
	story.When(claim(strings.Replace(vector, `"amount":"1"`, `"amount":"0.9"`, 1))).Refused(t, payment.ErrNotCovered)
	story.When(claim("{}")).Refused(t, payment.ErrMalformed)
}

func TestTheChainDecides(t *testing.T) {
	t.Parallel()
	s := story.After(t, claim(vector))
	short := s.After(t, payment.AnswerClaim{Logs: []payment.LogShare{{Amount: money.MustParse("0.5")}, {Amount: money.MustParse("0.4"), Index: 1}}})
	if short.State().Claim.Phase != payment.PhaseDisproved {
		t.Fatal("less than the payment was enough")
	}
	good := s.After(t, payment.AnswerClaim{Depth: 1, Logs: []payment.LogShare{{Amount: money.MustParse("1")}}})
	good.When(payment.AnswerClaim{Why: "late"}).Then(t)
	final := good.After(t, payment.Finalise{BlockNumber: 9})
	final.When(payment.Reverse{Why: "reorg"}).Then(t) // final is final
	keep := payment.KeepProof{Blob: "ab", Size: 7}
	good.When(keep).Then(t) // the block may go
	final.When(payment.KeepProof{Blob: "ab", BlockHash: "b2"}).Refused(t, payment.ErrOtherBlock)
	kept := final.After(t, keep)
	kept.When(keep).Then(t)
	if k := kept.State().Claim.Kept; k.Blob != "ab" || k.Size != 7 || k.PayeeID != payee {
		t.Fatalf("%+v", k)
	}
	for range 20 { // however often a node of the chain changes its mind
		good = good.After(t, payment.Reverse{Why: "reorg"})
		if c := good.State().Claim; c.Phase != payment.PhaseClaimed || c.Claimed.Attempt != 1 || len(c.Proof.Logs) > 0 {
			t.Fatalf("a reversed payment is not looked at again: %+v", c)
		}
		good.When(claim(vector)).Then(t) // it is being looked at
		good = good.After(t, payment.AnswerClaim{Logs: []payment.LogShare{{Amount: money.MustParse("1")}}})
	}
}

func TestAProofIsSignedAndDeliveredOnce(t *testing.T) {
	t.Parallel()
	s := story.After(t, request)
	s.When(request).Then(t)
	s.When(payment.RequestDelivery{PayeeID: payee}).Refused(t, payment.ErrNotSigned)
	failed := s.After(t, payment.AnswerSigning{Failure: "locked", PayeeID: payee})
	failed.When(payment.SignAgain{}).Then(t, failed.State().Sent[payee].Request)
	s = failed.After(t, payment.SignAgain{}, payment.AnswerSigning{PayeeID: payee, Signature: []byte("s")})
	s.When(payment.SignAgain{}).Then(t)
	s.When(request).Then(t)
	s = s.After(t, payment.RequestDelivery{PayeeID: payee})
	s.When(payment.RequestDelivery{PayeeID: payee}).Then(t)
	refused := s.After(t, payment.AnswerDelivery{PayeeID: payee, Refusal: "not found"})
	s = refused.After(t, payment.RequestDelivery{PayeeID: payee}, payment.AnswerDelivery{PayeeID: payee})
	s.When(payment.RequestDelivery{PayeeID: payee}).Then(t)
	if !bytes.Equal(s.State().Sent[payee].Signature, []byte("s")) || !s.State().Sent[payee].Delivered {
		t.Fatalf("%+v", s.State())
	}
}

func TestThePayerKeepsTheProofOfATransferThatAnotherCopyOfItSent(t *testing.T) {
	t.Parallel()
	s := story.After(t, request)
	keep := payment.KeepProof{Blob: "ab", BlockHash: "b1", BlockNumber: 9, Size: 7, TxHash: request.TxHash}
	other := keep
	other.TxHash = "0xother"
	s.When(other).Then(t)
	s.When(keep).Then(t, payment.ProofKept{
		Blob: "ab", BlockHash: "b1", BlockNumber: 9, PayeeID: payee, PaymentID: request.PaymentID, Side: identity.Requestor, Size: 7, TxHash: request.TxHash,
	})
	kept := s.After(t, keep)
	kept.When(keep).Then(t)
	if k := kept.State(); k.Kept.TxHash != request.TxHash || k.Claim.Kept.Blob != "" {
		t.Fatalf("%+v", k)
	}
}

// The transfer may leave the chain and come back in another transaction while
// the proof of the first is on its way. Both deliveries are answered, and the
// answer to the first is none to the second.
func TestADeliveryIsAnsweredAlsoWhenItsProofIsMadeAnew(t *testing.T) {
	t.Parallel()
	again := request
	again.TxHash = "0x" + strings.Repeat("cd", 32)
	signed := payment.AnswerSigning{PayeeID: payee, Signature: []byte("s")}
	ask := payment.RequestDelivery{PayeeID: payee}
	anew := story.After(t, request, signed, ask, again)
	for _, first := range []payment.AnswerDelivery{{PayeeID: payee}, {PayeeID: payee, Refusal: "gone"}} {
		if o := anew.When(first); o.Err != nil || len(o.Facts) != 1 {
			t.Fatalf("the first delivery is open for ever: %v, %v", o.Facts, o.Err)
		}
		s := anew.After(t, first)
		s.When(first).Then(t)
		if x := s.State().Sent[payee]; x.Delivered || x.Refusal != "" {
			t.Errorf("a proof that is not signed yet was answered: %+v", x)
		}
		s = s.After(t, signed, ask)
		if o := s.When(first); o.Err != nil || len(o.Facts) != 1 {
			t.Fatalf("the second delivery: %v, %v", o.Facts, o.Err)
		}
		late := anew.After(t, signed, ask, first) // the answer to the first came after the second was asked for
		if x := late.State().Sent[payee]; x.Delivered {
			t.Errorf("it stands for the second: %+v", x)
		}
		late = late.After(t, payment.AnswerDelivery{PayeeID: payee})
		if !late.State().Sent[payee].Delivered {
			t.Error("the second was delivered")
		}
	}
}
