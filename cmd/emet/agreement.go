package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/projections"
)

func newAgreementCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List agreements, oldest first", Args: cobra.NoArgs,
		Example: "  emet agreement list\n  emet agreement list --state Approved --json",
		RunE:    reading(runAgreementList),
	}
	list.Flags().String("state", "", strings.Join(agreementStates[:len(agreementStates)-1], ", ")+" or "+agreementStates[len(agreementStates)-1])
	outputFlags(list)
	show := &cobra.Command{
		Use: "show <id>", Short: "Show an agreement with its terms, work and bills", Args: cobra.ExactArgs(1),
		Example: "  emet agreement show 1a2b3c4d\n  emet agreement show 1a2b3c4d --json",
		RunE:    reading(runAgreementShow),
	}
	jsonFlag(show)
	return group("agreement", "Deals of this node", "  emet agreement list\n  emet agreement show 1a2b3c4d", list, show)
}

// agreementStates are the states as clients know them.
var agreementStates = []string{"Proposal", "Pending", "Cancelled", "Rejected", "Approved", "Expired", "Terminated"}

type agreementJSON struct {
	ID         string     `json:"id"`
	Side       string     `json:"side"` // "R" or "P"
	State      string     `json:"state"`
	Owner      string     `json:"owner"`
	Peer       string     `json:"peer"`
	DemandID   string     `json:"demandId"`
	OfferID    string     `json:"offerId"`
	Session    string     `json:"appSessionId,omitzero"`
	Created    time.Time  `json:"created"`
	ValidTo    time.Time  `json:"validTo"`
	Approved   *time.Time `json:"approved,omitzero"`
	Ended      *time.Time `json:"ended,omitzero"`
	Reason     any        `json:"reason,omitzero"`
	Terminator string     `json:"terminator,omitzero"` // side
}

// optional is a time that may be unset.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// foreign is JSON text that somebody wrote, as JSON if it is.
func foreign(s string) any {
	switch {
	case s == "":
		return nil
	case json.Valid([]byte(s)):
		return json.RawMessage(s)
	}
	return s
}

func showAgreement(r projections.AgreementRow) agreementJSON {
	return agreementJSON{
		ID: r.ID, Side: string(r.Side), State: r.State, Owner: string(r.Owner), Peer: string(r.Peer), DemandID: r.DemandID, OfferID: r.OfferID,
		Session: r.Session, Created: r.Created, ValidTo: r.ValidTo, Approved: optional(r.Approved), Ended: optional(r.Ended),
		Reason: foreign(r.Reason), Terminator: string(r.Terminator),
	}
}

func runAgreementList(cmd *cobra.Command, _ []string, r *node.Reading) error {
	state, _ := cmd.Flags().GetString("state")
	if state != "" {
		i := slices.IndexFunc(agreementStates, func(s string) bool { return strings.EqualFold(s, state) })
		if i < 0 {
			return usageError{fmt.Errorf("--state %s: want one of %s", state, strings.Join(agreementStates, ", "))}
		}
		state = agreementStates[i]
	}
	rows, err := r.Market.Agreements(cmd.Context(), projections.AgreementFilter{State: state})
	if err != nil {
		return err
	}
	l := listing{header: []string{"Agreement", "Side", "State", "With", "Created", "Valid to", "Reason"}, empty: "There are no such agreements."}
	for _, a := range rows {
		l.add(showAgreement(a), cut(a.ID, 16), string(a.Side), a.State, cut(string(a.Peer), 12), when(a.Created), when(a.ValidTo), cut(plain([]byte(a.Reason)), 50))
	}
	return l.print(cmd)
}

type billJSON struct {
	Side      string       `json:"side"`
	Platform  string       `json:"platform"`
	Due       money.Amount `json:"due"`
	Accepted  money.Amount `json:"accepted"`
	Scheduled money.Amount `json:"scheduled"`
	Paid      money.Amount `json:"paid"`
}

type agreementDetail struct {
	agreementJSON
	DemandProperties  any            `json:"demandProperties"`
	DemandConstraints string         `json:"demandConstraints"`
	OfferProperties   any            `json:"offerProperties"`
	OfferConstraints  string         `json:"offerConstraints"`
	Activities        []activityJSON `json:"activities"`
	Documents         []documentJSON `json:"documents"`
	Bill              *billJSON      `json:"bill,omitzero"`
}

type documentJSON struct {
	Kind      string       `json:"kind"` // "note", "invoice"
	ID        string       `json:"id"`
	Status    string       `json:"status"`
	Amount    money.Amount `json:"amount"`
	Due       *time.Time   `json:"dueDate,omitzero"`
	Timestamp time.Time    `json:"timestamp"`
	Rejection any          `json:"rejection,omitzero"`
}

func runAgreementShow(cmd *cobra.Command, args []string, r *node.Reading) error {
	rows, err := r.Market.Agreements(cmd.Context(), projections.AgreementFilter{})
	if err != nil {
		return err
	}
	found, err := pick("agreement", args[0], rows, func(a projections.AgreementRow) string { return a.ID })
	if err != nil {
		return err
	}
	out := make([]agreementDetail, len(found))
	for i, row := range found {
		if out[i], err = detail(cmd.Context(), r, row); err != nil {
			return err
		}
	}
	if asksJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), out)
	}
	for i, a := range out {
		if i > 0 {
			fmt.Fprintln(cmd.OutOrStdout())
		}
		sayAgreement(cmd, a, found[i])
	}
	return nil
}

func detail(ctx context.Context, r *node.Reading, row projections.AgreementRow) (agreementDetail, error) {
	out := agreementDetail{agreementJSON: showAgreement(row), Activities: []activityJSON{}, Documents: []documentJSON{}}
	s, _, err := es.NewAggregate(r.Log, agreement.Category, agreement.Rules).Load(ctx, agreement.StreamID(row.Side, row.ID))
	if err != nil {
		return out, err
	}
	out.DemandProperties, out.DemandConstraints = foreign(s.Terms.DemandProperties), s.Terms.DemandConstraints
	out.OfferProperties, out.OfferConstraints = foreign(s.Terms.OfferProperties), s.Terms.OfferConstraints
	work, err := r.Activity.Activities(ctx, projections.ActivityFilter{Side: row.Side, AgreementID: row.ID})
	if err != nil {
		return out, err
	}
	for _, a := range work {
		out.Activities = append(out.Activities, showActivity(a))
	}
	docs, err := r.Payment.Documents(ctx, projections.DocumentFilter{Owner: row.Owner, Side: row.Side, AgreementID: row.ID})
	if err != nil {
		return out, err
	}
	for _, d := range docs {
		out.Documents = append(out.Documents, documentJSON{string(d.Kind), d.ID, string(d.Status), d.Amount, optional(d.Due), d.Timestamp, foreign(d.Rejection)})
	}
	totals, err := r.Payment.PayAgreements(ctx, projections.TotalsFilter{Owner: row.Owner, AgreementID: row.ID})
	for _, t := range totals {
		if t.Side == row.Side {
			out.Bill = &billJSON{string(t.Side), string(t.Platform), t.Due, t.Accepted, t.Scheduled, t.Paid}
		}
	}
	return out, err
}

func sayAgreement(cmd *cobra.Command, a agreementDetail, row projections.AgreementRow) {
	w := cmd.OutOrStdout()
	side := map[string]string{"R": "requestor", "P": "provider"}[a.Side]
	pairs(w, [2]string{"agreement", a.ID}, [2]string{"side", side}, [2]string{"state", a.State}, [2]string{"identity", a.Owner}, [2]string{"with", a.Peer},
		[2]string{"demand", a.DemandID}, [2]string{"offer", a.OfferID}, [2]string{"created", when(a.Created)}, [2]string{"valid to", when(a.ValidTo)},
		[2]string{"approved", when(row.Approved)}, [2]string{"ended", when(row.Ended)}, [2]string{"reason", plain([]byte(row.Reason))})
	for _, x := range a.Activities {
		fmt.Fprintf(w, "activity       %s %s\n", x.ID, x.State)
	}
	for _, d := range a.Documents {
		fmt.Fprintf(w, "%-14s %s %s %s\n", d.Kind, d.ID, d.Status, d.Amount)
	}
	if b := a.Bill; b != nil {
		fmt.Fprintf(w, "%-14s due %s, accepted %s, scheduled %s, paid %s (%s)\n", "bill", b.Due, b.Accepted, b.Scheduled, b.Paid, b.Platform)
	}
}
