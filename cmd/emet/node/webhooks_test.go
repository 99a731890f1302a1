package node

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/emet-node/emet/api/control"
	"github.com/emet-node/emet/domain/es"
)

func TestWhereDeliveriesMayGo(t *testing.T) {
	t.Parallel()
	allow := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		scheme, addr    string
		always, allowed bool
	}{
		{"https", "8.8.8.8:443", true, true},
		{"https", "8.8.8.8:25", false, false},
		{"http", "8.8.8.8:80", false, false},
		{"https", "[2606:4700:4700::1111]:443", true, true},
		{"https", "127.0.0.1:443", false, true},
		{"http", "127.0.0.1:8080", false, true},
		{"http", "127.0.0.1:22", false, false},
		{"https", "127.0.0.2:443", false, false},
		{"https", "[::ffff:127.0.0.1]:443", false, true},
		{"https", "[::1]:443", false, false},
		{"http", "10.1.2.3:80", false, true},
		{"https", "10.2.2.3:443", false, false},
		{"https", "169.254.169.254:443", false, false},
		{"https", "192.168.0.1:443", false, false},
		{"https", "0.0.0.0:443", false, false},
		{"https", "[::ffff:169.254.169.254]:443", false, false},
		{"https", "[64:ff9b::7f00:1]:443", false, false},
		{"https", "[fe80::1%eth0]:443", false, false},
		{"https", "[fd12::1]:443", false, true},
	} {
		a := netip.MustParseAddrPort(c.addr)
		if err := mayReach(nil)(c.scheme, a); (err == nil) != c.always {
			t.Errorf("%s to %s: %v", c.scheme, a, err)
		}
		if err := mayReach(allow)(c.scheme, a); (err == nil) != c.allowed {
			t.Errorf("%s to %s, where it was allowed: %v", c.scheme, a, err)
		}
	}
}

func TestWebhooksOfAnOperator(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	o, done, err := OpenOperator(ctx, Options{Dir: t.TempDir(), Version: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer done() //nolint:errcheck // a test
	const to = "https://example.invalid/hook/token-4711"
	from := uint64(0)
	w, err := o.AddWebhook(ctx, control.NewWebhook{URL: to, Types: []string{"bill", "agreement.approved.v1", "agreement.*"}, From: &from})
	if err != nil || !slices.Equal(w.Types, []string{"bill*", "agreement.approved.v1", "agreement.*"}) || w.Next != 0 || w.Behind != 1 || w.Secret == "" {
		t.Fatalf("%+v %v", w, err)
	}
	if _, err := o.AddWebhook(ctx, control.NewWebhook{URL: to, Types: []string{"agreement.aproved.v1"}}); !errors.Is(err, control.ErrBad) {
		t.Error(err)
	}
	if _, err := o.AddWebhook(ctx, control.NewWebhook{URL: to, Identity: "nobody"}); !errors.Is(err, control.ErrNotFound) {
		t.Error(err)
	}
	next, err := o.AddWebhook(ctx, control.NewWebhook{URL: to})
	if err != nil || next.Next != 1 || next.Secret == w.Secret || next.ID == w.ID {
		t.Errorf("%+v %v", next, err)
	}
	all, err := o.Webhooks(ctx)
	if err != nil || len(all) != 2 || all[0].ID != w.ID || all[0].Secret != "" {
		t.Errorf("%+v %v", all, err)
	}
	// Nothing of it is a fact.
	for e := range o.l.Store.ReadAll(ctx, 0, es.Forward, es.Filter{}, 0) {
		if strings.Contains(string(e.Data)+string(e.Meta), "token-4711") || e.Position > 0 {
			t.Errorf("%+v", e)
		}
	}
}
