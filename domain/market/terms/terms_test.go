package terms_test

import (
	"testing"
	"time"

	"github.com/emet-node/emet/domain/market/terms"
)

func TestReadsWhatIsWritten(t *testing.T) {
	t.Parallel()
	p := terms.Parse(`{"golem.runtime.name":"wasmtime","golem.srv.comp.expiration":1795204882799,"golem.srv.caps.multi-activity":true,` +
		`"golem.com.usage.vector":["a","b"],"golem.com.pricing.model.linear.coeffs":[0.0,1e-7,2],"golem.inf.mem.gib":0.5,` +
		`"golem.com.scheme.payu.debit-note.interval-sec?":120,"golem.com.payment.platform.erc20-hoodi-tglm.address":"0xAb"}`)
	if p.String(terms.RuntimeName) != "wasmtime" || !p.Bool(terms.MultiActivity) {
		t.Fatal("texts and truth values")
	}
	if got := p.Millis(terms.Expiration); !got.Equal(time.UnixMilli(1795204882799)) {
		t.Fatalf("expiration %v", got)
	}
	if n := p.Numbers(terms.Coefficients); len(n) != 3 || n[0] != "0.0" || n[1] != "1e-7" {
		t.Fatalf("numbers are not as written: %v", n)
	}
	if p.GiB(terms.MemoryGiB) != 1<<29 || p.Seconds(terms.NoteInterval) != 2*time.Minute || p.Address("erc20-hoodi-tglm") != "0xAb" {
		t.Fatal("sizes, durations, addresses")
	}
	if got := p.Platforms(); len(got) != 1 || got[0] != "erc20-hoodi-tglm" {
		t.Fatalf("platforms %v", got)
	}
}

func TestMalformedReadsAsNothing(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "[]", "null", `{"golem.runtime.name":5,"golem.srv.comp.expiration":"x","golem.inf.mem.gib":-1,"golem.com.usage.vector":[1]}`} {
		p := terms.Parse(text)
		if p.String(terms.RuntimeName) != "" || !p.Millis(terms.Expiration).IsZero() || p.GiB(terms.MemoryGiB) != 0 || p.Strings(terms.UsageVector) != nil || p.Seconds(terms.NoteInterval) != 0 {
			t.Fatalf("%s: something was read", text)
		}
	}
}
