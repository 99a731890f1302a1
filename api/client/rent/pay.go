package rent

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/emet-node/emet/api/client"
)

// pay accepts the documents of one kind as they come in, for the agreements of
// this pool and no others.
func (p *Pool) pay(ctx context.Context, kind string) {
	cursor := p.since.UTC().Format("2006-01-02T15:04:05.000000Z")
	for ctx.Err() == nil {
		events, err := p.c.BillEvents(ctx, kind, p.session, cursor, 5*time.Second)
		if err != nil {
			pause(ctx, time.Second)
			continue
		}
		for _, e := range events {
			cursor = e.Date
			p.take(ctx, e)
		}
	}
}

// take accepts the document that an event tells of, if it is over one of the
// pool's deals.
func (p *Pool) take(ctx context.Context, e client.BillEvent) {
	note := e.Type == "DebitNoteReceivedEvent"
	if !note && e.Type != "InvoiceReceivedEvent" {
		return
	}
	var d client.Document
	err := insist(ctx, func() (err error) {
		if note {
			d, err = p.c.DebitNote(ctx, e.DebitNoteID)
		} else {
			d, err = p.c.Invoice(ctx, e.InvoiceID)
		}
		return err
	})
	if err != nil {
		return
	}
	deal := p.deal(d.AgreementID)
	if deal == nil {
		return
	}
	known := d.Status == "ACCEPTED" || d.Status == "SETTLED" // in the session's past
	if !known {
		err = insist(ctx, func() error {
			if note {
				return p.c.Accept(ctx, "debitNotes", d.DebitNoteID, d.TotalDue, p.allocation.ID)
			}
			return p.c.Accept(ctx, "invoices", d.InvoiceID, d.Amount, p.allocation.ID)
		})
	}
	if ctx.Err() != nil { // we end: nothing was refused
		return
	}
	news := p.enter(deal, d, note, err)
	if !known {
		p.watch(news)
	}
}

// enter notes what became of a document and says how to tell it. refused is why
// it could not be accepted.
func (p *Pool) enter(deal *Deal, d client.Document, note bool, refused error) News {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.order, deal) { // never approved, as far as we know
		deal.over, deal.Lost = true, true
		p.order = append(p.order, deal)
	}
	news := News{What: "invoice", Provider: deal.Name, Agreement: deal.Agreement, Detail: d.TotalDue + d.Amount}
	if note {
		news.What = "note"
	}
	switch {
	case refused != nil:
		news.What, news.Detail = "unpaid", refused.Error()
		if !note {
			deal.Invoice, deal.Amount, deal.Unpaid = d.InvoiceID, d.Amount, refused.Error()
		}
	case note:
		deal.Notes++
		var used []float64
		if deal.old && json.Unmarshal(d.Usage, &used) == nil && len(used) > 0 {
			deal.Usage = texts(used)
		}
	default:
		deal.Invoice, deal.Amount, deal.Status = d.InvoiceID, d.Amount, "ACCEPTED"
	}
	close(p.bills)
	p.bills = make(chan struct{})
	return news
}

// patience is how long a node may have trouble before a document counts as one
// that cannot be accepted.
const patience = time.Minute

// insist does what may be done twice until the node decides. That it is busy,
// or has waited for somebody too long, is no decision.
func insist(ctx context.Context, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := do()
		var answer *client.Error
		if err == nil || errors.As(err, &answer) && answer.Status < http.StatusInternalServerError && answer.Status != http.StatusRequestTimeout {
			return err
		}
		if pause(ctx, time.Second); ctx.Err() != nil {
			return err
		}
	}
}

func (p *Pool) deal(agreement string) *Deal {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deals[agreement]
}

// AwaitInvoices waits until every agreement has an accepted invoice, or ctx
// ends. Of one that was broken off, or is of the session's past, none is awaited.
func (p *Pool) AwaitInvoices(ctx context.Context) error {
	return p.await(ctx, func(d *Deal) bool { return d.Invoice != "" || d.Lost || d.old })
}

// AwaitLost waits until an invoice has come for every agreement that was broken
// off or is of the session's past, too, or ctx ends: a provider that comes back bills what it did.
func (p *Pool) AwaitLost(ctx context.Context) error {
	return p.await(ctx, func(d *Deal) bool { return d.Invoice != "" })
}

func (p *Pool) await(ctx context.Context, ok func(*Deal) bool) error {
	for {
		p.mu.Lock()
		changed, all := p.bills, true
		for _, d := range p.order {
			all = all && ok(d)
		}
		p.mu.Unlock()
		if all {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// SettleNow asks the node to pay what is accepted without waiting for the next
// run of its payment cycle.
func (p *Pool) SettleNow(ctx context.Context) error {
	return p.c.Do(ctx, http.MethodPost, "/payment-api/v1/batchCycle/"+p.platform+"/now", nil, nil)
}

// lookAgain is the pause between looks at an invoice: nodes tell requestors
// nothing of their own payments.
const lookAgain = 25 * time.Millisecond

// AwaitSettled waits until every invoice is settled on the chain, or ctx ends.
func (p *Pool) AwaitSettled(ctx context.Context) error {
	for _, d := range p.Deals() {
		for d.Invoice != "" && d.Unpaid == "" && d.Status != "SETTLED" {
			doc, err := p.c.Invoice(ctx, d.Invoice)
			if err != nil {
				return err
			}
			if d.Status = doc.Status; d.Status != "SETTLED" {
				pause(ctx, lookAgain)
				if ctx.Err() != nil {
					return ctx.Err()
				}
			}
		}
		p.settled(ctx, d)
	}
	return nil
}

// settled notes the transaction that paid. The proof of a payment is signed a
// moment after the payment counts.
func (p *Pool) settled(ctx context.Context, d Deal) {
	if d.Invoice == "" || d.Unpaid != "" {
		return
	}
	var tx string
	for tx == "" && ctx.Err() == nil && d.Amount != "0" {
		payments, err := p.c.InvoicePayments(ctx, d.Invoice)
		if err == nil && len(payments) > 0 {
			tx = "0x" + hex.EncodeToString(payments[len(payments)-1].Details)
			break
		}
		pause(ctx, lookAgain)
	}
	p.mu.Lock()
	known := p.deals[d.Agreement]
	known.Status, known.Tx = d.Status, tx
	p.mu.Unlock()
	p.watch(News{What: "settled", Provider: d.Name, Agreement: d.Agreement, Detail: tx})
}
