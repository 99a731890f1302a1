package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/emet-node/emet/adapters/bus"
	"github.com/emet-node/emet/api/control"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/eventschemas"
	"github.com/emet-node/emet/projections/news"
)

// Webhooks implements control.Webhooks.
func (o *Operator) Webhooks(ctx context.Context) ([]control.Webhook, error) {
	hooks, err := hooksIn(o.l.Secrets.Webhooks)
	if err != nil {
		return nil, err
	}
	out := make([]control.Webhook, len(hooks))
	for i, h := range hooks {
		if out[i], err = o.webhook(ctx, h); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b control.Webhook) int { return a.Created.Compare(b.Created) })
	return out, nil
}

func (o *Operator) webhook(ctx context.Context, h bus.Hook) (control.Webhook, error) {
	st, err := o.l.News.Status(ctx, h)
	if err != nil {
		return control.Webhook{}, err
	}
	head, err := o.l.Store.Head(ctx)
	return control.Webhook{
		ID: h.ID, URL: h.URL, Types: list(h.Filter.Types), Streams: list(h.Filter.Streams), Categories: list(h.Filter.Categories),
		Identity: h.Filter.Identity, Created: h.Created, Next: uint64(st.Next), Behind: uint64(max(head, st.Next) - st.Next),
		Delivered: st.Delivered, Last: st.Last, Failures: st.Failures, Error: st.Error, Failed: st.Failed, Again: st.Again, Poison: st.Aside,
	}, err
}

func list(s []string) []string { return append([]string{}, s...) }

func (o *Operator) hook(id string) (bus.Hook, error) {
	hooks, err := hooksIn(o.l.Secrets.Webhooks)
	for _, h := range hooks {
		if h.ID == id {
			return h, nil
		}
	}
	return bus.Hook{}, errors.Join(err, fmt.Errorf("%w: no webhook %q; emet webhook list shows all", control.ErrNotFound, id))
}

// AddWebhook implements control.Webhooks.
func (o *Operator) AddWebhook(ctx context.Context, n control.NewWebhook) (control.Webhook, error) {
	f := news.Filter{Streams: n.Streams, Categories: n.Categories}
	var err error
	if f.Types, err = patterns(n.Types); err != nil {
		return control.Webhook{}, err
	}
	if n.Identity != "" {
		who, err := o.find(ctx, n.Identity)
		if err != nil {
			return control.Webhook{}, err
		}
		f.Identity = string(who.ID)
	}
	head, err := o.l.Store.Head(ctx)
	if err != nil {
		return control.Webhook{}, err
	}
	from := head
	if n.From != nil {
		if from = es.Position(*n.From); from > head {
			return control.Webhook{}, fmt.Errorf("%w: the log has %d facts, it cannot be told from position %d on", control.ErrBad, head, from)
		}
	}
	h, err := bus.NewHook(n.URL, f, from, time.Now().Truncate(time.Microsecond))
	if err == nil {
		err = o.courier.Sender.Reachable(ctx, n.URL)
	}
	if err != nil {
		return control.Webhook{}, fmt.Errorf("%w: %w", control.ErrBad, err)
	}
	b, err := json.Marshal(h)
	if err != nil {
		return control.Webhook{}, err
	}
	if err := o.l.Secrets.Webhooks.Put(h.ID, b); err != nil {
		return control.Webhook{}, err
	}
	o.courier.Changed()
	w, err := o.webhook(ctx, h)
	w.Secret = h.Secret
	return w, err
}

var versioned = regexp.MustCompile(`\.v[0-9]+$`)

// patterns makes patterns of types as people name them. A pattern that no fact
// of this build fits is a mistake.
func patterns(types []string) ([]string, error) {
	known := eventschemas.New().Names()
	out := make([]string, len(types))
	for i, p := range types {
		if p != "" && !versioned.MatchString(p) && !strings.HasSuffix(p, "*") {
			p += "*"
		}
		f := news.Filter{Types: []string{p}}.Store()
		if p != "" && !slices.ContainsFunc(known, func(name string) bool { return f.Match("", name) }) {
			return nil, fmt.Errorf("%w: no fact has a type like %q; types begin with what they are about, such as agreement.approved.v1 or bill", control.ErrBad, types[i])
		}
		out[i] = p
	}
	return out, nil
}

// RemoveWebhook implements control.Webhooks.
func (o *Operator) RemoveWebhook(ctx context.Context, id string) error {
	h, err := o.hook(id)
	if err != nil {
		return err
	}
	if err := o.l.Secrets.Webhooks.Delete(h.ID); err != nil {
		return err
	}
	o.courier.Changed()
	return o.l.News.Forget(ctx, h.ID)
}

// TestWebhook implements control.Webhooks.
func (o *Operator) TestWebhook(ctx context.Context, id string) error {
	h, err := o.hook(id)
	if err != nil {
		return err
	}
	if err := o.courier.Test(ctx, h); err != nil {
		return fmt.Errorf("%w: %w", control.ErrRefused, err)
	}
	return nil
}

// Poison implements control.Webhooks.
func (o *Operator) Poison(ctx context.Context, id string) ([]control.Poison, error) {
	if id != "" {
		if _, err := o.hook(id); err != nil {
			return nil, err
		}
	}
	asides, err := o.l.News.Aside(ctx, id)
	out := make([]control.Poison, len(asides))
	for i, a := range asides {
		out[i] = poison(a)
	}
	return out, err
}

func poison(a bus.Aside) control.Poison {
	return control.Poison{
		Webhook: a.Hook, Position: uint64(a.Position), Event: a.Event, Type: a.Type, Stream: a.Stream, Reason: a.Reason, At: a.At,
	}
}

// asides are those of a webhook at some positions, or all.
func (o *Operator) asides(ctx context.Context, id string, positions []uint64) (bus.Hook, []bus.Aside, error) {
	h, err := o.hook(id)
	if err != nil {
		return h, nil, err
	}
	all, err := o.l.News.Aside(ctx, id)
	if err != nil || len(positions) == 0 {
		return h, all, err
	}
	var out []bus.Aside
	for _, a := range all {
		if slices.Contains(positions, uint64(a.Position)) {
			out = append(out, a)
		}
	}
	for _, p := range positions {
		if !slices.ContainsFunc(out, func(a bus.Aside) bool { return uint64(a.Position) == p }) {
			return h, nil, fmt.Errorf("%w: position %d is not set aside for %s; emet webhook poison list shows what is", control.ErrNotFound, p, id)
		}
	}
	return h, out, nil
}

// RetryPoison implements control.Webhooks.
func (o *Operator) RetryPoison(ctx context.Context, id string, positions []uint64) ([]control.Retried, error) {
	h, asides, err := o.asides(ctx, id, positions)
	if err != nil {
		return nil, err
	}
	results, err := o.courier.Retry(ctx, h, asides)
	if err != nil {
		return nil, err
	}
	out := make([]control.Retried, len(asides))
	for i, a := range asides {
		if results[i] != nil {
			a.Reason = results[i].Error()
		}
		out[i] = control.Retried{Poison: poison(a), Taken: results[i] == nil}
	}
	return out, nil
}

// DropPoison implements control.Webhooks.
func (o *Operator) DropPoison(ctx context.Context, id string, positions []uint64) ([]control.Poison, error) {
	_, asides, err := o.asides(ctx, id, positions)
	if err != nil {
		return nil, err
	}
	out := make([]control.Poison, len(asides))
	for i, a := range asides {
		if err := o.l.News.Drop(ctx, id, a.Position); err != nil {
			return out[:i], err
		}
		out[i] = poison(a)
	}
	return out, nil
}
