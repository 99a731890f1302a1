package dossier

import (
	"bytes"
	_ "embed"
	"fmt"
	"html"
	"html/template"
	"strings"
	"time"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/payment/payment"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// sheet is what the page shows. It is read from the events as they are, without
// proof: a page proves nothing.
type sheet struct {
	Agreement, Log, Side, Requestor, Provider string
	Size                                      uint64
	Notes, Bills, Payments, Cosigned, Events  rows
	Conflicts, Blocks                         rows
	Withheld                                  int
}

// row is one line of a table, rows the rest of the table below its head.
type (
	row  []string
	rows []row
)

// HTML is what stands in the page. It is written by hand: a dossier has many
// cells, and a template takes its time for each.
func (r rows) HTML() template.HTML {
	var b strings.Builder
	b.WriteString("<tbody>")
	for _, cells := range r {
		b.WriteString("<tr>")
		for _, text := range cells {
			b.WriteString("<td>" + html.EscapeString(text) + "</td>")
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("</tbody></table>")
	return template.HTML(b.String()) //nolint:gosec // every text is escaped
}

// page renders the content for people.
func (d Dossier) page() ([]byte, error) {
	c := &checker{Dossier: d}
	s := sheet{Agreement: d.Agreement, Side: sideName(d.Side)}
	s.Log, s.Size, _, _ = verify.ParseCheckpoint([]byte(d.Checkpoint)) //nolint:errcheck // what cannot be read is not shown
	for _, e := range d.Events {
		f, err := c.shown(e, headerOf(e))
		if err != nil {
			continue
		}
		c.facts = append(c.facts, f)
		s.Events = append(s.Events, row{fmt.Sprint(f.Position), stamp(f.Recorded), string(f.Stream), f.Type, shownText(f)})
	}
	c.deal = dealOf(c.facts, d.Side, d.Agreement)
	s.Requestor, s.Provider, s.Withheld = string(c.deal.terms.Requestor), string(c.deal.terms.Provider), len(c.report.Withheld)
	s.bills(c.deal)
	s.cosigned(d, c.deal)
	s.dated(d, c.facts)
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, s)
	return b.Bytes(), err
}

func (s *sheet) bills(d deal) {
	accepted := map[string]string{}
	for _, a := range d.accepted {
		accepted[a.document] = a.amount.String()
	}
	for _, n := range d.notes {
		s.Notes = append(s.Notes, row{n.id, n.activity, n.vector, n.amount.String(), accepted[n.id]})
	}
	for _, i := range d.invoices {
		s.Bills = append(s.Bills, row{i.id, strings.Join(i.activities, " "), i.amount.String(), accepted[i.id]})
	}
	for _, p := range d.payments {
		amount, payee := "", ""
		if doc, err := payment.ParseDocument(d.documents[p.id].canonical); err == nil {
			amount, payee = doc.Amount.String(), doc.PayeeAddr+" on "+string(doc.Platform)
		}
		s.Payments = append(s.Payments, row{p.id, amount, payee, p.tx})
	}
}

func (s *sheet) cosigned(d Dossier, deal deal) {
	other := deal.terms.Provider
	if d.Side == string(identity.Provider) {
		other = deal.terms.Requestor
	}
	for _, c := range d.Cosigned {
		if _, size, root, err := verify.ParseCheckpoint([]byte(c.Checkpoint)); err == nil {
			s.Cosigned = append(s.Cosigned, row{fmt.Sprint(size), fmt.Sprintf("%x", root), string(other)})
		}
	}
}

// dated shows what ties the log to moments, and what speaks against the other
// party's.
func (s *sheet) dated(d Dossier, facts []fact) {
	for _, f := range facts {
		if f.Stream != ledger.LogStream || f.Type != beaconType || f.data == nil {
			continue
		}
		if b, err := blockOf(f); err == nil {
			s.Blocks = append(s.Blocks, row{fmt.Sprint(f.Position), b.time.Format(time.RFC3339), fmt.Sprint(b.chain), fmt.Sprint(b.number), b.hash})
		}
	}
	for _, x := range d.Conflicts {
		_, first, _, err := verify.ParseCheckpoint([]byte(x.First))
		_, second, _, err2 := verify.ParseCheckpoint([]byte(x.Second))
		if err == nil && err2 == nil {
			s.Conflicts = append(s.Conflicts, row{x.Kind, fmt.Sprint(first), fmt.Sprint(second)})
		}
	}
}

func stamp(t time.Time) string { return t.Format("2006-01-02 15:04:05.000000") }

// maxShown is how much of a fact the page shows; the whole is in the content.
const maxShown = 240

func shownText(f fact) string {
	if f.data == nil {
		return "withheld"
	}
	text := strings.ToValidUTF8(string(f.data), "�")
	if len(text) > maxShown {
		text = strings.ToValidUTF8(text[:maxShown], "") + "…"
	}
	return text
}
