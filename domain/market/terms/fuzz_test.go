package terms_test

import (
	"testing"

	"github.com/emet-node/emet/domain/market/terms"
)

// Strangers write these texts: whatever they write, what is read is within
// bounds.
func FuzzTexts(f *testing.F) {
	f.Add(`{"golem.inf.mem.gib":0.5,"golem.com.usage.vector":["a"],"golem.com.payment.platform.x.address":"0xAb"}`, "golem.inf.mem.gib")
	f.Add(`{"x":1e999}`, "x")
	f.Add(`[]`, "")
	f.Fuzz(func(t *testing.T, text, name string) {
		p := terms.Parse(text)
		if d := p.Seconds(name); d < 0 {
			t.Errorf("%v", d)
		}
		if g := p.GiB(name); g < 0 || g > 1<<50 {
			t.Errorf("%d bytes", g)
		}
		if m := p.Millis(name); !m.IsZero() && (m.Year() < 1970 || m.UnixMilli() > 1<<53) {
			t.Errorf("%v", m)
		}
		for _, platform := range p.Platforms() {
			_ = p.Address(platform)
		}
		_, _, _ = p.String(name), p.Strings(name), p.Numbers(name)
	})
}
