package rent

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/emet-node/emet/api/client"
)

func (p *Pool) publish(ctx context.Context) error {
	p.platform = "erc20-" + p.wish.Network + "-" + p.wish.Token
	if p.allocation.ID = p.wish.Allocation; p.allocation.ID == "" {
		a, err := p.c.CreateAllocation(ctx, client.Allocation{Platform: p.platform, Total: p.wish.Budget, Timeout: time.Now().Add(p.wish.Lifetime + time.Hour).UTC()})
		if err != nil {
			if client.StatusOf(err) == 400 {
				err = fmt.Errorf("%w: %w", ErrBudget, err)
			}
			return fmt.Errorf("set %s GLM aside: %w", p.wish.Budget, err)
		}
		p.allocation = a
	}
	d, err := p.c.DecorateDemand(ctx, p.allocation.ID)
	if err != nil {
		return err
	}
	p.demand = p.text(d)
	id, err := p.c.Subscribe(ctx, p.demand)
	if err != nil {
		return fmt.Errorf("publish the demand: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.demandID = id
	return nil
}

// renew publishes the demand anew: providers whose deal was broken off, or
// whose answer was lost with a node that was killed, see it as a new one.
func (p *Pool) renew(ctx context.Context) error {
	old := p.demandNow()
	id, err := p.c.Subscribe(ctx, p.demand)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.demandID, p.dry = id, min(2*p.dry, longestDry)
	p.mu.Unlock()
	if err := p.c.Unsubscribe(ctx, old); err != nil && client.StatusOf(err) < 400 {
		return err
	}
	return nil
}

func (p *Pool) demandNow() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.demandID
}

// wants says whether somebody waits for a machine.
func (p *Pool) wants() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting > 0 && len(p.drafts) == 0
}

func (p *Pool) wait(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting += n
}

func (p *Pool) text(d client.Decoration) client.Offering {
	o := client.Offering{Properties: map[string]any{
		"golem.srv.caps.multi-activity":                  true,
		"golem.node.debug.subnet":                        p.wish.Subnet,
		"golem.srv.comp.expiration":                      time.Now().Add(p.wish.Lifetime).UnixMilli(),
		"golem.srv.comp.task_package":                    p.wish.Image,
		"golem.com.scheme.payu.debit-note.interval-sec?": int(p.wish.NoteInterval / time.Second),
		"golem.com.scheme.payu.payment-timeout-sec?":     43200,
		"golem.com.payment.debit-notes.accept-timeout?":  120,
	}}
	clauses := []string{
		"(golem.com.pricing.model=linear)", "(golem.node.debug.subnet=" + p.wish.Subnet + ")", "(golem.runtime.name=" + p.wish.Runtime + ")",
	}
	for _, kv := range d.Properties {
		o.Properties[kv.Key] = kv.Value
	}
	o.Constraints = "(&" + strings.Join(append(clauses, d.Constraints...), "\n\t") + ")"
	return o
}

// negotiate answers matches and collects the providers' answers.
func (p *Pool) negotiate(ctx context.Context) {
	chosen := client.Offering{Properties: map[string]any{"golem.com.payment.chosen-platform": p.platform}, Constraints: p.demand.Constraints}
	for k, v := range p.demand.Properties {
		chosen.Properties[k] = v
	}
	heard := time.Now()
	for ctx.Err() == nil {
		events, err := p.c.DemandEvents(ctx, p.demandNow(), 2*time.Second)
		gone := client.StatusOf(err) == 404
		if len(events) > 0 || !p.wants() {
			heard = time.Now()
		}
		if p.wants() && (gone || p.isDry(heard)) {
			if err = p.renew(ctx); err == nil {
				heard = time.Now()
			}
		}
		if err != nil {
			pause(ctx, time.Second)
			continue
		}
		for _, e := range events {
			if e.Proposal != nil {
				p.answer(ctx, *e.Proposal, chosen)
			}
		}
	}
}

func (p *Pool) isDry(heard time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(heard) > p.dry
}

func (p *Pool) answer(ctx context.Context, prop client.Proposal, chosen client.Offering) {
	if prop.State == "Draft" {
		select {
		case p.drafts <- draft{prop}:
		case <-ctx.Done():
		}
		return
	}
	if _, ok := prop.Properties["golem.com.payment.platform."+p.platform+".address"]; !ok || prop.State != "Initial" || p.isFailed(prop.Issuer) {
		return
	}
	p.watch(News{What: "proposal", Provider: nameOf(prop)})
	if _, err := p.c.Counter(ctx, p.demandNow(), prop.ID, chosen); err != nil && ctx.Err() == nil {
		p.watch(News{What: "refused", Provider: nameOf(prop), Detail: err.Error()})
	}
}

func nameOf(p client.Proposal) string { return nameIn(p.Properties, p.Issuer) }

// nameIn is the name in an offer, or else the node's id.
func nameIn(properties map[string]json.RawMessage, id string) string {
	var name string
	if json.Unmarshal(properties["golem.node.id.name"], &name) == nil && name != "" {
		return name
	}
	return id
}

func (p *Pool) isFailed(provider string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.failed[provider]
	return g != nil && time.Now().Before(g.until)
}

// resent notes a broken deal. The caller holds the lock.
func (p *Pool) resent(provider string) {
	g := p.failed[provider]
	if g == nil {
		g = &grudge{}
		p.failed[provider] = g
	}
	if g.deals++; g.deals > 1 {
		g.until = time.Now().Add(min(time.Second<<min(g.deals-1, 10), longestGrudge))
	}
}
