package verifier

import (
	"encoding/json"
	"math/big"
	"slices"
	"testing"
)

// envelopeOf makes the smallest envelope: a field and a signature.
func envelopeOf(fields ...byte) []byte {
	return append(slices.Clone(fields), fieldSignature<<3|2, 1, 0)
}

func TestNumbersOfEnvelopesHaveBounds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what  string
		bytes []byte
		ok    bool
	}{
		{"a number", envelopeOf(fieldSent<<3, 7), true},
		{"a number of 53 bits", envelopeOf(fieldSent<<3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f), true},
		{"a number of 54 bits", envelopeOf(fieldSent<<3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f), false},
		{"a number of 65 bits", envelopeOf(fieldSent<<3, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02), false},
		{"bytes", envelopeOf(fieldBody<<3|2, 1, 'x'), true},
		{"a node id that is too short", envelopeOf(fieldFrom<<3|2, 1, 'x'), false},
		{"a field twice", envelopeOf(fieldBody<<3|2, 0, fieldBody<<3|2, 0), false},
		{"something behind the signature", append(envelopeOf(), 16<<3&0x7f|0x80, 1, 0), false},
		{"a field that is cut off", []byte{fieldSignature<<3 | 2, 9}, false},
		{"no signature", []byte{fieldBody<<3 | 2, 0}, false},
	} {
		if _, ok := readMessage(c.bytes); ok != c.ok {
			t.Errorf("%s: %v", c.what, ok)
		}
	}
}

// A fact is held against what the table in docs/formats.md names, and nothing
// else that a message says.
func TestWhatAFactHasOfItsMessage(t *testing.T) {
	t.Parallel()
	note := content{AgreementID: "a", DebitNoteID: "n", ActivityID: "x", UsageVector: "[1]", wei: big.NewInt(5e17)}
	for _, c := range []struct {
		name, changed, to string
		agrees            bool
	}{
		{"bill.note_received", "", "", true},
		{"bill.note_received", "invoiceId", "i", true},
		{"bill.note_received", "debitNoteId", "m", false},
		{"bill.note_received", "totalAmountDue", "0.50", true},
		{"bill.note_received", "totalAmountDue", "0.51", false},
		{"bill.note_received", "agreementId", "b", false},
		{"bill.note_rejected_by_peer", "invoiceId", "i", false},
		{"bill.note_accepted_by_peer", "amount", "0.5", true},
		{"bill.note_accepted_by_peer", "amount", "0.6", false},
		{"agreement.terminated", "debitNoteId", "m", true},
	} {
		says := map[string]string{"agreementId": "a", "debitNoteId": "n", "activityId": "x", "usageCounterVector": "[1]", "totalAmountDue": "0.5"}
		if c.changed != "" {
			says[c.changed] = c.to
		}
		text, err := json.Marshal(says)
		if err != nil {
			t.Fatal(err)
		}
		if agrees(c.name, note, text) != c.agrees {
			t.Errorf("%s with %s %q: %v", c.name, c.changed, c.to, !c.agrees)
		}
	}
}
