package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/emet-node/emet/api/control"
)

// telling are the members of facts that say most about them, in the order in
// which they are shown, with the words before them.
var telling = []struct{ member, word string }{
	{"alias", ""},
	{"name", ""},
	{"nodeName", ""},
	{"engine", ""},
	{"runtime", "runtime"},
	{"preset", "preset"},
	{"agreementId", "agreement"},
	{"negotiationId", "thread"},
	{"demandId", "demand"},
	{"offerId", "offer"},
	{"activityId", "activity"},
	{"batchId", "batch"},
	{"proposalId", "proposal"},
	{"allocationId", "allocation"},
	{"orderId", "order"},
	{"paymentId", "payment"},
	{"invoiceId", "invoice"},
	{"debitNoteId", "note"},
	{"documentId", "document"},
	{"state", ""},
	{"pending", "→"},
	{"outcome", ""},
	{"commands", "commands"},
	{"index", "command"},
	{"code", "code"},
	{"pid", "pid"},
	{"vector", "usage"},
	{"amount", "amount"},
	{"total", "total"},
	{"delta", "by"},
	{"returned", "returned"},
	{"token", "token"},
	{"native", "gas coin"},
	{"platform", "on"},
	{"nonce", "nonce"},
	{"hash", "tx"},
	{"txHash", "tx"},
	{"blockNumber", "block"},
	{"depth", "depth"},
	{"fee", "fee"},
	{"what", ""},
	{"why", "because"},
	{"reason", "because"},
	{"rejection", "because"},
	{"failure", "because"},
	{"message", "because"},
	{"errorMessage", "because"},
}

// summary says in a few words what a fact tells. Ids that the stream's name
// has already are left out.
func summary(f control.Fact) string {
	if f.Erased {
		return "(erased)"
	}
	var data map[string]json.RawMessage
	if json.Unmarshal(f.Data, &data) != nil {
		return ""
	}
	var out []string
	for _, t := range telling {
		text := plain(data[t.member])
		if t.member == "hash" && !strings.HasPrefix(f.Type, "tx.") { // of a key or a block
			continue
		}
		if text == "" || text == "{}" || strings.Contains(f.Stream, text) && strings.HasSuffix(t.member, "Id") {
			continue
		}
		if isID(t.member) {
			text = short(text, 10)
		}
		if t.word != "" {
			text = t.word + " " + text
		}
		out = append(out, short(text, 60))
	}
	if ranges := data["ranges"]; len(ranges) > 0 {
		out = append(out, deals(ranges))
	}
	return short(strings.Join(out, ", "), 120)
}

func isID(member string) bool {
	return strings.HasSuffix(member, "Id") || strings.HasSuffix(strings.ToLower(member), "hash")
}

// plain is a value as people read it.
func plain(v json.RawMessage) string {
	if len(v) == 0 {
		return ""
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		s = string(v)
	}
	var said struct {
		Message string `json:"message"`
	}
	if strings.HasPrefix(s, "{") && json.Unmarshal([]byte(s), &said) == nil && said.Message != "" {
		s = said.Message
	}
	return strings.Join(strings.Fields(s), " ")
}

// deals names the agreements of ranges.
func deals(v json.RawMessage) string {
	var ranges []struct {
		AgreementID string `json:"agreementId"`
		From, To    string
	}
	if json.Unmarshal(v, &ranges) != nil {
		return ""
	}
	var out []string
	for _, r := range ranges {
		out = append(out, fmt.Sprintf("%s…%s of %s", r.From, r.To, short(r.AgreementID, 8)))
	}
	return strings.Join(out, "; ")
}

// shortStream abbreviates the ids in a stream's name.
func shortStream(s string) string {
	parts := strings.Split(s, "-")
	for i := range parts {
		parts[i] = short(parts[i], 12)
	}
	return strings.Join(parts, "-")
}

func indented(v json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, v, "", "  ") != nil {
		return string(v)
	}
	return printable(b.String())
}
