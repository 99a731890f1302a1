package rent

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/emet-node/emet/api/client"
)

// Resume opens a pool for a session whose client was cut off. All agreements
// of the session belong to the pool: those that are still open are ended, their
// bills are accepted as they come, and those that came before are known.
func Resume(ctx context.Context, c *client.Client, session string, w Wish, watch func(News)) (*Pool, error) {
	p := prepare(c, session, w, watch)
	ids, err := c.Agreements(ctx, session)
	if err != nil {
		return nil, fmt.Errorf("agreements of the session: %w", err)
	}
	p.since = time.Unix(0, 0)
	for _, id := range ids {
		if err := p.recall(ctx, id); err != nil {
			return nil, fmt.Errorf("agreement %s: %w", id, err)
		}
	}
	return p.open(ctx)
}

// recall makes an agreement of the session's past one of the pool's deals.
func (p *Pool) recall(ctx context.Context, id string) error {
	a, err := p.c.Agreement(ctx, id)
	if err != nil {
		return err
	}
	if a.State == "Pending" { // nobody waits for its approval any more
		if state := p.back(ctx, id); state != "" {
			a.State = state
		}
	}
	deal := &Deal{Agreement: id, Provider: a.Offer.Provider, Name: nameIn(a.Offer.Properties, a.Offer.Provider), over: !isOpen(a.State)}
	_ = json.Unmarshal(a.Offer.Properties["golem.com.usage.vector"], &deal.Counters)
	p.deals[id] = deal
	if deal.over && a.State != "Terminated" {
		return nil // it may be billed all the same, if its approval was lost
	}
	if deal.Activity, err = p.activity(ctx, id); err != nil {
		return err
	}
	deal.old = true
	if deal.over {
		deal.Usage = p.usage(ctx, deal.Activity)
	}
	p.order = append(p.order, deal)
	return nil
}

// activity is the last activity of an agreement, "" if there was none.
func (p *Pool) activity(ctx context.Context, agreement string) (string, error) {
	all, err := p.c.Activities(ctx, agreement)
	if err != nil || len(all) == 0 {
		return "", err
	}
	return all[len(all)-1], nil
}

// endOld ends the deals that the session's past left open.
func (p *Pool) endOld(ctx context.Context, old *Deal) {
	const why = "the requestor was cut off"
	id := old.Activity
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if id != "" {
		_ = p.c.DestroyActivity(ctx, id, 5*time.Second)
	}
	usage := p.usage(ctx, id)
	state := p.end(ctx, old.Agreement, why)
	if id == "" { // one may have been asked for, and become known since
		id, _ = p.activity(ctx, old.Agreement)
	}
	p.mu.Lock()
	old.Activity, old.Lost, old.over = id, true, state != ""
	if len(usage) > 0 {
		old.Usage = usage
	}
	if old.over && state != "Terminated" { // it was never approved
		p.order = slices.DeleteFunc(p.order, func(d *Deal) bool { return d == old })
		close(p.bills)
		p.bills = make(chan struct{})
	}
	p.mu.Unlock()
	p.watch(News{What: "ended", Provider: old.Name, Agreement: old.Agreement, Activity: id, Detail: why})
}

// usage is what is known of an activity's last counters.
func (p *Pool) usage(ctx context.Context, activity string) (out []string) {
	if activity == "" {
		return nil
	}
	values, err := p.c.Usage(ctx, activity)
	if err != nil {
		return nil
	}
	return texts(values)
}

func texts(values []float64) (out []string) {
	for _, v := range values {
		out = append(out, strconv.FormatFloat(v, 'f', -1, 64))
	}
	return out
}
