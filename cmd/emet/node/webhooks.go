package node

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/emet-node/emet/adapters/bus"
	"github.com/emet-node/emet/adapters/exeunit/transfer"
	"github.com/emet-node/emet/adapters/secrets"
	"github.com/emet-node/emet/api/rest"
)

// newCourier is who tells webhooks the news.
func newCourier(l *Ledger, o Options) *bus.Courier {
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &bus.Courier{
		Store: l.Store, State: l.News, Sender: bus.NewSender(mayReach(o.Webhooks.Allow), o.Version), GiveUp: o.Webhooks.GiveUp, Logger: logger,
		Hooks: func() ([]bus.Hook, error) { return hooksIn(l.Secrets.Webhooks) },
	}
}

// mayReach lets deliveries go to public addresses over TLS, and to those that
// were allowed.
func mayReach(allow []netip.Prefix) bus.Allow {
	return func(scheme string, a netip.AddrPort) error {
		ip := a.Addr().Unmap().WithZone("")
		allowed := slices.ContainsFunc(allow, func(p netip.Prefix) bool { return p.Contains(ip) })
		if err := transfer.CheckAddr(a, allowed); err != nil && allowed {
			return err
		} else if err != nil {
			return fmt.Errorf("%w; webhook.allow in the configuration can name addresses that webhooks may reach all the same", err)
		}
		if scheme != "https" && !allowed {
			return fmt.Errorf("%s would be told over http, which everybody on the way can read: use https, or name the address in webhook.allow", ip)
		}
		return nil
	}
}

func hooksIn(s *secrets.Webhooks) ([]bus.Hook, error) {
	var out []bus.Hook
	for _, id := range s.List() {
		b, ok := s.Get(id)
		if !ok {
			continue // it was removed meanwhile
		}
		var h bus.Hook
		if err := json.Unmarshal(b, &h); err != nil {
			return nil, fmt.Errorf("webhook %s: %w", id, err)
		}
		out = append(out, h)
	}
	return out, nil
}

// values are metrics about webhooks.
func (n *Node) values(ctx context.Context) ([]rest.Value, error) {
	hooks, err := hooksIn(n.Secrets.Webhooks)
	if err != nil {
		return nil, err
	}
	head, err := n.Store.Head(ctx)
	if err != nil {
		return nil, err
	}
	var behind, aside, failing int64
	for _, h := range hooks {
		st, err := n.News.Status(ctx, h)
		if err != nil {
			return nil, err
		}
		behind = max(behind, int64(head-min(head, st.Next)))
		aside += int64(st.Aside)
		if st.Failures > 0 {
			failing++
		}
	}
	c := n.courier.Counts()
	return []rest.Value{
		{Name: "news_webhooks", Help: "Webhooks.", Is: int64(len(hooks)), Gauge: true},
		{Name: "news_webhooks_behind", Help: "Facts that the webhook which was told least has not been told, wanted or not.", Is: behind, Gauge: true},
		{Name: "news_webhooks_delivered", Help: "Facts that webhooks took since the start.", Is: c.Delivered},
		{Name: "news_webhooks_failed", Help: "Deliveries that failed since the start.", Is: c.Failed},
		{Name: "news_webhooks_failing", Help: "Webhooks whose last delivery failed.", Is: failing, Gauge: true},
		{Name: "news_webhooks_poison", Help: "Facts that are set aside for webhooks.", Is: aside, Gauge: true},
		{Name: "news_webhooks_poisoned", Help: "Facts that were set aside since the start.", Is: c.SetAside},
	}, nil
}
