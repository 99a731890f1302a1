package rent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var wish = Wish{Image: "hash:sha3:00:http://x", Budget: "1"}

func opened(t *testing.T, n *node) *Pool {
	t.Helper()
	p, err := Open(t.Context(), n.client(), "session", wish, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// gaps are the times between events.
func gaps(at []time.Time) (out []time.Duration) {
	for i := range at[1:] {
		out = append(out, at[i+1].Sub(at[i]))
	}
	return out
}

func TestAProviderThatFailsIsLeftAloneForLongerAndLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.offers, n.broken = true, true
		p := opened(t, n)
		defer p.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if m, err := p.Rent(ctx); m != nil || !errors.Is(err, ErrNoProvider) || !strings.Contains(err.Error(), "no exe-unit") {
			t.Fatal(m, err)
		}
		n.mu.Lock()
		var at []time.Time
		for _, d := range n.agreements {
			at = append(at, d.at)
		}
		n.broken = false
		n.mu.Unlock()
		if len(at) < 8 {
			t.Fatalf("only %d agreements", len(at))
		}
		for i, gap := range gaps(at) {
			var least time.Duration
			if i > 0 { // after the first failure it may try again at once
				least = min(time.Second<<i, longestGrudge)
			}
			if most := least + longestDry + 3*time.Second; gap < least || gap > most {
				t.Errorf("after failure %d it is left alone for %s, want %s to %s", i+1, gap, least, most)
			}
		}
		ctx, cancel = context.WithTimeout(t.Context(), longestGrudge+longestDry+3*time.Second)
		defer cancel()
		m, err := p.Rent(ctx)
		if err != nil {
			t.Fatalf("it works again, and is not rented: %v", err)
		}
		if err := m.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestADemandThatNobodyAnswersIsPublishedAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		p := opened(t, n)
		defer p.Close()
		time.Sleep(time.Minute) // fake: nobody wants a machine
		if len(n.demands) != 1 {
			t.Errorf("%d demands, though nobody wants a machine", len(n.demands))
		}
		time.AfterFunc(time.Minute, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.offers = true // only who asks anew sees it
		})
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		m, err := p.Rent(ctx)
		if err != nil || m.Provider() != "pia" {
			t.Fatal(err)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		want := []time.Duration{firstDry, 2 * firstDry, longestDry, longestDry, longestDry}
		at := append([]time.Time{began}, n.demands[1:]...)
		got := gaps(at)
		if len(got) < 4 {
			t.Fatalf("published anew after %v", got)
		}
		for i, gap := range got {
			if w := want[min(i, len(want)-1)]; gap < w || gap > w+5*time.Second {
				t.Errorf("publication %d after %s, want %s", i+1, gap, w)
			}
		}
		if len(n.gone) != len(n.demands)-1 {
			t.Errorf("%d demands, %d taken back", len(n.demands), len(n.gone))
		}
	})
}

func TestTheBillOfAnAgreementWhoseApprovalWasLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.offers, n.silent = true, true
		p := opened(t, n)
		defer p.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if m, err := p.Rent(ctx); m != nil || err == nil {
			t.Fatal(m, err)
		}
		if len(p.Deals()) != 0 {
			t.Errorf("an agreement that was never approved is a deal: %+v", p.Deals())
		}
		n.bills("agreement-1", "RECEIVED")
		n.bills("of somebody else", "RECEIVED")
		time.Sleep(time.Second) // fake
		deals := p.Deals()
		if len(deals) != 1 || deals[0].Invoice != "invoice of agreement-1" || deals[0].Status != "ACCEPTED" || !deals[0].Lost {
			t.Errorf("%+v", deals)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if got := strings.Join(n.asked, "\n"); got != "POST allocations\nPOST agreements/agreement-1/cancel\nPOST invoices/invoice of agreement-1/accept new-budget" {
			t.Errorf("it asked:\n%s", got)
		}
	})
}

// While the nodes settle whether an agreement is approved, it cannot be ended.
// It is ended when that is settled, however long it takes.
func TestAnAgreementThatIsApprovedTooLateIsEnded(t *testing.T) {
	t.Parallel()
	for _, settling := range []time.Duration{3 * time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			n := newNode(t)
			n.offers, n.silent, n.settling = true, true, settling
			p := opened(t, n)
			defer p.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if m, err := p.Rent(ctx); m != nil || err == nil {
				t.Fatal(m, err)
			}
			time.Sleep(settling) // fake
			n.mu.Lock()
			defer n.mu.Unlock()
			if s := n.agreements[0].State; s != "Terminated" {
				t.Errorf("it is %s", s)
			}
		})
	}
}

// What was being approved when the session was cut off is a deal: it is ended
// and its bill is paid. What had only got a date of approval is none.
func TestASessionThatWasCutOffWhileItsAgreementsWereApproved(t *testing.T) {
	t.Parallel()
	for _, settling := range []time.Duration{3 * time.Second, 12 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			n := newNode(t)
			n.settling = settling
			n.dealLocked("late", "Pending", "old").Approved = "2026-01-01T00:00:00Z"
			n.dealLocked("withdrawn", "Cancelled", "old").Approved = "2026-01-01T00:00:00Z"
			p, err := Resume(t.Context(), n.client(), "old", wish, nil)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(settling) // fake
			n.bills("late", "RECEIVED")
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if err := p.AwaitLost(ctx); err != nil {
				t.Error(err)
			}
			deals := p.Deals()
			p.Close()
			if len(deals) != 1 || deals[0].Agreement != "late" || deals[0].Status != "ACCEPTED" || n.find("late").State != "Terminated" {
				t.Errorf("%s: %+v", n.find("late").State, deals)
			}
		})
	}
}

func TestASessionThatWasCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.dealLocked("paid", "Terminated", "old").activity = "a1"
		n.dealLocked("open", "Approved", "old").activity = "a2"
		n.dealLocked("hanging", "Pending", "old")
		n.dealLocked("foreign", "Approved", "another")
		n.bills("paid", "SETTLED")
		time.Sleep(time.Hour) // fake
		var news []string
		w := wish
		w.Allocation = "old-budget"
		p, err := Resume(t.Context(), n.client(), "old", w, func(x News) { news = append(news, x.What+" "+x.Agreement) })
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := p.AwaitInvoices(ctx); err != nil {
			t.Errorf("the invoices of the past are not to be waited for so: %v", err)
		}
		if err := p.AwaitLost(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one invoice has not come: %v", err)
		}
		n.bills("open", "RECEIVED")
		if err := p.AwaitLost(t.Context()); err != nil {
			t.Fatal(err)
		}
		deals := p.Deals()
		p.Close()
		if len(deals) != 2 || deals[0].Agreement != "paid" || deals[0].Lost || deals[1].Activity != "a2" || !deals[1].Lost || deals[1].Status != "ACCEPTED" {
			t.Errorf("%+v", deals)
		}
		if !slices.Equal(deals[1].Usage, []string{"1.5", "2"}) || !slices.Equal(deals[1].Counters, []string{"s", "cpu"}) {
			t.Errorf("used %v of %v", deals[1].Usage, deals[1].Counters)
		}
		want := []string{
			"POST agreements/hanging/cancel", "DELETE activity/a2", "POST agreements/open/terminate",
			"POST invoices/invoice of open/accept old-budget", "DELETE allocations/old-budget",
		}
		if !slices.Equal(n.asked, want) {
			t.Errorf("it asked:\n%s", strings.Join(n.asked, "\n"))
		}
		if !slices.Equal(news, []string{"ended open", "invoice open"}) {
			t.Errorf("it told: %q", news)
		}
	})
}
