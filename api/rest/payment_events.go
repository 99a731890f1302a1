package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	gen "github.com/emet-node/emet/api/gen/payment"
	"github.com/emet-node/emet/api/rest/dto"
	"github.com/emet-node/emet/domain/es"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/projections"
)

// Headers by which clients choose events, per side they play in a deal.
const (
	requestorEventsHeader = "X-Requestor-Events"
	providerEventsHeader  = "X-Provider-Events"
)

// What those get who choose nothing. Clients take every event of an invoice
// for a new invoice, so a requestor must not hear of its own decisions.
var (
	requestorCodes = []string{projections.CodeReceived, projections.CodeCancelled}
	providerCodes  = []string{projections.CodeAccepted, projections.CodeRejected, projections.CodeSettled, projections.CodeCancelled}
)

// eventNames are the codes of events and how their types end.
var eventNames = map[string]string{
	projections.CodeReceived:  "ReceivedEvent",
	projections.CodeAccepted:  "AcceptedEvent",
	projections.CodeRejected:  "RejectedEvent",
	projections.CodeCancelled: "CancelledEvent",
	projections.CodeSettled:   "SettledEvent",
	projections.CodePayment:   "PaymentStatusEvent",
	projections.CodePaymentOK: "PaymentOkEvent",
}

// billNews are the facts that clients hear of as events of documents.
var billNews = es.Filter{TypePrefixes: []string{"bill.", "wallet.health_changed."}}

// CollectInvoiceEvents waits for events of invoices.
func (p *paymentAPI) CollectInvoiceEvents(c echo.Context) error {
	return p.billEvents(c, pay.Invoice)
}

// CollectDebitNoteEvents waits for events of debit notes.
func (p *paymentAPI) CollectDebitNoteEvents(c echo.Context) error {
	return p.billEvents(c, pay.DebitNote)
}

func (p *paymentAPI) billEvents(c echo.Context, kind pay.Kind) error {
	ctx, q := c.Request().Context(), queryOf(c)
	wait := q.wait("timeout", defaultWait)
	f := projections.BillEventFilter{
		Owner: keyOf(ctx).Identity, Kind: kind, Session: q.text("appSessionId"), After: q.date("afterTimestamp"), Limit: q.most("maxEvents"),
		RequestorCodes: codesOf(c.Request().Header, requestorEventsHeader, requestorCodes, q),
		ProviderCodes:  codesOf(c.Request().Header, providerEventsHeader, providerCodes, q),
	}
	if q.err != nil {
		return q.err
	}
	rows, err := poll(ctx, logNews{p.Log}, billNews, wait, func(ctx context.Context) ([]projections.BillEventRow, bool, error) {
		rows, err := p.Views.BillEvents(ctx, f)
		return rows, len(rows) > 0, err
	})
	if err != nil {
		return err
	}
	out := make([]gen.BillEvent, len(rows))
	for i, r := range rows {
		out[i] = billEventAnswer(r)
	}
	return list(c, out)
}

// codesOf reads the events that a header chooses.
func codesOf(h http.Header, name string, absent []string, q *query) []string {
	values := h.Values(name)
	if len(values) == 0 {
		return absent
	}
	var out []string
	for _, code := range strings.Split(strings.Join(values, ","), ",") {
		code = strings.TrimSpace(code)
		if _, ok := eventNames[code]; !ok && code != "" {
			q.fail(name, "unknown event `"+code+"`")
		}
		if code != "" && !slices.Contains(out, code) {
			out = append(out, code)
		}
	}
	return out
}

func billEventAnswer(r projections.BillEventRow) gen.BillEvent {
	e := gen.BillEvent{EventDate: dto.At(r.Time), EventType: "Invoice" + eventNames[r.Code], InvoiceId: r.DocumentID}
	if r.Kind == pay.DebitNote {
		e.EventType, e.InvoiceId, e.DebitNoteId = "DebitNote"+eventNames[r.Code], "", r.DocumentID
	}
	switch r.Code {
	case projections.CodeRejected:
		e.Rejection = rejectionObject(r.Rejection)
	case projections.CodePayment:
		e.Property = json.RawMessage(r.Property)
	}
	return e
}
