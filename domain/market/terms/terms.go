// Package terms reads what an agreement's texts say in the standard properties
// of the market. A property that is missing or malformed reads as its zero
// value: strangers write these texts.
package terms

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// Names of the standard properties that are read.
const (
	RuntimeName      = "golem.runtime.name"
	TaskPackage      = "golem.srv.comp.task_package"
	Expiration       = "golem.srv.comp.expiration" // Unix milliseconds
	MultiActivity    = "golem.srv.caps.multi-activity"
	UsageVector      = "golem.com.usage.vector"
	Coefficients     = "golem.com.pricing.model.linear.coeffs"
	MemoryGiB        = "golem.inf.mem.gib"
	StorageGiB       = "golem.inf.storage.gib"
	Threads          = "golem.inf.cpu.threads"
	NoteInterval     = "golem.com.scheme.payu.debit-note.interval-sec?"
	PaymentTimeout   = "golem.com.scheme.payu.payment-timeout-sec?"
	AcceptTimeout    = "golem.com.payment.debit-notes.accept-timeout?"
	ChosenPlatform   = "golem.com.payment.chosen-platform"
	NodeName         = "golem.node.id.name"
	platformPrefix   = "golem.com.payment.platform."
	platformAddrTail = ".address"
)

// Texts are the flat properties of one side, by name, each value as its JSON
// text.
type Texts map[string]json.RawMessage

// Parse reads a flat properties text; a text that is no object has no
// properties.
func Parse(properties string) Texts {
	var t Texts
	if json.Unmarshal([]byte(properties), &t) != nil {
		return Texts{}
	}
	return t
}

// String reads a text.
func (t Texts) String(name string) string {
	var s string
	if json.Unmarshal(t[name], &s) != nil {
		return ""
	}
	return s
}

// Bool reads a truth value.
func (t Texts) Bool(name string) bool { return string(t[name]) == "true" }

// Strings reads a list of texts.
func (t Texts) Strings(name string) []string {
	var s []string
	if json.Unmarshal(t[name], &s) != nil {
		return nil
	}
	return s
}

// Numbers reads a list of numbers as they were written.
func (t Texts) Numbers(name string) []string {
	var n []json.Number
	if json.Unmarshal(t[name], &n) != nil {
		return nil
	}
	out := make([]string, len(n))
	for i, v := range n {
		out[i] = v.String()
	}
	return out
}

// Int reads a whole number; ok is false when there is none.
func (t Texts) Int(name string) (n int64, ok bool) {
	n, err := strconv.ParseInt(string(t[name]), 10, 64)
	return n, err == nil
}

// Seconds reads a whole number of seconds, 0 when there is none.
func (t Texts) Seconds(name string) time.Duration {
	n, ok := t.Int(name)
	if !ok || n < 0 || n > math.MaxInt32 {
		return 0
	}
	return time.Duration(n) * time.Second
}

// Millis reads a moment given in Unix milliseconds, zero when there is none.
func (t Texts) Millis(name string) time.Time {
	n, ok := t.Int(name)
	if !ok || n <= 0 || n > 1<<53 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

// GiB reads a size in GiB as bytes, 0 when there is none.
func (t Texts) GiB(name string) int64 {
	f, err := strconv.ParseFloat(string(t[name]), 64)
	if err != nil || f <= 0 || f > 1<<20 {
		return 0
	}
	return int64(f * (1 << 30))
}

// Address reads the account of a payment platform; "" when there is none. The
// case is kept as it was written.
func (t Texts) Address(platform string) string {
	return t.String(platformPrefix + platform + platformAddrTail)
}

// Platforms lists the payment platforms that have an address.
func (t Texts) Platforms() []string {
	var out []string
	for name := range t {
		rest, ok := strings.CutPrefix(name, platformPrefix)
		if p, tail := strings.CutSuffix(rest, platformAddrTail); ok && tail && p != "" {
			out = append(out, p)
		}
	}
	return out
}
