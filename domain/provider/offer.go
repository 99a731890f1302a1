package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/props"
	"github.com/emet-node/emet/domain/money"
)

// Preset is a price list for one runtime.
type Preset struct {
	Coeffs  map[string]string // GLM per unit of a counter, decimal text
	Initial string            // GLM per activity, decimal text; "" = 0
	Name    string
	Runtime string
}

// Hardware is what a profile grants, and what the machine is.
type Hardware struct {
	Architecture string // "x86_64", "aarch64"
	Cores        int    // of the machine
	MemGiB       string // decimal text
	StorageGiB   string // decimal text
	Threads      int    // granted
}

// Runtime is what a self-test proved about a runtime.
type Runtime struct {
	Capabilities []string // "inet", "vpn", "manifest-support", …
	Counters     []string // usage counters that it reports
	Engine       string   // for instance "wazero", "" = not told
	Isolation    string   // for instance "kvm", "gvisor", "" = not told
	Name         string
	// Properties are JSON values by their full names; they win over what this
	// package would write.
	Properties map[string]json.RawMessage
	Protocols  []string // of transfers; nil = gftp, http, https
	Version    string
}

// Counters that every supervisor reports.
var Counters = []string{
	"golem.usage.cpu_sec", "golem.usage.duration_sec", "golem.usage.gib", "golem.usage.storage_gib",
}

// OfferInput is all that an offer is made of.
type OfferInput struct {
	Hardware  Hardware
	NodeName  string
	Now       time.Time
	Platforms map[string]identity.NodeID // payment platform → address
	Policy    Policy
	Preset    Preset
	Public    bool // the node can be reached directly
	Runtime   Runtime
	Subnet    string // "" = none
}

// ErrNumber says that a text is no decimal number, or a negative one.
var ErrNumber = errors.New("not a decimal number")

// ErrUnsupported says that a preset prices nothing that its runtime reports.
var ErrUnsupported = errors.New("Unsupported coefficients") //nolint:staticcheck // the text that providers know

// Own property names.
const (
	propEngine    = "golem.!exp.emet.v1.runtime.engine"
	propIsolation = "golem.!exp.emet.v1.runtime.isolation"
	propVector    = "golem.com.usage.vector"
	propCoeffs    = "golem.com.pricing.model.linear.coeffs"
	propAccept    = "golem.com.payment.debit-notes.accept-timeout?"
	propInterval  = "golem.com.scheme.payu.debit-note.interval-sec?"
	propPayment   = "golem.com.scheme.payu.payment-timeout-sec?"
	propExpires   = "golem.srv.comp.expiration"
)

// BuildOffer makes the flat property text and the constraint text of an offer.
// Prices and sizes are always printed with a point or an exponent: requestors
// refuse integers there. It fails with [ErrUnsupported] or [ErrNumber].
func BuildOffer(in OfferInput) (properties, constraints string, err error) {
	p := make(map[string]any)
	describe(p, in)
	if err := sizes(p, in.Hardware); err != nil {
		return "", "", err
	}
	if err := price(p, in.Preset, in.Runtime); err != nil {
		return "", "", err
	}
	for platform, address := range in.Platforms {
		p["golem.com.payment.platform."+platform+".address"] = string(address)
	}
	for name, v := range in.Runtime.Properties {
		p[name] = v
	}
	text, err := json.Marshal(p)
	if err != nil {
		return "", "", fmt.Errorf("build offer %s: %w", in.Preset.Name, err)
	}
	properties, err = props.Flatten(text)
	return properties, Constraints(in.Now, in.Subnet), err
}

func describe(p map[string]any, in OfferInput) {
	set := func(name, v string) {
		if v != "" {
			p[name] = v
		}
	}
	set("golem.node.id.name", in.NodeName)
	set("golem.node.debug.subnet", in.Subnet)
	set("golem.inf.cpu.architecture", in.Hardware.Architecture)
	set("golem.runtime.name", in.Runtime.Name)
	set("golem.runtime.version", in.Runtime.Version)
	set(propEngine, in.Runtime.Engine)
	set(propIsolation, in.Runtime.Isolation)
	p["golem.node.net.is-public"] = in.Public
	p["golem.inf.cpu.cores"] = in.Hardware.Cores
	p["golem.inf.cpu.threads"] = in.Hardware.Threads
	if len(in.Runtime.Capabilities) > 0 {
		p["golem.runtime.capabilities"] = in.Runtime.Capabilities
	}
	p["golem.srv.caps.multi-activity"] = true
	p["golem.srv.caps.payload-manifest"] = slices.Contains(in.Runtime.Capabilities, "manifest-support")
	p["golem.com.scheme"] = "payu"
	p["golem.com.pricing.model"] = "linear"
	p["golem.com.payment.protocol.version"] = 3
	p[propAccept] = seconds(in.Policy.acceptTimeout())
	p[propInterval] = seconds(in.Policy.noteInterval())
	p[propPayment] = seconds(in.Policy.paymentTimeout())
	protocols := in.Runtime.Protocols
	if protocols == nil {
		protocols = []string{"gftp", "http", "https"}
	}
	p["golem.activity.caps.transfer.protocol"] = slices.Sorted(slices.Values(protocols))
	p["golem.activity.caps.transfer.report-progress"] = true
	p["golem.activity.caps.deploy.report-progress"] = true
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func sizes(p map[string]any, h Hardware) (err error) {
	if p["golem.inf.mem.gib"], err = float(h.MemGiB); err != nil {
		return err
	}
	p["golem.inf.storage.gib"], err = float(h.StorageGiB)
	return err
}

// price writes the usage vector, sorted, and its coefficients in the same
// order with the initial price last. What the runtime does not report is left out.
func price(p map[string]any, preset Preset, r Runtime) error {
	counters := r.Counters
	if counters == nil {
		counters = Counters
	}
	var vector []string
	coeffs := []json.RawMessage{}
	for _, name := range slices.Sorted(maps.Keys(preset.Coeffs)) {
		if !slices.Contains(counters, name) {
			continue
		}
		c, err := float(preset.Coeffs[name])
		if err != nil {
			return fmt.Errorf("preset %s: %s: %w", preset.Name, name, err)
		}
		vector, coeffs = append(vector, name), append(coeffs, c)
	}
	if len(vector) == 0 {
		return fmt.Errorf("%w of preset %s: runtime %s reports %s", ErrUnsupported, preset.Name, r.Name, strings.Join(counters, ", "))
	}
	initial, err := float(preset.Initial)
	if err != nil {
		return fmt.Errorf("preset %s: initial price: %w", preset.Name, err)
	}
	p[propVector], p[propCoeffs] = vector, append(coeffs, initial)
	return nil
}

// decimal reads a number that is not negative.
func decimal(s string) (money.Decimal, error) {
	d, err := money.ParseDecimal(s)
	if err != nil || d.Sign() < 0 {
		return d, fmt.Errorf("%w: %q", ErrNumber, s)
	}
	return d, nil
}

// float prints decimal text with a point; "" is 0.0.
func float(text string) (json.RawMessage, error) {
	if text == "" {
		text = "0"
	}
	if _, err := decimal(text); err != nil {
		return nil, err
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("%w: %q", ErrNumber, text)
	}
	return json.RawMessage(props.FormatFloat(f)), nil
}

// Constraints is what our offers ask of a demand: that it ends in the future,
// and the subnet, if there is one.
func Constraints(now time.Time, subnet string) string {
	clauses := []string{fmt.Sprintf("(golem.srv.comp.expiration>%d)", now.UnixMilli())}
	if subnet != "" {
		clauses = append(clauses, "(golem.node.debug.subnet="+subnet+")")
	}
	return "(&\n  " + strings.Join(clauses, "\n  ") + "\n)"
}
