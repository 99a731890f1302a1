package market

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/emet-node/emet/domain/es"
)

// ParseReason reads the reason that a client gives: a JSON object with a string
// "message" and any further keys, or null or nothing. It returns the object's
// text as it came, or that of an object with an empty message: clients read
// reason.message without looking whether there is a reason.
func ParseReason(text []byte) (string, error) {
	t := bytes.TrimSpace(text)
	if len(t) == 0 || string(t) == "null" {
		return Reason(""), nil
	}
	if len(t) > MaxReasonBytes {
		return "", Errorf(ErrBadText, "Reason is too long: %d bytes, at most %d.", len(t), MaxReasonBytes)
	}
	var r struct {
		Message *string `json:"message"`
	}
	if err := json.Unmarshal(t, &r); err != nil || t[0] != '{' || !utf8.Valid(t) {
		return "", Errorf(ErrBadText, "Reason is not a JSON object with a message.")
	}
	if r.Message == nil {
		return "", Errorf(ErrBadText, "Reason has no message: missing field `message`.")
	}
	return string(t), nil
}

// ForeignReason is ParseReason for what a peer sent: whatever cannot be read
// is kept as the message of a reason, since a reason is never ground to refuse.
func ForeignReason(text string) string {
	r, err := ParseReason([]byte(text))
	if err != nil {
		return Reason(clip(text, 1024))
	}
	return r
}

// Reason makes a reason from a message and further pairs of key and value.
// Values are strings or booleans.
func Reason(message string, extras ...any) string {
	m := map[string]any{"message": message}
	for i := 0; i+1 < len(extras); i += 2 {
		if k, ok := extras[i].(string); ok {
			m[k] = extras[i+1]
		}
	}
	b, err := es.CanonicalJSON(m)
	if err != nil {
		return `{"message":""}`
	}
	return string(b)
}

// Keys of reasons that agents look for.
const (
	KeyFinal         = "golem.proposal.rejection.is-final"
	KeyProviderCode  = "golem.provider.code"
	KeyRequestorCode = "golem.requestor.code"
)

// clip shortens s to at most n bytes without breaking a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.ToValidUTF8(s[:n], "\uFFFD")
}
