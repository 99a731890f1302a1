package story

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/emet-node/emet/domain/es"
)

// Wait is something in a story that is open: it goes on when somebody does
// what it waits for.
type Wait struct {
	Thing    string // "invoice", "agreement", …
	ID       string
	Side     string // "R" or "P"; "" where there are no sides
	For      string // who must do what
	Moves    string // what would move it
	Position es.Position
	Since    time.Time
	Stream   es.Stream
	// Due is when it ends by itself, if a fact says so; zero = it does not.
	Due time.Time
}

// rule says which facts open a wait and which close it. Facts are of one
// stream; if by is set, of one thing in it.
type rule struct {
	thing  string
	by     []string // members that name the thing; nil = the stream's own
	begins []string // without the version
	ends   []string
	moot   []string // end all such waits of the stream, and those that would begin
	waits  string
	moves  string
	due    string // member of the opening fact
	side   string // only there
}

const (
	market   = "/market-api/v1"
	payments = "/payment-api/v1"
	document = "documentId"
)

var over = []string{"agreement.rejected", "agreement.cancelled", "agreement.terminated", "agreement.expired"}

func upTo(more ...string) []string { return append(more, over...) }

// rules in the order in which a deal goes.
var rules = []rule{
	{
		thing: "negotiation", begins: []string{"negotiation.opened", "negotiation.counter_received"},
		ends:  []string{"negotiation.counter_requested", "negotiation.rejection_requested", "negotiation.rejection_received", "negotiation.promoted", "negotiation.closed"},
		waits: "our client (or, of a provider, its rules) to counter, reject or accept", moves: "POST " + market + "/{demands|offers}/<subscription>/proposals/<proposal>",
	},
	{
		thing: "negotiation", begins: []string{"negotiation.counter_delivered"},
		ends:  []string{"negotiation.counter_received", "negotiation.rejection_received", "negotiation.rejection_requested", "negotiation.promoted", "negotiation.closed"},
		waits: "the other side to answer our proposal", moves: "its answer, or the end of either subscription",
	},
	{
		thing: "agreement", begins: []string{"agreement.created"}, ends: upTo("agreement.confirmation_requested"), side: "R",
		waits: "our client to confirm it", moves: "POST " + market + "/agreements/<id>/confirm",
	},
	{
		thing: "agreement", begins: []string{"agreement.confirmed", "agreement.confirmation_requested", "agreement.commit_failed"}, ends: upTo("agreement.approval_received", "agreement.approved", "agreement.confirmation_failed"), side: "R",
		waits: "the provider to approve it", moves: "its approval or rejection; POST " + market + "/agreements/<id>/cancel takes it back",
	},
	{
		thing: "agreement", begins: []string{"agreement.received", "agreement.approval_failed"}, ends: upTo("agreement.approval_requested"), side: "P",
		waits: "our provider to approve or reject it", moves: "POST " + market + "/agreements/<id>/approve (the built-in provider does it by its rules)",
	},
	{
		thing: "agreement", begins: []string{"agreement.approval_requested", "agreement.approval_delivered"}, ends: upTo("agreement.approved", "agreement.approval_failed"), side: "P", due: "deadline",
		waits: "the requestor to commit it", moves: "its commit",
	},
	{
		thing: "agreement", begins: []string{"agreement.approved"}, ends: over,
		waits: "either side to end it", moves: "POST " + market + "/agreements/<id>/terminate",
	},
	{
		thing: "activity", begins: []string{"activity.created"}, ends: []string{"activity.terminated"},
		waits: "the requestor to destroy it", moves: "DELETE /activity-api/v1/activity/<id>",
	},
	{
		thing: "batch", begins: []string{"batch.accepted"}, ends: []string{"batch.closed"},
		waits: "its commands to end", moves: "the exe-unit; emet log story <activity> shows how far it is",
	},
	{
		thing: "invoice", by: []string{"invoiceId", document}, begins: []string{"bill.invoice_received"}, side: "R", due: "dueDate",
		ends:  []string{"bill.invoice_accepted", "bill.invoice_rejected", "bill.invoice_cancelled_by_peer"},
		waits: "our client to accept or reject it", moves: "POST " + payments + "/invoices/<id>/accept",
	},
	{
		thing: "debit note", by: []string{"debitNoteId", document}, begins: []string{"bill.note_received"}, side: "R", due: "dueDate",
		ends:  []string{"bill.note_accepted", "bill.note_rejected", "bill.note_cancelled_by_peer"},
		moot:  []string{"bill.invoice_accepted"}, // which is over all notes too
		waits: "our client to accept or reject it", moves: "POST " + payments + "/debitNotes/<id>/accept",
	},
	{
		thing: "invoice", by: []string{"invoiceId", document}, begins: []string{"bill.invoice_delivered"}, side: "P",
		ends:  []string{"bill.invoice_accepted_by_peer", "bill.invoice_rejected_by_peer", "bill.invoice_cancelled", "bill.settled"},
		waits: "the requestor to accept it", moves: "its acceptance; POST " + payments + "/invoices/<id>/cancel takes the invoice back",
	},
	{
		thing: "invoice", by: []string{"invoiceId", document}, begins: []string{"bill.invoice_accepted", "bill.unsettled"}, side: "R", ends: []string{"bill.settled"},
		waits: "its transfer to be on the chain", moves: "the next settlement run; POST " + payments + "/batchCycle/<platform>/now begins one",
	},
	{
		thing: "invoice", by: []string{"invoiceId", document}, begins: []string{"bill.invoice_accepted_by_peer", "bill.unsettled"}, side: "P", ends: []string{"bill.settled"},
		waits: "the requestor to pay it", moves: "its transfer; it is due by the date on the invoice",
	},
	{
		thing: "order", begins: []string{"order.opened"}, ends: []string{"order.completed"},
		waits: "its transfers to be final on the chain", moves: "the transaction below; coins for gas, an unlocked key and a chain that answers",
	},
	{
		thing: "transaction", begins: []string{"tx.broadcast", "tx.orphaned"}, ends: []string{"tx.included", "tx.finalised", "tx.reverted", "tx.cancelled"},
		waits: "the chain to include it", moves: "a block; a higher fee is offered by itself",
	},
	{
		thing: "transaction", begins: []string{"tx.included"}, ends: []string{"tx.finalised", "tx.reverted", "tx.orphaned"},
		waits: "enough blocks on top of it", moves: "time",
	},
	{
		thing: "allocation", begins: []string{"allocation.created", "allocation.amended"}, ends: []string{"allocation.released", "allocation.expired"}, due: "timeout",
		waits: "its owner to give back what is left", moves: "DELETE " + payments + "/allocations/<id>",
	},
}

// intents are what facts ask of the world, by type without the version.
var intents = map[string][2]string{
	"negotiation.counter_requested":    {"the other node to take our proposal", "it is sent again until it is taken or fails; a failed one may be made anew"},
	"negotiation.rejection_requested":  {"the other node to hear our rejection", "it is sent again until it is heard, for 30 days at most"},
	"agreement.confirmation_requested": {"the provider's node to take the agreement", "it is sent again; the provider's node must be reachable"},
	"agreement.approval_requested":     {"the requestor's node to hear the approval", "it is sent again until the deadline"},
	"agreement.commit_requested":       {"the provider's node to hear the commit", "it is sent again; the provider's node must be reachable"},
	"agreement.rejected":               {"the other node to hear of the end", "it is sent again, for 30 days at most"},
	"agreement.cancelled":              {"the other node to hear of the end", "it is sent again, for 30 days at most"},
	"agreement.terminated":             {"the other node to hear of the end", "it is sent again, for 30 days at most"},
	"activity.creation_requested":      {"the provider's node to create it", "the provider's node must be reachable"},
	"activity.spawn_requested":         {"the exe-unit to start", "its log is in the node's exe-unit directory"},
	"activity.destruction_requested":   {"the exe-unit, or the provider's node, to end it", "it is asked again"},
	"batch.exec_requested":             {"the provider's node to take the script", "the provider's node must be reachable"},
	"bill.note_issued":                 {"the requestor's node to take the debit note", "it is sent again; the requestor's node must be reachable"},
	"bill.invoice_issued":              {"the requestor's node to take the invoice", "it is sent again; the requestor's node must be reachable"},
	"bill.note_accepted":               {"the provider's node to hear of the acceptance", "it is sent again; the provider's node must be reachable"},
	"bill.invoice_accepted":            {"the provider's node to hear of the acceptance", "it is sent again; the provider's node must be reachable"},
	"tx.signing_requested":             {"the key of the wallet", "emet id unlock"},
	"tx.broadcast_requested":           {"an RPC node to take the transaction", "a chain that answers; emet money status shows it"},
	"payment.signing_requested":        {"the key of the payer", "emet id unlock"},
	"payment.delivery_requested":       {"the payee's node to hear of the payment", "it is sent again; the payee's node must be reachable"},
	"payment.claimed":                  {"the chain to show that the money came", "enough blocks on top of the transfer, and a chain that answers"},
}

// Waits lists what is open in a story, in the order in which it began.
func (s Story) Waits() []Wait {
	open, ended, asked := make(map[string]Wait), make(map[string]es.Position), make(map[string]es.Position)
	moot := make(map[string]bool)
	var keys []string
	set := func(key string, w Wait) {
		if _, known := open[key]; !known {
			keys = append(keys, key)
		}
		open[key] = w
	}
	for _, f := range s.Facts {
		// An outcome that comes late opens nothing that what it tells of has
		// ended: an approval may be committed before its sender hears that it
		// arrived.
		since := f.Position
		if id, ok := strings.CutSuffix(f.Info.Key, "/final"); ok {
			delete(open, "intent/"+id)
			if at, known := asked[id]; known {
				since = at
			}
		}
		typ := es.FactName(f.Type)
		if i, ok := f.Data.(es.Intent); ok && i.IsIntent() {
			set("intent/"+f.ID.String(), intentOf(f, typ))
			asked[f.ID.String()] = f.Position
		}
		for n, r := range rules {
			if slices.Contains(r.moot, typ) {
				moot[prefix(f, n)] = true
				maps.DeleteFunc(open, func(key string, _ Wait) bool { return strings.HasPrefix(key, prefix(f, n)) })
			}
			key, ok := r.key(f, typ, n)
			switch {
			case !ok, moot[prefix(f, n)]:
			case slices.Contains(r.ends, typ):
				delete(open, key)
				ended[key] = f.Position
			case slices.Contains(r.begins, typ):
				if at, ok := ended[key]; !ok || at < since {
					set(key, r.wait(f))
				}
			}
		}
	}
	out := make([]Wait, 0, len(open))
	for _, k := range keys {
		if w, ok := open[k]; ok {
			out = append(out, w)
			delete(open, k)
		}
	}
	slices.SortStableFunc(out, func(a, b Wait) int { return int(a.Position) - int(b.Position) }) //nolint:gosec // far below 2^63
	return out
}

func intentOf(f Fact, typ string) Wait {
	said, ok := intents[typ]
	if !ok {
		said = [2]string{"the outcome of " + typ, "it is tried again"}
	}
	return Wait{
		Thing: f.Stream.Category(), ID: own(f.Stream), Side: sideOf(f.Stream), For: said[0], Moves: said[1], Position: f.Position, Since: f.Recorded.Recorded, Stream: f.Stream,
	}
}

// key names what a rule follows, for a fact that it may be about.
func (r rule) key(f Fact, typ string, n int) (string, bool) {
	if !slices.Contains(r.begins, typ) && !slices.Contains(r.ends, typ) || r.side != "" && sideOf(f.Stream) != r.side {
		return "", false
	}
	if r.by != nil {
		if kind, ok := membersOf(f)["kind"].(string); ok && (kind == "invoice") != (r.thing == "invoice") {
			return "", false
		}
	}
	return prefix(f, n) + r.id(f), true
}

// prefix is what the keys of the n-th rule in the stream of a fact begin with.
func prefix(f Fact, n int) string { return string(rune('a'+n)) + string(f.Stream) + "/" }

func (r rule) id(f Fact) string {
	if r.by == nil {
		return own(f.Stream)
	}
	members := membersOf(f)
	for _, m := range r.by {
		if id, ok := members[m].(string); ok {
			return id
		}
	}
	return ""
}

func (r rule) wait(f Fact) Wait {
	w := Wait{
		Thing: r.thing, ID: r.id(f), Side: sideOf(f.Stream), For: r.waits, Moves: r.moves, Position: f.Position, Since: f.Recorded.Recorded, Stream: f.Stream,
	}
	if r.thing == "transaction" {
		w.ID = f.Stream.Key()
	}
	w.Moves = strings.ReplaceAll(w.Moves, "<id>", w.ID)
	if text, ok := membersOf(f)[r.due].(string); ok {
		w.Due, _ = time.Parse(time.RFC3339Nano, text)
	}
	return w
}

func membersOf(f Fact) map[string]any {
	var members map[string]any
	_ = json.Unmarshal(f.Event.Data, &members) // what was erased has none
	return members
}

func sideOf(s es.Stream) string {
	side, _, ok := strings.Cut(s.Key(), "-")
	if !ok || side != "R" && side != "P" {
		return ""
	}
	return side
}

// About is the part of a story that is about one thing: the facts that name
// it, and what led to them.
func (s Story) About() []Fact {
	at := make(map[es.Position]int, len(s.Facts))
	for i, f := range s.Facts {
		at[f.Position] = i
	}
	keep := make([]bool, len(s.Facts))
	named := func(f Fact) bool { return own(f.Stream) == s.ID }
	if !slices.ContainsFunc(s.Facts, named) {
		named = func(f Fact) bool { return strings.Contains(string(f.Event.Data), `"`+s.ID) }
	}
	for i, f := range s.Facts {
		if !named(f) {
			continue
		}
		for !keep[i] {
			keep[i] = true
			if p := s.Facts[i].Parent; p != nil {
				i = at[*p]
			}
		}
	}
	var out []Fact
	for i, f := range s.Facts {
		if keep[i] {
			out = append(out, f)
		}
	}
	return out
}
