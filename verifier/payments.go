package verifier

import (
	"bytes"
	"crypto/sha3"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"
)

// document is what a payer signs.
type document struct {
	ActivityPayments  []activityShare  `json:"activityPayments"`
	AgreementPayments []agreementShare `json:"agreementPayments"`
	Amount            string           `json:"amount"`
	Details           string           `json:"details"`
	PayeeAddr         string           `json:"payeeAddr"`
	PayeeID           string           `json:"payeeId"`
	PayerAddr         string           `json:"payerAddr"`
	PayerID           string           `json:"payerId"`
	PaymentID         string           `json:"paymentId"`
	PaymentPlatform   string           `json:"paymentPlatform"`
	Timestamp         string           `json:"timestamp"`
	tx                []byte
	wei               *big.Int
	shares            []share
}

type activityShare struct {
	ActivityID string `json:"activityId"`
	Amount     string `json:"amount"`
}

type agreementShare struct {
	AgreementID string `json:"agreementId"`
	Amount      string `json:"amount"`
}

// share is what a payment pays of an activity or an agreement.
type share struct {
	activity, agreement string
	wei                 *big.Int
}

var (
	paymentID = regexp.MustCompile(`^[0-9a-f]{32}$`)
	platform  = regexp.MustCompile(`^[^-]+-[^-]+-[^-]+$`)
)

// readDocument refuses any spelling but the canonical one.
func readDocument(b []byte) (d document, ok bool) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if dec.Decode(&d) != nil || !bytes.Equal(d.canonical(), b) {
		return d, false
	}
	positive := func(s string) *big.Int {
		n, is := amount(s)
		if !is || n.Sign() <= 0 {
			ok = false
			return new(big.Int)
		}
		return n
	}
	ok = true
	d.wei = positive(d.Amount)
	for _, s := range d.ActivityPayments {
		d.shares = append(d.shares, share{s.ActivityID, "", positive(s.Amount)})
	}
	for _, s := range d.AgreementPayments {
		d.shares = append(d.shares, share{"", s.AgreementID, positive(s.Amount)})
	}
	var err1, err2 error
	d.tx, err1 = base64.StdEncoding.DecodeString(d.Details)
	_, err2 = time.Parse(time.RFC3339Nano, d.Timestamp)
	d.PaymentID = strings.ReplaceAll(d.PaymentID, "-", "")
	d.PayerID, d.PayeeID = strings.ToLower(d.PayerID), strings.ToLower(d.PayeeID)
	return d, ok && err1 == nil && err2 == nil && paymentID.MatchString(d.PaymentID) && nodeID.MatchString(d.PayerID) && nodeID.MatchString(d.PayeeID) &&
		platform.MatchString(d.PaymentPlatform) && strings.ToLower(d.PaymentPlatform) == d.PaymentPlatform
}

func (d document) canonical() []byte {
	w := new(writer)
	w.object(func(o *object) {
		o.field("activityPayments", true, func() {
			list(w, d.ActivityPayments, func(s activityShare) {
				w.object(func(o *object) { o.text("activityId", s.ActivityID); o.text("amount", s.Amount) })
			})
		})
		o.field("agreementPayments", true, func() {
			list(w, d.AgreementPayments, func(s agreementShare) {
				w.object(func(o *object) { o.text("agreementId", s.AgreementID); o.text("amount", s.Amount) })
			})
		})
		o.text("amount", d.Amount)
		o.text("details", d.Details)
		o.text("payeeAddr", d.PayeeAddr)
		o.text("payeeId", d.PayeeID)
		o.text("payerAddr", d.PayerAddr)
		o.text("payerId", d.PayerID)
		o.text("paymentId", d.PaymentID)
		o.text("paymentPlatform", d.PaymentPlatform)
		o.text("timestamp", d.Timestamp)
	})
	return w.Bytes()
}

// readDocuments reads those of all payments that stand, if all hold.
func (x *examiner) readDocuments() ([]document, verdict) {
	if len(x.paid) == 0 {
		return nil, lacks("there is no payment")
	}
	var out []document
	for _, p := range x.paid {
		paper, ok := x.papers[p.id]
		if !ok {
			return nil, lacks("payment %s is not shown as it was signed", p.id)
		}
		d, ok := readDocument(paper.document)
		if !ok || len(paper.signature) != 65 {
			return nil, no("payment %s is malformed", p.id)
		}
		who, err := signer(sha3.Sum256(paper.document), append(slices.Clone(paper.signature[1:]), paper.signature[0]))
		switch {
		case err != nil, who != x.terms.Requestor, d.PayerID != x.terms.Requestor, d.PayeeID != x.terms.Provider:
			return nil, no("payment %s is not the requestor's to the provider", p.id)
		case d.PaymentID != p.id, !strings.EqualFold("0x"+hex.EncodeToString(d.tx), p.tx):
			return nil, no("the document is of another payment than %s", p.id)
		}
		out = append(out, d)
	}
	return out, yes
}

func (x *examiner) paymentSigned() verdict {
	if x.agreements != 1 {
		return notShown
	}
	_, v := x.documents()
	return v
}

func (x *examiner) paymentAmount() verdict {
	if x.agreements != 1 {
		return notShown
	}
	documents, v := x.documents()
	owed := x.owed()
	if v.is != Proved || owed == nil {
		return lacks("what is owed or what is paid is not proved")
	}
	activities := x.billedActivities()
	for _, d := range documents {
		for _, s := range d.shares {
			if s.agreement == x.Agreement || activities[s.activity] {
				owed.Sub(owed, s.wei)
			}
		}
	}
	if owed.Sign() > 0 {
		return lacks("not everything is paid")
	}
	return yes
}

// billedActivities are those that documents name.
func (s story) billedActivities() map[string]bool {
	out := map[string]bool{}
	for _, n := range s.notes {
		out[n.activity] = true
	}
	for _, i := range s.invoices {
		for _, id := range i.activities {
			out[id] = true
		}
	}
	delete(out, "")
	return out
}

// token is the contract of a platform.
type token struct {
	chain   uint64
	address string
}

var tokens = map[string]token{
	"erc20-amoy-tglm":    {80002, "2b60e60d3fb0b36a7ccb388f9e71570da4c4594f"},
	"erc20-holesky-tglm": {17000, "8888888815bf4db87e57b609a50f938311eed068"},
	"erc20-hoodi-tglm":   {560048, "55555555555556acff9c332ed151758858bd7a26"},
	"erc20-mainnet-glm":  {1, "7dd9c5cba05e151c895fde1cf355c9a1d5da6429"},
	"erc20-polygon-glm":  {137, "0b220b82f3ea3b7f6d9a1d8ab58930c064a2b5bf"},
	"erc20-sepolia-tglm": {11155111, "167b15ada84c63427c6c813b915a42efc72e7175"},
}

func (x *examiner) paymentChain() verdict {
	if x.agreements != 1 {
		return notShown
	}
	documents, v := x.documents()
	if v.is != Proved {
		return lacks("the payments are not proved")
	}
	var all []carried
	for i, t := range x.Payments {
		c, ok := t.open()
		if !ok {
			return no("transfer %d is not what its header says", i)
		}
		if len(x.trust.Blocks) > 0 && !slices.Contains(x.trust.Blocks, c.block) {
			return no("transfer %d is in a block that nobody named", i)
		}
		all = append(all, c)
	}
	for _, d := range documents {
		i := slices.IndexFunc(all, func(c carried) bool { return bytes.Equal(c.tx, d.tx) })
		if i < 0 {
			return lacks("a transaction is not shown")
		}
		if v := all[i].pays(d); v.is != Proved {
			return v
		}
	}
	return yes
}

// pays says whether a transaction moved what a document is about.
func (c carried) pays(d document) verdict {
	t, ok := tokens[d.PaymentPlatform]
	if !ok {
		return lacks("the token of %s is not known", d.PaymentPlatform)
	}
	from, to := strings.ToLower(d.PayerAddr), strings.ToLower(d.PayeeAddr)
	if t.chain != c.chain || !c.succeeded || !nodeID.MatchString(from) || !nodeID.MatchString(to) {
		return no("the transaction failed, or is of another chain")
	}
	direct, any := new(big.Int), new(big.Int)
	for _, l := range c.logs {
		payer, payee, wei, ok := l.transfer(t)
		if !ok || payee != to {
			continue
		}
		any.Add(any, wei)
		if payer == from {
			direct.Add(direct, wei)
		}
	}
	switch {
	case direct.Cmp(d.wei) >= 0:
		return yes
	case any.Cmp(d.wei) >= 0:
		return lacks("it was moved by a contract that is not looked into")
	}
	return no("the transaction does not pay that")
}

// transfer reads a Transfer(from, to, amount) of a token.
func (l entry) transfer(t token) (from, to string, wei *big.Int, ok bool) {
	if hex.EncodeToString(l.contract) != t.address || len(l.topics) != 3 || len(l.data) != 32 ||
		!bytes.Equal(l.topics[0], keccak([]byte("Transfer(address,address,uint256)"))) || !party(l.topics[1]) || !party(l.topics[2]) {
		return "", "", nil, false
	}
	return address(l.topics[1]), address(l.topics[2]), new(big.Int).SetBytes(l.data), true
}

// party says whether a topic is an address.
func party(topic []byte) bool { return bytes.Equal(topic[:12], make([]byte, 12)) }
