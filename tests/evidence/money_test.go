package evidence

import (
	"crypto/sha3"
	"fmt"
	"math/big"
	"strings"

	"github.com/ethereum/go-ethereum/common"

	"github.com/emet-node/emet/domain/activity/usage"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/payment/pricing"
)

func (w *world) opened() {
	if _, ok := w.log.heads[w.stream("bill")]; ok {
		return
	}
	w.add(w.stream("bill"), bill.Opened{
		AgreementID: w.id, PayeeAddr: string(w.seller.id), PayeeID: w.seller.id, PayerAddr: string(w.buyer.id), PayerID: w.buyer.id,
		Platform: "erc20-hoodi-tglm", Side: w.side,
	})
}

// bill writes the debit notes of an activity.
func (w *world) bill(act string) {
	cpu, seconds := 0, 0
	var last money.Amount
	for n := range w.how.notes {
		cpu, seconds = cpu+w.r.IntN(1e6), seconds+w.r.IntN(1e6)
		vector := fmt.Sprintf("[%d.%06d,%de-6]", cpu/1e6, cpu%1e6, seconds)
		reading := w.add(es.StreamOf("usage", string(w.side)+"-"+act), usage.Sampled{ActivityID: act, At: w.log.now, Source: usage.FromProcess, Vector: vector})
		amount, err := pricing.Cost(w.prices, []string{fmt.Sprintf("%d.%06d", cpu/1e6, cpu%1e6), fmt.Sprintf("%de-6", seconds)})
		if err != nil {
			panic(err)
		}
		switch {
		case w.lies.overcharge:
			amount = amount.Add(money.MustParse("0.000000000000000001"))
		case w.lies.otherNote:
			vector, amount = "[9,9]", w.cost("9", "9")
		case w.lies.lowNote && n > 0:
			vector, amount = "[0,0]", money.Amount{}
		}
		last = amount
		w.note(act, n, amount, vector, reading)
	}
	w.total = w.total.Add(last)
}

func (w *world) cost(usage ...string) money.Amount {
	a, err := pricing.Cost(w.prices, usage)
	if err != nil {
		panic(err)
	}
	return a
}

func (w *world) note(act string, n int, amount money.Amount, vector string, reading es.ID) {
	w.opened()
	s, id := w.stream("bill"), w.hex(16)
	if w.side == identity.Provider {
		w.add(s, bill.NoteIssued{
			ActivityID: act, AgreementID: w.id, Amount: amount, DebitNoteID: id, Nonce: n, Side: w.side, Timestamp: w.log.now,
			UsageEventID: reading.String(), UsageVector: vector,
		})
	} else {
		body := map[string]string{
			"activityId": act, "agreementId": w.id, "debitNoteId": id, "totalAmountDue": amount.String() + strings.Repeat("0", zeros(amount)), "usageCounterVector": vector,
		}
		w.add(s, bill.NoteReceived{
			ActivityID: act, AgreementID: w.id, Amount: amount, DebitNoteID: id, Nonce: n, Raw: w.raw("payment.debit_note", body), Side: w.side,
			Timestamp: w.log.now, UsageVector: vector,
		})
	}
	if w.how.accepted && w.r.IntN(4) > 0 || w.how.accepted && !w.how.invoiced {
		w.accept(act, id, amount)
	}
}

// zeros that may stand behind an amount without changing it.
func zeros(a money.Amount) int {
	if strings.Contains(a.String(), ".") {
		return 1
	}
	return 0
}

func (w *world) accept(act, id string, amount money.Amount) {
	s := w.stream("bill")
	if w.side == identity.Requestor {
		if act != "" {
			w.add(s, bill.NoteAccepted{ActivityID: act, AgreementID: w.id, Amount: amount, DebitNoteID: id, Side: w.side})
		} else {
			w.add(s, bill.InvoiceAccepted{AgreementID: w.id, Amount: amount, InvoiceID: id, Side: w.side})
		}
		return
	}
	kind, body := "payment.accept_invoice", map[string]string{"agreementId": w.id, "amount": amount.String(), "invoiceId": id}
	if act != "" {
		kind, body = "payment.accept_debit_note", map[string]string{"agreementId": w.id, "amount": amount.String(), "debitNoteId": id}
	}
	raw := w.raw(kind, body)
	if w.lies.acceptance {
		text, _ := es.CanonicalJSON(body)
		forger := *w.other
		forger.host = w.own.host
		raw = envelope(&forger, w.own, kind, string(text), w.log.now)
	}
	if act != "" {
		w.add(s, bill.NoteAcceptedByPeer{ActivityID: act, AgreementID: w.id, Amount: amount, DebitNoteID: id, Raw: raw, Side: w.side})
		return
	}
	w.add(s, bill.InvoiceAcceptedByPeer{AgreementID: w.id, Amount: amount, InvoiceID: id, Raw: raw, Side: w.side})
}

// settle writes the invoice and its payment.
func (w *world) settle() {
	if w.how.invoiced {
		w.opened()
		amount := w.total
		if w.lies.invoice {
			amount = amount.Add(money.MustParse("1"))
			w.total = amount
		}
		s, id := w.stream("bill"), w.hex(16)
		if w.side == identity.Provider {
			w.add(s, bill.InvoiceIssued{ActivityIDs: w.acts, AgreementID: w.id, Amount: amount, InvoiceID: id, Side: w.side, Timestamp: w.log.now})
		} else {
			body := map[string]any{"activityIds": w.acts, "agreementId": w.id, "amount": amount.String(), "invoiceId": id}
			w.add(s, bill.InvoiceReceived{
				ActivityIDs: w.acts, AgreementID: w.id, Amount: amount, InvoiceID: id, Raw: w.raw("payment.invoice", body), Side: w.side, Timestamp: w.log.now,
			})
		}
		if w.how.accepted {
			w.accept("", id, amount)
		}
	}
	w.cosign()
	if w.how.paid && w.total.Sign() > 0 {
		w.pay()
	}
	w.cosign()
}

func (w *world) pay() {
	id := w.hex(16)
	amount := w.total.Wei()
	to := common.HexToAddress(string(w.seller.id))
	if w.lies.payee {
		to = common.HexToAddress(string(newParty("mallory").id))
	}
	if w.lies.short {
		amount.Sub(amount, big.NewInt(1))
	}
	tx := w.mine(to, amount)
	w.paidBy, w.paidIn = id, tx
	shares := []pay.Share{{AgreementID: w.id, Amount: w.total}}
	if len(w.acts) > 0 && w.r.IntN(2) == 0 {
		shares = []pay.Share{{ActivityID: w.acts[0], Amount: w.total}}
	}
	doc := payment.Document{
		Amount: w.total, PayeeAddr: string(w.seller.id), PayeeID: w.seller.id, PayerAddr: string(w.buyer.id), PayerID: w.buyer.id,
		PaymentID: id, Platform: "erc20-hoodi-tglm", Shares: shares, Timestamp: noon, TxHash: tx,
	}
	text, err := doc.Canonical()
	if err != nil {
		panic(err)
	}
	signer := w.buyer
	if w.lies.proof {
		signer = w.own
		if w.own == w.buyer {
			signer = w.seller
		}
	}
	rsv := signer.sign(sha3.Sum256(text))
	vrs := append([]byte{rsv[64]}, rsv[:64]...)
	paid := bill.Paid{AgreementID: w.id, PaymentID: id, Ranges: []pay.Range{}, Side: w.side, TxHash: tx}
	if w.side == identity.Requestor {
		w.add(w.stream("bill"), paid)
		w.add(es.StreamOf("payment", payment.SentID(id)), payment.Signed{Canonical: text, PayeeID: w.seller.id, PaymentID: id, Shares: shares, Side: w.side, Signature: vrs})
		return
	}
	s := es.StreamOf("payment", payment.ReceivedID(w.seller.id, id))
	w.add(s, payment.Claimed{Canonical: text, PayeeID: w.seller.id, PayerID: w.buyer.id, PaymentID: id, Shares: shares, Side: w.side, Signature: vrs, TxHash: tx, Amount: w.total})
	w.add(s, payment.Verified{BlockNumber: 5, PayeeID: w.seller.id, PaymentID: id, Side: w.side, TxHash: tx})
	w.add(w.stream("bill"), paid)
}
