package story_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/eventschemas"
	"github.com/emet-node/emet/projections/story"
	"github.com/emet-node/emet/projections/story/storytest"
)

func dealAt(t *testing.T, stage storytest.Stage) (story.Story, string) {
	t.Helper()
	log := &es.Log{Store: memory.New(), Codec: eventschemas.New()}
	w, err := storytest.NewWorld(t.Context(), log)
	if err == nil {
		err = w.Deals(t.Context(), 0, 1, func(int) storytest.Stage { return stage })
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := story.Of(t.Context(), log, storytest.AgreementOf(0))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, x := range s.Waits() {
		fmt.Fprintf(&b, "%s [%s] %d %s | %s\n", x.Thing, x.Side, x.Position, x.For, x.Moves)
	}
	return s, b.String()
}

// At each stage of a deal it is told who must do what.
func TestWhatADealWaitsFor(t *testing.T) {
	t.Parallel()
	d := storytest.Numbered(0)
	for stage, c := range map[storytest.Stage]struct{ has, lacks []string }{
		storytest.Asked: {
			has:   []string{"agreement [R]", "the provider to approve it", "agreement [P]", "our provider to approve or reject it | POST /market-api/v1/agreements/" + d.Agreement + "/approve"},
			lacks: []string{"invoice", "activity"},
		},
		storytest.Refused:  {lacks: []string{"or reject it", "invoice"}},
		storytest.Approved: {has: []string{"either side to end it"}, lacks: []string{"to approve it", "activity"}},
		storytest.Working:  {has: []string{"activity [P]", "the requestor to destroy it | DELETE /activity-api/v1/activity/" + d.Activity}, lacks: []string{"invoice ["}},
		storytest.Billed:   {has: []string{"invoice [R]", "our client to accept or reject it | POST /payment-api/v1/invoices/" + d.Invoice + "/accept"}, lacks: []string{"to destroy it", "either side"}},
		storytest.Owing:    {has: []string{"its transfer to be on the chain", "the requestor to pay it"}, lacks: []string{"accept or reject"}},
		storytest.Paid:     {lacks: []string{"invoice [", "blocks on top of it"}},
	} {
		_, open := dealAt(t, stage)
		for _, h := range c.has {
			if !strings.Contains(open, h) {
				t.Errorf("stage %d waits for\n%swant %s", stage, open, h)
			}
		}
		for _, l := range c.lacks {
			if strings.Contains(open, l) {
				t.Errorf("stage %d waits for\n%swhich has %s", stage, open, l)
			}
		}
	}
}

// A log of a build of before tells the same story, and waits for the same.
func TestALogOfBeforeTellsTheSame(t *testing.T) {
	t.Parallel()
	now, then := world(t), &es.Log{Store: memory.New(), Codec: eventschemas.New()}
	if n, err := storytest.Former(t.Context(), now.Store, then.Store, nil); err != nil || n != 2 {
		t.Fatalf("%d facts were other before, %v", n, err)
	}
	told := func(log *es.Log) (out []string) {
		s := gather(t, log, storytest.First.Agreement)
		for _, f := range s.Facts {
			line := fmt.Sprint(f.Position, f.Stream, es.FactName(f.Type), f.Caused)
			if f.Parent != nil {
				line += fmt.Sprint(" by ", *f.Parent)
			}
			out = append(out, line)
		}
		for _, w := range s.Waits() {
			out = append(out, w.Thing+w.ID+w.For+w.Moves)
		}
		return out
	}
	got, want := told(then), told(now)
	if strings.Join(got, "\n") != strings.Join(want, "\n") || !strings.Contains(strings.Join(want, ""), "the provider's node to take the script") {
		t.Errorf("told %s\nwant %s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWaitsTellSinceWhenAndUntilWhen(t *testing.T) {
	t.Parallel()
	s, _ := dealAt(t, storytest.Billed)
	for _, w := range s.Waits() {
		if w.Since.IsZero() || w.For == "" || w.Moves == "" || w.ID == "" || strings.Contains(w.Moves, "<id>") {
			t.Errorf("%+v", w)
		}
		if w.Thing == "invoice" && w.Side == "R" && w.Due.IsZero() {
			t.Errorf("the invoice has a due date: %+v", w)
		}
	}
}

// That an approval arrived is heard of after the commit that answers it, when
// the answer of the other node was late.
func TestALateOutcomeOpensNothing(t *testing.T) {
	t.Parallel()
	stream := agreement.StreamOf(identity.Provider, strings.Repeat("a", 64))
	fact := func(at es.Position, typ, key string, data any) story.Fact {
		return story.Fact{Recorded: es.Recorded{
			Event: es.Event{NewEvent: es.NewEvent{ID: es.ID{byte(at)}, Type: typ}, Position: at, Stream: stream}, Info: es.Meta{Key: key}, Data: data,
		}}
	}
	asked := fact(1, "agreement.approval_requested.v1", "k", agreement.ApprovalRequested{})
	final := es.FinalKey(asked.ID)
	waits := func(facts ...story.Fact) (out []string) {
		for _, w := range (story.Story{Facts: facts}).Waits() {
			out = append(out, w.For)
		}
		return out
	}
	approved := fact(2, "agreement.approved.v1", "c", agreement.Approved{})
	late := fact(3, "agreement.approval_delivered.v1", final, agreement.ApprovalDelivered{})
	if got := waits(asked, late); !slices.Equal(got, []string{"the requestor to commit it"}) {
		t.Errorf("delivered, not committed: %q", got)
	}
	if got := waits(asked, approved, late); !slices.Equal(got, []string{"either side to end it"}) {
		t.Errorf("committed, then delivered: %q", got)
	}
}

// What a thing came of is closed: every fact hangs on one that is shown.
// An invoice is over the last debit notes too: once it is accepted nobody is
// asked about them, in whatever order they came.
func TestAnAcceptedInvoiceSettlesWhatNotesAsk(t *testing.T) {
	t.Parallel()
	fact := func(p es.Position, stream, typ, data string) story.Fact {
		e := es.Event{NewEvent: es.NewEvent{Type: typ, Data: []byte(data)}, Stream: es.Stream(stream), Position: p}
		return story.Fact{Recorded: es.Recorded{Event: e}}
	}
	note := fact(1, "bill-R-a", "bill.note_received.v1", `{"debitNoteId":"n"}`)
	other := fact(2, "bill-R-b", "bill.note_received.v1", `{"debitNoteId":"m"}`)
	invoice := fact(3, "bill-R-a", "bill.invoice_received.v1", `{"invoiceId":"i"}`)
	accepted := fact(4, "bill-R-a", "bill.invoice_accepted.v1", `{"invoiceId":"i"}`)
	settled := fact(5, "bill-R-a", "bill.settled.v1", `{"documentId":"i"}`)
	waits := func(facts ...story.Fact) (out []string) {
		for _, w := range (story.Story{Facts: facts}).Waits() {
			out = append(out, w.Thing+" "+w.ID)
		}
		return out
	}
	if got := waits(note, other, invoice); !slices.Equal(got, []string{"debit note n", "debit note m", "invoice i"}) {
		t.Errorf("before the acceptance: %v", got)
	}
	for _, facts := range [][]story.Fact{{note, other, invoice, accepted, settled}, {invoice, accepted, settled, note, other}} {
		if got := waits(facts...); !slices.Equal(got, []string{"debit note m"}) {
			t.Errorf("after it: %v", got)
		}
	}
}

// What a reorganisation takes back from a note is not asked of an invoice; a
// commit that failed leaves the approval to be given again.
func TestWhatIsTakenBackIsCalledByItsName(t *testing.T) {
	t.Parallel()
	waits := func(stream string, facts ...[2]string) (out []string) {
		var s story.Story
		for i, f := range facts {
			e := es.Event{NewEvent: es.NewEvent{Type: f[0], Data: []byte(f[1])}, Stream: es.Stream(stream), Position: es.Position(i)}
			s.Facts = append(s.Facts, story.Fact{Recorded: es.Recorded{Event: e}})
		}
		for _, w := range s.Waits() {
			out = append(out, w.Thing+" "+w.ID+": "+w.For)
		}
		return out
	}
	for _, stream := range []string{"bill-R-a", "bill-P-a"} {
		note := waits(stream, [2]string{"bill.settled.v1", `{"documentId":"n","kind":"note"}`}, [2]string{"bill.unsettled.v1", `{"documentId":"n","kind":"note"}`})
		if len(note) != 0 {
			t.Errorf("%s: a note that is unpaid again: %v", stream, note)
		}
		invoice := waits(stream, [2]string{"bill.settled.v1", `{"documentId":"i","kind":"invoice"}`}, [2]string{"bill.unsettled.v1", `{"documentId":"i","kind":"invoice"}`})
		if len(invoice) != 1 || !strings.HasPrefix(invoice[0], "invoice i: ") {
			t.Errorf("%s: an invoice that is unpaid again: %v", stream, invoice)
		}
	}
	got := waits("agreement-R-a", [2]string{"agreement.confirmed.v1", `{}`}, [2]string{"agreement.approval_received.v1", `{}`}, [2]string{"agreement.commit_failed.v1", `{}`})
	if !slices.Equal(got, []string{"agreement a: the provider to approve it"}) {
		t.Errorf("a commit failed: %v", got)
	}
}

func TestAboutOneThing(t *testing.T) {
	t.Parallel()
	log := &es.Log{Store: memory.New(), Codec: eventschemas.New()}
	if err := storytest.Write(t.Context(), log); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{storytest.First.Invoice, storytest.First.Activity, storytest.First.Agreement, storytest.First.Proposal, storytest.Allocation} {
		s, err := story.Of(t.Context(), log, id)
		if err != nil {
			t.Fatal(err)
		}
		about := s.About()
		if len(about) == 0 || len(about) > len(s.Facts) {
			t.Fatalf("%s: %d of %d", id, len(about), len(s.Facts))
		}
		in := map[es.Position]bool{}
		for _, f := range about {
			if f.Parent != nil && !in[*f.Parent] {
				t.Errorf("%s: fact %d hangs on %d, which is not shown", id, f.Position, *f.Parent)
			}
			in[f.Position] = true
		}
	}
}
