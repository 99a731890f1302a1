package control

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Webhooks is what the operator may do with those that are told the news.
type Webhooks interface {
	Webhooks(ctx context.Context) ([]Webhook, error)
	// AddWebhook returns the webhook with its secret, which is shown this once.
	AddWebhook(ctx context.Context, n NewWebhook) (Webhook, error)
	// RemoveWebhook fails with [ErrNotFound], as all that take an id do.
	RemoveWebhook(ctx context.Context, id string) error
	// TestWebhook sends a test once. It fails with [ErrRefused] when the
	// receiver did not take it.
	TestWebhook(ctx context.Context, id string) error
	// Poison lists what was set aside; id "" means of all webhooks.
	Poison(ctx context.Context, id string) ([]Poison, error)
	// RetryPoison tells a webhook again what was set aside; no positions means
	// all of it. What it takes is not set aside any more.
	RetryPoison(ctx context.Context, id string, positions []uint64) ([]Retried, error)
	// DropPoison forgets what was set aside, likewise.
	DropPoison(ctx context.Context, id string, positions []uint64) ([]Poison, error)
}

// Webhook is somebody who is told the news, and how far.
type Webhook struct {
	ID         string    `json:"id"`
	URL        string    `json:"url"`
	Types      []string  `json:"types"`      // empty = all
	Streams    []string  `json:"streams"`    // empty = all, like Categories
	Categories []string  `json:"categories"` //
	Identity   string    `json:"identity,omitzero"`
	Created    time.Time `json:"created"`
	Secret     string    `json:"secret,omitzero"` // only when it was just made
	Next       uint64    `json:"next"`            // the first position that it was not told
	Behind     uint64    `json:"behind"`          // facts from there to the end of the log, wanted or not
	Delivered  int64     `json:"delivered"`
	Last       time.Time `json:"last,omitzero"` // when it last took something
	Failures   int       `json:"failures"`      // attempts in a row that failed
	Error      string    `json:"error,omitzero"`
	Failed     time.Time `json:"failed,omitzero"`
	Again      time.Time `json:"again,omitzero"` // the next attempt at what failed
	Poison     int       `json:"poison"`         // facts that were set aside
}

// NewWebhook asks for a webhook. Patterns are exact, or beginnings when they
// end in *; a type without a version is a beginning.
type NewWebhook struct {
	URL        string   `json:"url"`
	Types      []string `json:"types,omitzero"`
	Streams    []string `json:"streams,omitzero"`
	Categories []string `json:"categories,omitzero"`
	Identity   string   `json:"identity,omitzero"` // id or alias, "" = of all identities
	From       *uint64  `json:"from,omitzero"`     // the first position to tell, nil = what is to come
}

// Poison is a fact that was set aside, since a webhook did not take it.
type Poison struct {
	Webhook  string    `json:"webhook"`
	Position uint64    `json:"position"`
	Event    string    `json:"event"` // id
	Type     string    `json:"type"`
	Stream   string    `json:"stream"`
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`
}

// Retried is what came of telling a fact again.
type Retried struct {
	Poison
	Taken bool `json:"taken"`
}

// chosen names facts that were set aside; none means all.
type chosen struct {
	Positions []uint64 `json:"positions"`
}

func webhookRoutes(m *http.ServeMux, d Webhooks) {
	id := func(r *http.Request) string { return r.PathValue("id") }
	m.Handle("GET /v1/webhooks", get(d.Webhooks))
	m.Handle("POST /v1/webhooks", with(d.AddWebhook))
	m.Handle("DELETE /v1/webhook/{id}", answer(func(r *http.Request) (any, error) { return nil, d.RemoveWebhook(r.Context(), id(r)) }))
	m.Handle("POST /v1/webhook/{id}/test", answer(func(r *http.Request) (any, error) { return nil, d.TestWebhook(r.Context(), id(r)) }))
	m.Handle("GET /v1/webhook-poison", answer(func(r *http.Request) (any, error) { return d.Poison(r.Context(), ref(r)) }))
	m.Handle("POST /v1/webhook/{id}/poison/retry", answer(func(r *http.Request) (any, error) {
		var c chosen
		if err := body(r, &c); err != nil {
			return nil, err
		}
		return d.RetryPoison(r.Context(), id(r), c.Positions)
	}))
	m.Handle("POST /v1/webhook/{id}/poison/drop", answer(func(r *http.Request) (any, error) {
		var c chosen
		if err := body(r, &c); err != nil {
			return nil, err
		}
		return d.DropPoison(r.Context(), id(r), c.Positions)
	}))
}

// Positions reads positions as people write them.
func Positions(args []string) ([]uint64, error) {
	out := make([]uint64, len(args))
	for i, a := range args {
		var err error
		if out[i], err = strconv.ParseUint(a, 10, 63); err != nil {
			return nil, &remote{strconv.Quote(a) + " is no position; want a whole number from 0 up", ErrBad}
		}
	}
	return out, nil
}

// Webhooks implements Webhooks.
func (c *Client) Webhooks(ctx context.Context) ([]Webhook, error) {
	return call[[]Webhook](ctx, c, "GET", "/v1/webhooks", nil, nil)
}

// AddWebhook implements Webhooks.
func (c *Client) AddWebhook(ctx context.Context, n NewWebhook) (Webhook, error) {
	return call[Webhook](ctx, c, "POST", "/v1/webhooks", nil, n)
}

// RemoveWebhook implements Webhooks.
func (c *Client) RemoveWebhook(ctx context.Context, id string) error {
	_, err := call[any](ctx, c, "DELETE", webhook(id), nil, nil)
	return err
}

// TestWebhook implements Webhooks.
func (c *Client) TestWebhook(ctx context.Context, id string) error {
	_, err := call[any](ctx, c, "POST", webhook(id)+"/test", nil, nil)
	return err
}

// Poison implements Webhooks.
func (c *Client) Poison(ctx context.Context, id string) ([]Poison, error) {
	return call[[]Poison](ctx, c, "GET", "/v1/webhook-poison", who(id), nil)
}

// RetryPoison implements Webhooks.
func (c *Client) RetryPoison(ctx context.Context, id string, positions []uint64) ([]Retried, error) {
	return call[[]Retried](ctx, c, "POST", webhook(id)+"/poison/retry", nil, chosen{positions})
}

// DropPoison implements Webhooks.
func (c *Client) DropPoison(ctx context.Context, id string, positions []uint64) ([]Poison, error) {
	return call[[]Poison](ctx, c, "POST", webhook(id)+"/poison/drop", nil, chosen{positions})
}

func webhook(id string) string { return "/v1/webhook/" + url.PathEscape(id) }
