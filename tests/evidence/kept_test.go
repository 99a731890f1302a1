package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/emet-node/emet/adapters/blobs"
	"github.com/emet-node/emet/adapters/ledger/dossier"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/order"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/payment/tx"
)

// keep writes into the log that a proof lies under an address.
func (w *world) keep(blob string) {
	if w.side == identity.Provider {
		w.add(es.StreamOf("payment", payment.ReceivedID(w.seller.id, w.paidBy)), payment.ProofKept{
			Blob: blob, PayeeID: w.seller.id, PaymentID: w.paidBy, Side: w.side, TxHash: w.paidIn,
		})
		return
	}
	s := es.StreamOf(tx.Category, tx.StreamID(560048, string(w.buyer.id), 0))
	w.add(s, tx.Included{ChainID: 560048, Hash: w.paidIn, Status: 1})
	w.add(s, tx.ProofKept{Blob: blob, ChainID: 560048, Hash: w.paidIn})
}

var errGone = errors.New("the chain is gone")

func gone(context.Context, uint64, onchain.Hash) (*onchain.Inclusion, error) { return nil, errGone }

func isChain(c dossier.Claim) bool { return c.Claim == dossier.ClaimPaymentChain }

// A proof that is kept is what the chain would have told, and the chain is not
// asked. One that is damaged, lost or of something else is not believed: then
// the chain is asked, and if it is gone that is said.
func TestAKeptProofIsAsGoodAsTheChain(t *testing.T) {
	t.Parallel()
	for what, spoil := range map[string]func(*dossier.Transfer){
		"":            nil,
		"lost":        nil,
		"damaged":     nil,
		"header":      func(x *dossier.Transfer) { x.Header[0] ^= 1 },
		"another":     func(x *dossier.Transfer) { *x = dossier.TransferOf(*newWorld(77, whole, cheats{}).transfer) },
		"chain":       func(x *dossier.Transfer) { x.Chain = 1 },
		"receipt":     func(x *dossier.Transfer) { x.Receipt[0][0] ^= 1 },
		"transaction": func(x *dossier.Transfer) { x.Transaction = x.Transaction[:0] },
	} {
		t.Run("blob "+what, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(4) { // both sides
				w := newWorld(seed, whole, cheats{})
				store := map[string][]byte{}
				x := dossier.TransferOf(*w.transfer)
				x.Header, x.Receipt = slices.Clone(x.Header), [][]byte{slices.Clone(x.Receipt[0])}
				x.Receipt = append(x.Receipt, w.transfer.Receipt[1:]...)
				if spoil != nil {
					spoil(&x)
				}
				content, err := x.Encode()
				if err != nil {
					t.Fatal(err)
				}
				store["blob"] = content
				switch what {
				case "lost":
					delete(store, "blob")
				case "damaged":
					store["blob"] = content[:len(content)/2]
				}
				w.keep("blob")
				src := w.source()
				src.Kept = func(sum string) (io.ReadCloser, error) {
					b, ok := store[sum]
					if !ok {
						return nil, blobs.ErrUnknown
					}
					return io.NopCloser(bytes.NewReader(b)), nil
				}
				asked := src.Inclusion
				src.Inclusion = gone
				built := w.buildFrom(src)
				r := w.opinion(t, what, encode(t, built.Dossier))
				verdict := r.Claims[slices.IndexFunc(r.Claims, isChain)].Verdict
				if what == "" {
					if r.Verdict() != dossier.Proved || len(built.Payments) != 1 {
						t.Errorf("seed %d: %+v, %v", seed, r.Claims, built.Lacks)
					}
					continue
				}
				if verdict != dossier.Missing || !strings.Contains(fmt.Sprint(built.Lacks), "blob blob") || !strings.Contains(fmt.Sprint(built.Lacks), errGone.Error()) {
					t.Errorf("seed %d: %s, %v", seed, verdict, built.Lacks)
				}
				src.Inclusion = asked
				again := w.buildFrom(src)
				if r := w.opinion(t, what, encode(t, again.Dossier)); r.Verdict() != dossier.Proved {
					t.Errorf("seed %d, the chain was not asked: %+v", seed, r.Claims)
				}
			}
		})
	}
}

// adopt writes into a requestor's log what it has of a transfer that it learned
// from the chain, because the part of the history that made it was lost: no
// transaction, and a proof that is kept with the payment that rests on it.
func (w *world) adopt(blob string) {
	intent := w.paidBy + w.hex(16)
	w.add(es.StreamOf(order.Category, "o"), order.TransferAdopted{Block: 5, IntentID: intent, OrderID: "o", TxHash: w.paidIn})
	w.add(es.StreamOf("payment", payment.SentID(w.paidBy)), payment.ProofKept{
		Blob: blob, BlockNumber: 5, PayeeID: w.seller.id, PaymentID: w.paidBy, Side: w.side, TxHash: w.paidIn,
	})
}

// A transfer that the log had lost is proved offline by what is kept with its
// payment, and by nothing else.
func TestATransferThatWasLostIsProvedFromWhatIsKept(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		w := newWorldOf(seed, whole, cheats{}, false)
		content, err := dossier.TransferOf(*w.transfer).Encode()
		if err != nil {
			t.Fatal(err)
		}
		src := w.source()
		src.Inclusion = gone
		src.Kept = func(sum string) (io.ReadCloser, error) {
			if sum != "blob" {
				return nil, blobs.ErrUnknown
			}
			return io.NopCloser(bytes.NewReader(content)), nil
		}
		before := w.buildFrom(src)
		if r := w.opinion(t, "before", encode(t, before.Dossier)); r.Claims[slices.IndexFunc(r.Claims, isChain)].Verdict != dossier.Missing {
			t.Fatalf("seed %d: proved before anything was kept: %+v", seed, r.Claims)
		}
		w.adopt("blob")
		src.Log.Store, src.Inclusion = w.log, nil // nobody can be asked
		built := w.buildFrom(src)
		if r := w.opinion(t, "adopted", encode(t, built.Dossier)); r.Verdict() != dossier.Proved || len(built.Payments) != 1 || len(built.Lacks) != 0 {
			t.Errorf("seed %d: %+v, %v", seed, r.Claims, built.Lacks)
		}
	}
}

// A log that is kept in the name of another identity of the same node proves no
// deal: whoever makes the dossier is told.
func TestALogOfAnotherIdentityIsSaidToBe(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) { // both sides
		w := newWorld(seed, whole, cheats{})
		if got := fmt.Sprint(w.build().Lacks); strings.Contains(got, "who made the deal") {
			t.Errorf("seed %d: %s", seed, got)
		}
		w.log.owner = newParty("the default identity")
		if got := fmt.Sprint(w.build().Lacks); !strings.Contains(got, "the word of "+string(w.own.id)+", who made the deal: this log is kept in the name of "+string(w.log.owner.id)) {
			t.Errorf("seed %d: %s", seed, got)
		}
	}
}

// What is kept beside a log is, byte for byte, an entry of a dossier's payments.
func TestAProofIsKeptAsADossierShowsIt(t *testing.T) {
	t.Parallel()
	kept, err := dossier.Transfer{Chain: 560048, Header: []byte{0xc0}, Index: 3, Receipt: [][]byte{{1}, {2, 3}}, Transaction: [][]byte{{4}}}.Encode()
	const golden = `{"chain":560048,"header":"wA==","index":3,"receipt":["AQ==","AgM="],"transaction":["BA=="]}`
	if err != nil || string(kept) != golden {
		t.Fatalf("%s, %v", kept, err)
	}
	var back dossier.Transfer
	if err := json.Unmarshal(kept, &back); err != nil || back.Index != 3 || len(back.Receipt) != 2 {
		t.Fatalf("%+v, %v", back, err)
	}
}
