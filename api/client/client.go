// Package client speaks the REST interface of a node, emet's or yagna's, as a
// requestor does. The shapes are the ones that all Golem nodes share.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client talks to the node at URL with an app-key. HTTP may be nil.
type Client struct {
	URL  string // for instance http://127.0.0.1:7465
	Key  string
	HTTP *http.Client
	// Patience is how long a request is sent again while no node answers, as
	// when it is being started again. All tries of a request carry one
	// Idempotency-Key, so that the node does once what it is asked once.
	Patience time.Duration
}

// Error is an answer that is no success.
type Error struct {
	Method, Path string
	Status       int
	Message      string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s %s: %d %s", e.Method, e.Path, e.Status, e.Message)
}

// ErrUnreachable says that no node answers at the address.
var ErrUnreachable = errors.New("no node answers")

// StatusOf returns the HTTP status of an error, 0 when there was no answer.
func StatusOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// Do sends a request with a JSON body (nil = none) and decodes the answer into
// out (nil = ignored).
func (c *Client) Do(ctx context.Context, method, path string, body, out any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	b, err := c.send(ctx, method, path, text)
	if err != nil {
		return err
	}
	if out == nil || len(b) == 0 {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s %s: the answer is not what was expected: %w", method, path, err)
	}
	return nil
}

const againAfter = 50 * time.Millisecond

// send sends a request until somebody answers it, or patience ends.
func (c *Client) send(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	key := ""
	if c.Patience > 0 {
		key = rand.Text()
	}
	for begun := time.Now(); ; {
		b, err := c.once(ctx, method, path, body, key)
		if err == nil || !errors.Is(err, ErrUnreachable) || time.Since(begun) >= c.Patience {
			return b, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(againAfter):
		}
	}
}

func (c *Client) once(ctx context.Context, method, path string, body []byte, key string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if c.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.Key)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	h := c.HTTP
	if h == nil {
		h = http.DefaultClient
	}
	resp, err := h.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, c.unreachable(ctx, fmt.Errorf("%s %s: %w", method, path, err))
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return nil, &Error{Method: method, Path: path, Status: resp.StatusCode, Message: message(b)}
	}
	return b, nil
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%s: %w: %w", c.URL, ErrUnreachable, err)
}

// message finds the sentence in an error's body, whatever its form.
func message(b []byte) string {
	var e struct {
		Message string `json:"message"`
		Detail  string `json:"detail"`
		Type    string `json:"type"`
	}
	if json.Unmarshal(b, &e) == nil {
		for _, s := range []string{e.Message, e.Detail, e.Type} {
			if s != "" {
				return s
			}
		}
	}
	return strings.TrimSpace(string(b))
}

// Me is who the app-key speaks for.
type Me struct {
	Identity string `json:"identity"`
	Name     string `json:"name"`
	Role     string `json:"role"`
}

// Me asks who the app-key speaks for.
func (c *Client) Me(ctx context.Context) (m Me, err error) {
	return m, c.Do(ctx, http.MethodGet, "/me", nil, &m)
}

// Allocation is a budget.
type Allocation struct {
	ID        string    `json:"allocationId,omitempty"`
	Address   string    `json:"address,omitempty"`
	Platform  string    `json:"paymentPlatform,omitempty"`
	Total     string    `json:"totalAmount"`
	Spent     string    `json:"spentAmount,omitempty"`
	Remaining string    `json:"remainingAmount,omitempty"`
	Timeout   time.Time `json:"timeout,omitzero"`
}

// CreateAllocation sets a budget aside.
func (c *Client) CreateAllocation(ctx context.Context, a Allocation) (out Allocation, err error) {
	return out, c.Do(ctx, http.MethodPost, "/payment-api/v1/allocations", a, &out)
}

// Allocations lists the budgets that were not released.
func (c *Client) Allocations(ctx context.Context) (a []Allocation, err error) {
	return a, c.Do(ctx, http.MethodGet, "/payment-api/v1/allocations", nil, &a)
}

// ReleaseAllocation gives back what is left of a budget.
func (c *Client) ReleaseAllocation(ctx context.Context, id string) error {
	return c.Do(ctx, http.MethodDelete, "/payment-api/v1/allocations/"+id, nil, nil)
}

// Decoration is what a budget adds to a demand.
type Decoration struct {
	Properties []struct {
		Key   string `json:"key"`
		Value any    `json:"value"`
	} `json:"properties"`
	Constraints []string `json:"constraints"`
}

// DecorateDemand asks what budgets add to a demand.
func (c *Client) DecorateDemand(ctx context.Context, allocation string) (d Decoration, err error) {
	return d, c.Do(ctx, http.MethodGet, "/payment-api/v1/demandDecorations?allocationIds="+url.QueryEscape(allocation), nil, &d)
}

// Offering is the text of a demand or a proposal.
type Offering struct {
	Properties  map[string]any `json:"properties"`
	Constraints string         `json:"constraints"`
}

// Subscribe publishes a demand.
func (c *Client) Subscribe(ctx context.Context, demand Offering) (id string, err error) {
	return id, c.Do(ctx, http.MethodPost, "/market-api/v1/demands", demand, &id)
}

// Unsubscribe takes a demand back.
func (c *Client) Unsubscribe(ctx context.Context, id string) error {
	return c.Do(ctx, http.MethodDelete, "/market-api/v1/demands/"+id, nil, nil)
}

// Demands lists the ids of the demands that are published.
func (c *Client) Demands(ctx context.Context) ([]string, error) {
	var all []struct {
		ID string `json:"demandId"`
	}
	err := c.Do(ctx, http.MethodGet, "/market-api/v1/demands", nil, &all)
	ids := make([]string, len(all))
	for i, d := range all {
		ids[i] = d.ID
	}
	return ids, err
}

// Proposal is one step of a negotiation.
type Proposal struct {
	ID         string                     `json:"proposalId"`
	Issuer     string                     `json:"issuerId"`
	State      string                     `json:"state"`
	Prev       string                     `json:"prevProposalId"`
	Properties map[string]json.RawMessage `json:"properties"`
}

// Event is something that happened to a demand.
type Event struct {
	Type     string          `json:"eventType"`
	Proposal *Proposal       `json:"proposal"`
	ID       string          `json:"proposalId"` // of a rejection
	Reason   json.RawMessage `json:"reason"`
}

// DemandEvents waits up to timeout for events.
func (c *Client) DemandEvents(ctx context.Context, demand string, timeout time.Duration) (e []Event, err error) {
	return e, c.Do(ctx, http.MethodGet, "/market-api/v1/demands/"+demand+"/events?maxEvents=20&timeout="+seconds(timeout), nil, &e)
}

// Counter answers a proposal.
func (c *Client) Counter(ctx context.Context, demand, proposal string, o Offering) (id string, err error) {
	return id, c.Do(ctx, http.MethodPost, "/market-api/v1/demands/"+demand+"/proposals/"+proposal, o, &id)
}

// CreateAgreement makes an agreement of a provider's proposal.
func (c *Client) CreateAgreement(ctx context.Context, proposal string, validTo time.Time) (id string, err error) {
	return id, c.Do(ctx, http.MethodPost, "/market-api/v1/agreements", map[string]any{"proposalId": proposal, "validTo": validTo.UTC().Format(time.RFC3339Nano)}, &id)
}

// Agreement is an agreement as a requestor sees it.
type Agreement struct {
	ID       string `json:"agreementId"`
	State    string `json:"state"`
	Approved string `json:"approvedDate"` // "" = never
	Offer    struct {
		Provider   string                     `json:"providerId"`
		Properties map[string]json.RawMessage `json:"properties"`
	} `json:"offer"`
}

// Agreement reads an agreement.
func (c *Client) Agreement(ctx context.Context, id string) (a Agreement, err error) {
	return a, c.Do(ctx, http.MethodGet, "/market-api/v1/agreements/"+id, nil, &a)
}

// Agreements lists the ids of the agreements that were confirmed in a session.
func (c *Client) Agreements(ctx context.Context, session string) ([]string, error) {
	var all []struct {
		ID string `json:"id"`
	}
	err := c.Do(ctx, http.MethodGet, "/market-api/v1/agreements?appSessionId="+url.QueryEscape(session), nil, &all)
	ids := make([]string, len(all))
	for i, a := range all {
		ids[i] = a.ID
	}
	return ids, err
}

// Confirm proposes an agreement to its provider.
func (c *Client) Confirm(ctx context.Context, agreement, session string) error {
	return c.Do(ctx, http.MethodPost, "/market-api/v1/agreements/"+agreement+"/confirm?appSessionId="+url.QueryEscape(session), nil, nil)
}

// WaitApproval waits until the provider approved.
func (c *Client) WaitApproval(ctx context.Context, agreement string, timeout time.Duration) error {
	return c.Do(ctx, http.MethodPost, "/market-api/v1/agreements/"+agreement+"/wait?timeout="+seconds(timeout), nil, nil)
}

// Cancel takes back an agreement that was not approved yet.
func (c *Client) Cancel(ctx context.Context, agreement, message string) error {
	return c.Do(ctx, http.MethodPost, "/market-api/v1/agreements/"+agreement+"/cancel", map[string]any{"message": message}, nil)
}

// Terminate ends an agreement.
func (c *Client) Terminate(ctx context.Context, agreement, message string) error {
	return c.Do(ctx, http.MethodPost, "/market-api/v1/agreements/"+agreement+"/terminate", map[string]any{"message": message}, nil)
}

// CreateActivity starts an exe-unit.
func (c *Client) CreateActivity(ctx context.Context, agreement string, timeout time.Duration) (string, error) {
	var out struct {
		ID string `json:"activityId"`
	}
	err := c.Do(ctx, http.MethodPost, "/activity-api/v1/activity?timeout="+seconds(timeout), map[string]any{"agreementId": agreement}, &out)
	return out.ID, err
}

// Activities lists the activities of an agreement.
func (c *Client) Activities(ctx context.Context, agreement string) (ids []string, err error) {
	return ids, c.Do(ctx, http.MethodGet, "/activity-api/v1/activity?agreementId="+url.QueryEscape(agreement), nil, &ids)
}

// DestroyActivity ends it.
func (c *Client) DestroyActivity(ctx context.Context, activity string, timeout time.Duration) error {
	return c.Do(ctx, http.MethodDelete, "/activity-api/v1/activity/"+activity+"?timeout="+seconds(timeout), nil, nil)
}

// ActivityState is the present state of an activity.
func (c *Client) ActivityState(ctx context.Context, activity string) (string, error) {
	var s struct {
		State [2]*string `json:"state"`
	}
	err := c.Do(ctx, http.MethodGet, "/activity-api/v1/activity/"+activity+"/state", nil, &s)
	if err != nil || s.State[0] == nil {
		return "", err
	}
	return *s.State[0], nil
}

// Usage returns the counters of an activity.
func (c *Client) Usage(ctx context.Context, activity string) ([]float64, error) {
	var u struct {
		Current []float64 `json:"currentUsage"`
	}
	return u.Current, c.Do(ctx, http.MethodGet, "/activity-api/v1/activity/"+activity+"/usage", nil, &u)
}

// Exec hands a script over.
func (c *Client) Exec(ctx context.Context, activity string, script []any) (batch string, err error) {
	text, err := json.Marshal(script)
	if err != nil {
		return "", err
	}
	return batch, c.Do(ctx, http.MethodPost, "/activity-api/v1/activity/"+activity+"/exec", map[string]any{"text": string(text)}, &batch)
}

// Result is the end of one command.
type Result struct {
	Index    int     `json:"index"`
	Result   string  `json:"result"` // "Ok" or "Error"
	Stdout   Output  `json:"stdout"`
	Stderr   Output  `json:"stderr"`
	Message  *string `json:"message"`
	Finished bool    `json:"isBatchFinished"`
}

// Output is what a command wrote, nil when that was nothing or was not captured.
type Output []byte

// UnmarshalJSON takes text, or the list of numbers that stands for bytes.
func (o *Output) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]byte)(o))
	}
	var s *string
	err := json.Unmarshal(b, &s)
	if *o = nil; s != nil {
		*o = Output(*s)
	}
	return err
}

// Results waits up to timeout for the results of a batch, all from index 0.
func (c *Client) Results(ctx context.Context, activity, batch string, timeout time.Duration) (r []Result, err error) {
	return r, c.Do(ctx, http.MethodGet, "/activity-api/v1/activity/"+activity+"/exec/"+batch+"?timeout="+seconds(timeout), nil, &r)
}

// Document is an invoice or a debit note.
type Document struct {
	InvoiceID   string `json:"invoiceId"`
	DebitNoteID string `json:"debitNoteId"`
	AgreementID string `json:"agreementId"`
	Issuer      string `json:"issuerId"`
	Amount      string `json:"amount"`         // of an invoice
	TotalDue    string `json:"totalAmountDue"` // of a debit note
	Status      string `json:"status"`
	Platform    string `json:"paymentPlatform"`
	// Usage is a debit note's vector of usage counters: numbers.
	Usage json.RawMessage `json:"usageCounterVector"`
}

// Invoice reads an invoice.
func (c *Client) Invoice(ctx context.Context, id string) (d Document, err error) {
	return d, c.Do(ctx, http.MethodGet, "/payment-api/v1/invoices/"+id, nil, &d)
}

// DebitNote reads a debit note.
func (c *Client) DebitNote(ctx context.Context, id string) (d Document, err error) {
	return d, c.Do(ctx, http.MethodGet, "/payment-api/v1/debitNotes/"+id, nil, &d)
}

// Accept accepts an invoice ("invoices") or a debit note ("debitNotes").
func (c *Client) Accept(ctx context.Context, kind, id, amount, allocation string) error {
	return c.Do(ctx, http.MethodPost, "/payment-api/v1/"+kind+"/"+id+"/accept?timeout=5", map[string]any{"totalAmountAccepted": amount, "allocationId": allocation}, nil)
}

// BillEvent says that a document came in or changed.
type BillEvent struct {
	InvoiceID   string `json:"invoiceId"`
	DebitNoteID string `json:"debitNoteId"`
	Type        string `json:"eventType"`
	Date        string `json:"eventDate"`
}

// BillEvents waits up to timeout for events of kind "invoice" or "debitNote"
// after a cursor.
func (c *Client) BillEvents(ctx context.Context, kind, session, after string, timeout time.Duration) (e []BillEvent, err error) {
	q := url.Values{"appSessionId": {session}, "afterTimestamp": {after}, "maxEvents": {"50"}, "timeout": {seconds(timeout)}}
	return e, c.Do(ctx, http.MethodGet, "/payment-api/v1/"+kind+"Events?"+q.Encode(), nil, &e)
}

// Payment is a transfer that settled documents. Details is the transaction
// hash in base64.
type Payment struct {
	ID      string `json:"paymentId"`
	Amount  string `json:"amount"`
	Details []byte `json:"details"`
}

// InvoicePayments lists the payments of an invoice's agreement.
func (c *Client) InvoicePayments(ctx context.Context, id string) (p []Payment, err error) {
	return p, c.Do(ctx, http.MethodGet, "/payment-api/v1/invoices/"+id+"/payments", nil, &p)
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }
