package provider_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/props"
	"github.com/emet-node/emet/domain/provider"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func input() provider.OfferInput {
	return provider.OfferInput{
		Hardware:  provider.Hardware{Architecture: "x86_64", Cores: 4, Threads: 3, MemGiB: "8", StorageGiB: "20.5"},
		NodeName:  "calm-fox",
		Now:       time.UnixMilli(1705586871777),
		Platforms: map[string]identity.NodeID{"erc20-holesky-tglm": "0xbabe000000000000000000000000000000000000"},
		Preset: provider.Preset{
			Name: "vm", Runtime: "vm", Initial: "0",
			Coeffs: map[string]string{"golem.usage.duration_sec": "0.0000014", "golem.usage.cpu_sec": "1", "custom.unknown": "5"},
		},
		Runtime: provider.Runtime{Name: "vm", Version: "0.5.2", Capabilities: []string{"vpn", "manifest-support"}, Engine: "wazero"},
		Subnet:  "public",
	}
}

func TestOfferText(t *testing.T) {
	t.Parallel()
	text, constraints, err := provider.BuildOffer(input())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"golem.com.pricing.model.linear.coeffs":[1.0,1.4e-6,0.0]`,
		`"golem.com.usage.vector":["golem.usage.cpu_sec","golem.usage.duration_sec"]`,
		`"golem.inf.mem.gib":8.0`, `"golem.inf.storage.gib":20.5`, `"golem.inf.cpu.threads":3`,
		`"golem.srv.caps.payload-manifest":true`, `"golem.com.payment.protocol.version":3`,
		`"golem.com.payment.debit-notes.accept-timeout?":240`, `"golem.com.scheme.payu.payment-timeout-sec?":120`,
		`"golem.activity.caps.transfer.protocol":["gftp","http","https"]`,
		`"golem.!exp.emet.v1.runtime.engine":"wazero"`,
		`"golem.com.payment.platform.erc20-holesky-tglm.address":"0xbabe000000000000000000000000000000000000"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if again, err := props.Flatten([]byte(text)); err != nil || again != text {
		t.Errorf("not flat: %s %v", again, err)
	}
	if want := "(&\n  (golem.srv.comp.expiration>1705586871777)\n  (golem.node.debug.subnet=public)\n)"; constraints != want {
		t.Errorf("%q", constraints)
	}
}

func TestOfferWithoutPrices(t *testing.T) {
	t.Parallel()
	in := input()
	in.Preset.Coeffs = map[string]string{"custom.unknown": "5"}
	if _, _, err := provider.BuildOffer(in); !errors.Is(err, provider.ErrUnsupported) {
		t.Error(err)
	}
}

// demand is the recorded one of a golem-js client, with the platform chosen.
func demand(extra string) string {
	return fmt.Sprintf(`{"golem.com.payment.chosen-platform":"erc20-holesky-tglm",
	"golem.com.payment.debit-notes.accept-timeout?":120,"golem.com.scheme.payu.debit-note.interval-sec?":120,
	"golem.com.scheme.payu.payment-timeout-sec?":43200,"golem.node.debug.subnet":"public",
	"golem.srv.comp.expiration":%d%s}`, now.Add(time.Hour).UnixMilli(), extra)
}

func ask(t *testing.T, in provider.Input) provider.Decision {
	t.Helper()
	in.Now, in.Requestor = now, "0xdead000000000000000000000000000000000000"
	if in.Offer == "" {
		in.Offer, _, _ = provider.BuildOffer(input())
	}
	d, err := provider.Negotiate(in)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestOneRoundWithGolemJS(t *testing.T) {
	t.Parallel()
	first := ask(t, provider.Input{Demand: demand("")})
	if first.Outcome != provider.Counter {
		t.Fatalf("%+v", first)
	}
	for _, want := range []string{`accept-timeout?":120`, `payment-timeout-sec?":43200`, `coeffs":[1.0,1.4e-6,0.0]`} {
		if !strings.Contains(first.Offer, want) {
			t.Errorf("no %s in %s", want, first.Offer)
		}
	}
	in := provider.Input{Demand: demand(""), Offer: first.Offer, Now: now}
	if d, err := provider.Confirm(in); err != nil || d.Outcome != provider.Approve || d.Offer != first.Offer {
		t.Errorf("%+v %v", d, err)
	}
	in.Offer, _, _ = provider.BuildOffer(input())
	if d, err := provider.Confirm(in); err != nil || d.Outcome != provider.Reject || message(d.Reason) != "Negotiations aren't finished." || isFinal(d.Reason) {
		t.Errorf("%+v %v", d, err)
	}
}

func TestComponentsInOrder(t *testing.T) {
	t.Parallel()
	var names []string
	for _, c := range ask(t, provider.Input{Demand: demand("")}).Components {
		names = append(names, c.Component)
	}
	want := []string{"Validation", "Blacklist", "AllowOnlyList", "LimitAgreements", "LimitExpiration", "AcceptTimeout", "DebitNoteInterval", "PaymentTimeout", "ManifestSignature", "Price"}
	if !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
}

func TestRejections(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) string { return fmt.Sprint(now.Add(d).UnixMilli()) }
	with := func(name, v string) string {
		f, err := props.ParseFlat(demand(""))
		if err != nil {
			t.Fatal(err)
		}
		if f[name] = []byte(v); v == "" {
			delete(f, name)
		}
		return f.Text()
	}
	payload := base64.StdEncoding.EncodeToString([]byte(`{"compManifest":{"net":{"inet":{"out":{"protocols":["https"],"urls":["https://evil.example"]}}}}}`))
	const accept, expires, interval, payment = "golem.com.payment.debit-notes.accept-timeout?", "golem.srv.comp.expiration",
		"golem.com.scheme.payu.debit-note.interval-sec?", "golem.com.scheme.payu.payment-timeout-sec?"
	for name, c := range map[string]struct {
		in      provider.Input
		message string
		final   bool
	}{
		"platform":     {provider.Input{Demand: with("golem.com.payment.chosen-platform", "")}, "Missing fields: /golem/com/payment/chosen-platform", false},
		"busy":         {provider.Input{Demand: demand(""), ActiveAgreements: 1}, "No capacity available. Reached Agreements limit: 1", false},
		"blacklist":    {provider.Input{Demand: demand(""), Policy: provider.Policy{Blacklist: provider.NodeRule{Enabled: true, Identities: []identity.NodeID{"0xdead000000000000000000000000000000000000"}}}}, "Requestor's NodeId is on the blacklist", true},
		"allow":        {provider.Input{Demand: demand(""), Policy: provider.Policy{AllowOnly: provider.NodeRule{Enabled: true}}}, "Requestor is not on the allow-only list", true},
		"early":        {provider.Input{Demand: with(expires, at(time.Minute))}, "Proposal expires at: 2026-05-01T12:01:00Z which is less than 5m or more than 100years from now", true},
		"no deadline":  {provider.Input{Demand: with(accept, "")}, "less than 5m or more than 30m from now", false},
		"type":         {provider.Input{Demand: with(accept, "120.0")}, "not a number of seconds", true},
		"slow":         {provider.Input{Demand: with(accept, "300")}, "DebitNote acceptance deadline should be less than 4m.", true},
		"hasty":        {provider.Input{Demand: with(accept, "4")}, "To low DebitNotes timeout: 4s", true},
		"interval":     {provider.Input{Demand: with(interval, "90000")}, "Demand DebitNote interval 90000 not in acceptable range", true},
		"payment":      {provider.Input{Demand: with(payment, "0")}, "Demand DebitNote payment timeout 0 not in acceptable range", true},
		"long, unpaid": {provider.Input{Demand: strings.Replace(with(payment, ""), at(time.Hour), at(11*time.Hour), 1)}, "exceeds the 10h threshold", true},
		"low price":    {provider.Input{Demand: demand(`,"golem.com.pricing.model.linear.coeffs":[1.0,0.0,0.0]`)}, "[1.0, 0.0, 0.0] < [1.0, 1.4e-6, 0.0]", true},
		"price vector": {provider.Input{Demand: demand(`,"golem.com.pricing.model.linear.coeffs":[1.0]`)}, "invalid price vector", false},
		"manifest":     {provider.Input{Demand: demand(`,"golem.srv.comp.payload":"{"`)}, "invalid manifest", true},
		"outbound":     {provider.Input{Demand: demand(`,"golem.srv.comp.payload":"` + payload + `"`)}, "Outbound rejected because: Everyone: https://evil.example is not on the whitelist", true},
	} {
		d := ask(t, c.in)
		if d.Outcome != provider.Reject || d.Final != c.final || isFinal(d.Reason) != c.final || !strings.Contains(message(d.Reason), c.message) {
			t.Errorf("%s: %s %s", name, d.Outcome, d.Reason)
		}
		if d.Postponed != (name == "busy") {
			t.Errorf("%s: postponed %v", name, d.Postponed)
		}
	}
}

func TestHigherBidIsAdopted(t *testing.T) {
	t.Parallel()
	d := ask(t, provider.Input{Demand: demand(`,"golem.com.pricing.model.linear.coeffs":[2,1.4e-6,0.0]`)})
	if d.Outcome != provider.Counter || !strings.Contains(d.Offer, `coeffs":[2.0,1.4e-6,0.0]`) {
		t.Errorf("%+v", d)
	}
}

func TestWhitelistedOutbound(t *testing.T) {
	t.Parallel()
	payload := base64.StdEncoding.EncodeToString([]byte(`{"compManifest":{"net":{"inet":{"out":{"urls":["https://API.example.com/x"]}}}}}`))
	in := provider.Input{Demand: demand(`,"golem.srv.comp.payload":"` + payload + `"`)}
	in.Policy.Outbound.Domains = []provider.Domain{{Pattern: "api.example.com"}}
	if d := ask(t, in); d.Outcome != provider.Counter {
		t.Errorf("%+v", d)
	}
	in.Policy.Outbound.Disabled = true
	if d := ask(t, in); message(d.Reason) != "outbound is disabled" {
		t.Errorf("%+v", d)
	}
}

// message is that of a reason.
func message(reason string) string {
	var r struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal([]byte(reason), &r) // a text that is no reason has no message
	return r.Message
}

// isFinal says whether the rejection with this reason closes the door.
func isFinal(reason string) bool {
	var m map[string]json.RawMessage
	return json.Unmarshal([]byte(reason), &m) == nil && string(m[market.KeyFinal]) == "true"
}
