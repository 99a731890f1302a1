package provider

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// manifest is the part of a payload manifest that asks for the internet.
type manifest struct {
	CompManifest struct {
		Net struct {
			Inet struct {
				Out *outbound `json:"out"`
			} `json:"inet"`
		} `json:"net"`
	} `json:"compManifest"`
}

type outbound struct {
	Protocols    []string `json:"protocols"`
	URLs         []string `json:"urls"`
	Unrestricted *struct {
		URLs bool `json:"urls"`
	} `json:"unrestricted"`
}

func (o *outbound) unrestricted() bool { return o.Unrestricted != nil && o.Unrestricted.URLs }

func (o *outbound) asks() bool { return o != nil && (len(o.URLs) > 0 || o.unrestricted()) }

func readManifest(payload string) (m manifest, err error) {
	b, err := base64.StdEncoding.DecodeString(payload)
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(b, &m)
}

func manifestSignature(t *talk) verdict {
	if _, asked := t.demand["golem.srv.comp.payload"]; !asked || t.Policy.SkipManifest {
		return ready
	}
	payload, ok := t.demand.String("golem.srv.comp.payload")
	if !ok {
		return no(true, "invalid manifest: not a string")
	}
	m, err := readManifest(payload)
	if err != nil {
		return no(true, "invalid manifest: "+err.Error())
	}
	out := m.CompManifest.Net.Inet.Out
	if !out.asks() {
		return ready
	}
	if t.Policy.Outbound.Disabled {
		return no(true, "outbound is disabled")
	}
	if why := t.outbound(out); len(why) > 0 {
		return no(true, "Outbound rejected because: "+strings.Join(why, " ; "))
	}
	return ready
}

// outbound asks the three rules; one that accepts is enough. It returns why
// each refuses, nothing if one accepts.
func (t *talk) outbound(out *outbound) []string {
	r, who := t.Policy.Outbound, t.Credentials
	partner := who.Chain
	if who.BrokenDescriptor || !who.DescriptorCovers {
		partner = nil
	}
	var why []string
	for _, rule := range []struct {
		name, refusal string
	}{
		{"Everyone", r.refuses(or(r.Everyone, Whitelist), out)},
		{"Audited-Payload", r.refusesNearest(r.AuditedPayload, who.Signers, out)},
		{"Partner", r.refusesNearest(r.Partner, partner, out)},
	} {
		if rule.refusal == "" {
			return nil
		}
		why = append(why, rule.name+": "+rule.refusal)
	}
	return why
}

// refusesNearest follows the rule of the certificate closest to the leaf.
func (r OutboundRule) refusesNearest(rules map[string]Mode, chain []string, out *outbound) string {
	for _, c := range chain {
		if mode, ok := rules[c]; ok {
			return r.refuses(mode, out)
		}
	}
	return "no certificate has a rule"
}

// refuses says why the mode does not let the payload out, "" if it does.
func (r OutboundRule) refuses(mode Mode, out *outbound) string {
	switch {
	case mode == All:
		return ""
	case mode != Whitelist:
		return "outbound is not allowed"
	case out.unrestricted():
		return "unrestricted access is not on the whitelist"
	}
	for _, u := range out.URLs {
		if !r.listed(u) {
			return fmt.Sprintf("%s is not on the whitelist", u)
		}
	}
	return ""
}

func (r OutboundRule) listed(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	host := strings.ToLower(u.Hostname())
	for _, d := range r.Domains {
		if !d.Regex && strings.ToLower(d.Pattern) == host {
			return true
		}
		if d.Regex {
			re, err := regexp.Compile("(?i)" + strings.Join(strings.Fields(d.Pattern), ""))
			if err == nil && re.MatchString(host) {
				return true
			}
		}
	}
	return false
}
