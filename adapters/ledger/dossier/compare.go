package dossier

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/market/agreement"
)

// Parting is one thing that two dossiers do not tell alike. A side that does
// not tell it has no text.
type Parting struct {
	About  string    `json:"about"`
	First  string    `json:"first,omitzero"`
	Second string    `json:"second,omitzero"`
	When   time.Time `json:"when"` // by the clock of who tells it, the first one's if both do
}

// Differs says whether both tell it, differently.
func (p Parting) Differs() bool { return p.First != "" && p.Second != "" }

// Comparison is where two dossiers of one agreement part.
type Comparison struct {
	Agreement string    `json:"agreement"`
	Same      int       `json:"same"` // things that both tell alike
	Parts     []Parting `json:"parts"`
}

// Differs says whether the two contradict each other anywhere.
func (c Comparison) Differs() bool { return slices.ContainsFunc(c.Parts, Parting.Differs) }

// ErrIncomparable says that two files are not both dossiers of one deal.
var ErrIncomparable = errors.New("these cannot be compared")

// Compare tells where two parties' stories part, in the order of time. It
// compares what is said; whether it is proved is for [Verify]. What either
// withholds is passed over.
func Compare(first, second []byte) (Comparison, error) {
	a, err := Parse(first)
	if err != nil {
		return Comparison{}, fmt.Errorf("the first file: %w", err)
	}
	b, err := Parse(second)
	if err != nil {
		return Comparison{}, fmt.Errorf("the second file: %w", err)
	}
	if a.Agreement != b.Agreement {
		return Comparison{}, fmt.Errorf("%w: one is about agreement %s, the other about %s", ErrIncomparable, a.Agreement, b.Agreement)
	}
	out := Comparison{Agreement: a.Agreement, Parts: []Parting{}}
	told, heard := a.tells(), b.tells()
	for about := range maps.Keys(told.says) {
		x, y := told.says[about], heard.says[about]
		switch {
		case x.text == y.text:
			out.Same++
		case y.text != "" || !heard.hides(about):
			out.Parts = append(out.Parts, Parting{About: about, First: x.text, Second: y.text, When: x.when})
		}
	}
	for about, y := range heard.says {
		if _, ok := told.says[about]; !ok && !told.hides(about) {
			out.Parts = append(out.Parts, Parting{About: about, Second: y.text, When: y.when})
		}
	}
	slices.SortFunc(out.Parts, func(x, y Parting) int { return cmp.Or(x.When.Compare(y.When), cmp.Compare(x.About, y.About)) })
	return out, nil
}

// told is what a dossier says of the things that both parties know, and which
// kinds of them it withholds.
type told struct {
	says     map[string]saying
	withheld map[string]bool
}

type saying struct {
	text string
	when time.Time
}

func (t told) hides(about string) bool { return t.withheld[strings.SplitN(about, " ", 2)[0]] }

func (t told) say(f fact, about, format string, args ...any) {
	t.says[about] = saying{fmt.Sprintf(format, args...), f.Recorded}
}

// tells reads what a dossier says. Content that does not hold is as good as
// none.
func (d Dossier) tells() told {
	t := told{says: map[string]saying{}, withheld: map[string]bool{}}
	c := &checker{Dossier: d}
	for _, e := range d.Events {
		f, err := c.shown(e, headerOf(e))
		if err != nil {
			continue
		}
		if f.data == nil {
			t.withheld[kindOf(f)] = true
			continue
		}
		var s said
		if json.Unmarshal(f.data, &s) == nil {
			t.hear(f, s)
		}
	}
	return t
}

// kindOf is the first word of what a fact tells about.
func kindOf(f fact) string {
	switch name := f.name(); {
	case name == "batch.command_output":
		return "output"
	case strings.HasPrefix(name, "batch."):
		return "command"
	}
	return strings.SplitN(f.name(), ".", 2)[0]
}

func (t told) hear(f fact, s said) {
	switch category := f.Stream.Category(); category {
	case "negotiation":
		if p := s.Proposal; p != nil {
			t.say(f, "proposal "+p.ProposalID, "%s", brief(p.Constraints+"\n"+p.Properties))
		}
	case "agreement":
		t.hearAgreement(f, s)
	case "bill":
		t.hearBill(f, s)
	case "batch":
		t.hearBatch(f, s)
	case "payment":
		if s.Canonical != nil {
			t.say(f, "payment "+s.PaymentID, "%s", s.Canonical)
		}
	}
}

func (t told) hearAgreement(f fact, s said) {
	stages := map[string]agreement.Stage{
		"agreement.confirmed": stageProposed, "agreement.received": stageProposed, "agreement.approval_received": stageApproved,
		"agreement.approval_delivered": stageApproved, "agreement.approved": stageCommitted,
	}
	name := f.name()
	if s.Terms != nil {
		terms := *s.Terms
		terms.NegotiationID = ""           // each has its own
		text, _ := es.CanonicalJSON(terms) //nolint:errcheck // it was read from JSON
		t.say(f, "agreement terms", "%s", text)
	}
	if stage := stages[name]; stage != "" && s.text() != "" {
		t.say(f, "agreement "+string(stage), "%s", s.text())
	}
	switch name {
	case "agreement.rejected", "agreement.cancelled", "agreement.terminated":
		t.say(f, "agreement end", "%s by %s", strings.TrimPrefix(name, "agreement."), s.By)
	}
}

func (t told) hearBill(f fact, s said) {
	name := strings.TrimSuffix(strings.TrimPrefix(f.name(), "bill."), "_by_peer")
	amount := ""
	if s.Amount != nil {
		amount = s.Amount.String()
	}
	switch name {
	case "note_issued", "note_received":
		t.say(f, "note "+s.DebitNoteID, "%s for %s of activity %s", amount, s.UsageVector, s.ActivityID)
	case "invoice_issued", "invoice_received":
		t.say(f, "invoice "+s.InvoiceID, "%s for activities %s", amount, strings.Join(s.ActivityIDs, ", "))
	case "note_accepted", "invoice_accepted":
		t.say(f, "acceptance "+s.DebitNoteID+s.InvoiceID, "%s", amount)
	case "note_rejected", "invoice_rejected":
		t.say(f, "rejection "+s.DebitNoteID+s.InvoiceID, "rejected")
	case "paid":
		t.say(f, "transfer "+s.PaymentID, "%s", strings.ToLower(s.TxHash))
	}
}

// hearBatch names a batch by its id: the stream also holds the side.
func (t told) hearBatch(f fact, s said) {
	id := string(f.Stream[strings.LastIndexByte(string(f.Stream), '-')+1:])
	switch f.name() {
	case "batch.command_finished":
		t.say(f, fmt.Sprintf("command %d of batch %s", s.Index, id), "code %d %s %s", s.Code, s.Signal, s.Message)
	case "batch.command_output":
		var o struct {
			Blob   json.RawMessage `json:"blob"`
			Bytes  []byte          `json:"bytes"`
			Offset int64           `json:"offset"`
			Stream string          `json:"stream"`
		}
		if json.Unmarshal(f.data, &o) == nil && o.Blob == nil { // who seals a blob gives it another address
			t.say(f, fmt.Sprintf("output %s %d+%d of batch %s", o.Stream, s.Index, o.Offset, id), "%s", brief(string(o.Bytes)))
		}
	case "batch.closed":
		t.say(f, "batch "+id, "%s", s.Outcome)
	}
}

// brief is a text that stands for a long one.
func brief(text string) string {
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("%d bytes, SHA-256 %s", len(text), hex.EncodeToString(sum[:]))
}
