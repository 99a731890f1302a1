package payment

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
)

// ErrMalformed says that bytes are no payment document.
var ErrMalformed = errors.New("not a payment document")

// Document is what a payer signs: which debts a transfer settles. Its written
// form is canonical JSON (RFC 8785), the same on all nodes of the network.
type Document struct {
	Amount    money.Amount
	PayeeAddr string
	PayeeID   identity.NodeID
	PayerAddr string
	PayerID   identity.NodeID
	PaymentID string
	Platform  pay.Platform
	Shares    []pay.Share
	Timestamp time.Time
	TxHash    string // 0x and 64 hexadecimal digits
}

// text is the document as it is written. All values are text, so that whatever
// way another node prints a number or a time, its bytes are kept.
type text struct {
	ActivityPayments  []activityShare  `json:"activityPayments"`
	AgreementPayments []agreementShare `json:"agreementPayments"`
	Amount            string           `json:"amount"`
	Details           string           `json:"details"` // base64 of the transaction hash
	PayeeAddr         string           `json:"payeeAddr"`
	PayeeID           string           `json:"payeeId"`
	PayerAddr         string           `json:"payerAddr"`
	PayerID           string           `json:"payerId"`
	PaymentID         string           `json:"paymentId"`
	Platform          string           `json:"paymentPlatform"`
	Timestamp         string           `json:"timestamp"`
}

type activityShare struct {
	ActivityID string `json:"activityId"`
	Amount     string `json:"amount"`
}

type agreementShare struct {
	AgreementID string `json:"agreementId"`
	Amount      string `json:"amount"`
}

// Canonical is the written form of the document.
func (d Document) Canonical() ([]byte, error) {
	hash, err := hex.DecodeString(strings.TrimPrefix(d.TxHash, "0x"))
	if err != nil {
		return nil, fmt.Errorf("%w: transaction hash %q", ErrMalformed, d.TxHash)
	}
	t := text{
		ActivityPayments: []activityShare{}, AgreementPayments: []agreementShare{},
		Amount: d.Amount.String(), Details: base64.StdEncoding.EncodeToString(hash),
		PayeeAddr: d.PayeeAddr, PayeeID: string(d.PayeeID), PayerAddr: d.PayerAddr, PayerID: string(d.PayerID),
		PaymentID: d.PaymentID, Platform: string(d.Platform), Timestamp: d.Timestamp.UTC().Format(time.RFC3339Nano),
	}
	for _, s := range d.Shares {
		if s.ActivityID != "" {
			t.ActivityPayments = append(t.ActivityPayments, activityShare{s.ActivityID, s.Amount.String()})
			continue
		}
		t.AgreementPayments = append(t.AgreementPayments, agreementShare{s.AgreementID, s.Amount.String()})
	}
	return es.CanonicalJSON(t)
}

// ParseDocument reads the written form. It refuses, with [ErrMalformed], bytes
// that are not canonical, since two spellings of one payment would be two
// payments. Shares of activities come without their agreement: the document
// does not name it.
func ParseDocument(b []byte) (Document, error) {
	bad := func(err error) (Document, error) { return Document{}, fmt.Errorf("%w: %w", ErrMalformed, err) }
	var t text
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&t); err != nil {
		return bad(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return bad(errors.New("there is something behind it"))
	}
	if again, err := es.CanonicalJSON(t); err != nil || !bytes.Equal(again, b) {
		return bad(errors.New("it is not in canonical form"))
	}
	d, err := t.document()
	if err != nil {
		return bad(err)
	}
	return d, nil
}

func (t text) document() (d Document, err error) {
	try := func(e error) {
		if err == nil {
			err = e
		}
	}
	amount := func(s string) money.Amount {
		a, e := money.Parse(s)
		try(e)
		if a.Sign() <= 0 {
			try(fmt.Errorf("amount %q is not positive", s))
		}
		return a
	}
	d.Amount = amount(t.Amount)
	for _, s := range t.ActivityPayments {
		d.Shares = append(d.Shares, pay.Share{ActivityID: s.ActivityID, Amount: amount(s.Amount)})
	}
	for _, s := range t.AgreementPayments {
		d.Shares = append(d.Shares, pay.Share{AgreementID: s.AgreementID, Amount: amount(s.Amount)})
	}
	hash, e := base64.StdEncoding.DecodeString(t.Details)
	try(e)
	if d.PaymentID = strings.ReplaceAll(t.PaymentID, "-", ""); len(d.PaymentID) != 32 || strings.Trim(d.PaymentID, "0123456789abcdef") != "" {
		try(fmt.Errorf("payment id %q: want 32 lower-case hexadecimal digits", t.PaymentID))
	}
	d.PayeeID, e = identity.ParseNodeID(t.PayeeID)
	try(e)
	d.PayerID, e = identity.ParseNodeID(t.PayerID)
	try(e)
	d.Platform, e = pay.ParsePlatform(t.Platform)
	try(e)
	d.Timestamp, e = time.Parse(time.RFC3339Nano, t.Timestamp)
	try(e)
	d.TxHash = "0x" + hex.EncodeToString(hash)
	d.PayeeAddr, d.PayerAddr, d.Timestamp = t.PayeeAddr, t.PayerAddr, d.Timestamp.UTC()
	return d, err
}

// Covered says whether the shares add up to no more than the amount.
func (d Document) Covered() bool {
	var sum money.Amount
	for _, s := range d.Shares {
		sum = sum.Add(s.Amount)
	}
	return !d.Amount.Less(sum)
}
