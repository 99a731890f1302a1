package rest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	gen "github.com/emet-node/emet/api/gen/payment"
	"github.com/emet-node/emet/api/rest/dto"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/projections"
)

// paymentNews are the facts by which payments come to be listed.
var paymentNews = es.Filter{TypePrefixes: []string{"payment."}}

// ListPayments waits for payments, sent and received.
func (p *paymentAPI) ListPayments(c echo.Context) error {
	ctx, q := c.Request().Context(), queryOf(c)
	wait := q.wait("timeout", defaultWait)
	f := projections.PaymentFilter{
		Owner: keyOf(ctx).Identity, Session: q.text("appSessionId"), After: q.date("afterTimestamp"), Limit: q.most("maxEvents"),
		Network: q.text("network"), Driver: q.text("driver"),
	}
	if q.err != nil {
		return q.err
	}
	if err := p.knows(f.Driver, f.Network, http.StatusInternalServerError); err != nil {
		return err
	}
	rows, err := poll(ctx, logNews{p.Log}, paymentNews, wait, func(ctx context.Context) ([]projections.PaymentRow, bool, error) {
		rows, err := p.Views.Payments(ctx, f)
		return rows, len(rows) > 0, err
	})
	if err != nil {
		return err
	}
	return showPayments(c, rows)
}

// knows refuses names of drivers and networks that do not exist.
func (p *paymentAPI) knows(driver, network string, status int) error {
	if driver != "" && driver != onchain.Driver {
		return problem(status, "Driver not found: %s. There is %s.", driver, onchain.Driver)
	}
	if _, ok := p.network(network); network != "" && !ok {
		return problem(status, "Network not found: %s. There are %s.", network, p.networkNames())
	}
	return nil
}

func showPayments(c echo.Context, rows []projections.PaymentRow) error {
	out := make([]gen.Payment, len(rows))
	for i, r := range rows {
		out[i] = paymentAnswer(r)
	}
	return list(c, out)
}

// paymentAnswer shows a payment. Its time is that of this node, which is where
// who saw it goes on; what the payer signed has the payer's.
func paymentAnswer(r projections.PaymentRow) gen.Payment {
	out := gen.Payment{
		PaymentId: r.ID, PayerId: string(r.Payer), PayeeId: string(r.Payee), PayerAddr: r.PayerAddr, PayeeAddr: r.PayeeAddr,
		PaymentPlatform: string(r.Platform), Amount: moneyOf(r.Amount), Timestamp: dto.At(r.Listed), Details: detailsOf(r.TxHash),
		AgreementPayments: []gen.AgreementPayment{}, ActivityPayments: []gen.ActivityPayment{},
	}
	for _, s := range r.Shares {
		if s.ActivityID != "" {
			out.ActivityPayments = append(out.ActivityPayments, gen.ActivityPayment{ActivityId: s.ActivityID, Amount: moneyOf(s.Amount)})
			continue
		}
		out.AgreementPayments = append(out.AgreementPayments, gen.AgreementPayment{AgreementId: s.AgreementID, Amount: moneyOf(s.Amount)})
	}
	if len(r.Signature) > 0 && len(r.Canonical) > 0 {
		out.Signature, out.SignedBytes = r.Signature, r.Canonical
	}
	return out
}

// detailsOf is what proves the payment: the bytes of the transaction's hash.
func detailsOf(txHash string) string {
	b, err := hex.DecodeString(strings.TrimPrefix(txHash, "0x"))
	if err != nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(b)
}

// GetPayment shows a payment.
func (p *paymentAPI) GetPayment(c echo.Context) error {
	ctx := c.Request().Context()
	rows, err := p.Views.Payments(ctx, projections.PaymentFilter{Owner: keyOf(ctx).Identity, ID: c.Param("paymentId"), Limit: 1})
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return notThere()
	}
	return ok(c, paymentAnswer(rows[0]))
}

// ListInvoicePayments lists what was paid for the agreement of an invoice and
// its activities.
func (p *paymentAPI) ListInvoicePayments(c echo.Context) error {
	r, err := p.document(c, "", pay.Invoice)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	totals, err := p.Views.PayActivities(ctx, projections.TotalsFilter{Owner: r.Owner, AgreementID: r.AgreementID})
	if err != nil {
		return err
	}
	activities := slices.Clone(r.ActivityIDs)
	for _, t := range totals {
		activities = append(activities, t.ActivityID)
	}
	rows, err := p.Views.Payments(ctx, projections.PaymentFilter{Owner: r.Owner, Side: r.Side, AgreementID: r.AgreementID})
	if err != nil {
		return err
	}
	more, err := p.paymentsOf(ctx, r, activities)
	if err != nil {
		return err
	}
	return showPayments(c, merged(rows, more))
}

// paymentsOf finds what was paid for activities, given that there are any.
func (p *paymentAPI) paymentsOf(ctx context.Context, r projections.DocumentRow, activities []string) ([]projections.PaymentRow, error) {
	if len(activities) == 0 {
		return nil, nil
	}
	return p.Views.Payments(ctx, projections.PaymentFilter{Owner: r.Owner, Side: r.Side, ActivityIDs: activities})
}

func merged(a, b []projections.PaymentRow) []projections.PaymentRow {
	for _, r := range b {
		if !slices.ContainsFunc(a, func(x projections.PaymentRow) bool { return x.ID == r.ID && x.Payee == r.Payee && x.Side == r.Side }) {
			a = append(a, r)
		}
	}
	slices.SortStableFunc(a, func(x, y projections.PaymentRow) int {
		return cmp.Or(x.Listed.Compare(y.Listed), x.Recorded.Compare(y.Recorded))
	})
	return a
}

// ListDebitNotePayments lists what was paid for the activity of a note.
func (p *paymentAPI) ListDebitNotePayments(c echo.Context) error {
	r, err := p.document(c, "", pay.DebitNote)
	if err != nil {
		return err
	}
	rows, err := p.paymentsOf(c.Request().Context(), r, r.ActivityIDs)
	if err != nil {
		return err
	}
	return showPayments(c, rows)
}

// GetPaymentStatus tells what stands in the way of paying; nothing is healthy.
func (p *paymentAPI) GetPaymentStatus(c echo.Context) error {
	ctx, q := c.Request().Context(), queryOf(c)
	driver, network := q.text("driver"), q.text("network")
	if q.err != nil {
		return q.err
	}
	if err := p.knows(driver, network, http.StatusNotFound); err != nil {
		return err
	}
	health, err := p.Views.Health(ctx, keyOf(ctx).Identity)
	if err != nil {
		return err
	}
	var out []json.RawMessage
	for _, platform := range slices.Sorted(maps.Keys(health)) {
		if driver != "" && platform.Driver() != driver || network != "" && platform.Network() != network {
			continue
		}
		var properties []json.RawMessage
		if json.NewDecoder(bytes.NewBufferString(health[platform])).Decode(&properties) == nil {
			out = append(out, properties...)
		}
	}
	return list(c, out)
}

// ListRequestorAccounts lists from where the caller can pay: its own address on
// every network, since none has to be initialised.
func (p *paymentAPI) ListRequestorAccounts(c echo.Context) error {
	return list(c, p.accountsOf(keyOf(c.Request().Context()).Identity))
}

// ListProviderAccounts lists where this node is paid. Addresses are public, so
// those of all its identities that have a wallet are shown.
func (p *paymentAPI) ListProviderAccounts(c echo.Context) error {
	ctx := c.Request().Context()
	me := keyOf(ctx).Identity
	out := p.accountsOf(me)
	rows, err := p.Views.Accounts(ctx, "")
	if err != nil {
		return err
	}
	for _, r := range rows {
		if profile, ok := p.network(r.Platform.Network()); ok && r.Owner != me {
			out = append(out, accountAnswer(profile, r.Address))
		}
	}
	return list(c, out)
}

func (p *paymentAPI) accountsOf(node identity.NodeID) []gen.Account {
	out := make([]gen.Account, len(p.Networks))
	for i, profile := range p.Networks {
		out[i] = accountAnswer(profile, string(node))
	}
	return out
}

func accountAnswer(p onchain.Profile, address string) gen.Account {
	return gen.Account{
		Address: address, Driver: onchain.Driver, Network: p.Network, Platform: p.Platform(), Receive: true, Send: true, Token: p.TokenSymbol,
	}
}
