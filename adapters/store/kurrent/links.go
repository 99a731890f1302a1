package kurrent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"github.com/emet-node/emet/adapters/store/front"
	"github.com/emet-node/emet/domain/es"
)

// links writes a link for every event of some streams into a stream of the same
// name on the server. A link has the revision of its event, so that writing one
// again changes nothing.
type links struct {
	store    *front.Store
	table    *table
	prefixes []string
	log      *slog.Logger
	told     bool
}

const (
	linkType    = "$>"
	seenType    = "emet.links_written.v1"
	seenEvery   = 1024 // events
	linkAgain   = 5 * time.Second
	linkTimeout = 30 * time.Second
)

// seen is how far the links go. It is kept on the server, in a stream of its
// own; without it all links are tried again, and are there.
type seen struct {
	Next es.Position `json:"next"`
}

func (p *links) seenStream() string { return p.table.stream + "-links" }

// run follows the log until ctx ends. A server that cannot be reached is tried
// again later: nothing depends on links.
func (p *links) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := p.follow(ctx); err != nil && ctx.Err() == nil {
			if !p.told {
				p.log.Warn("links for browsing cannot be written to the server", "error", err)
				p.told = true
			}
			select {
			case <-ctx.Done():
			case <-time.After(linkAgain):
			}
		}
	}
}

func (p *links) follow(ctx context.Context) error {
	next, err := p.last(ctx)
	if err != nil {
		return err
	}
	var after *es.Position
	if next > 0 {
		at := next - 1
		after = &at
	}
	sub := p.store.Subscribe(ctx, after, es.Filter{StreamPrefixes: p.prefixes})
	defer sub.Close() //nolint:errcheck // nothing is written
	kept := next
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		switch {
		case m.Event != nil:
			if err := p.link(ctx, m.Event); err != nil {
				return err
			}
			next, p.told = m.Event.Position+1, false
		case m.Checkpoint != nil:
			next = *m.Checkpoint + 1
		}
		if next >= kept+seenEvery || m.CaughtUp && next > kept {
			if err := p.keep(ctx, next); err != nil {
				return err
			}
			kept = next
		}
	}
}

// link writes the link to one event.
func (p *links) link(ctx context.Context, e *es.Event) error {
	o := esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}}
	if e.Revision > 0 {
		o.ExpectedRevision = esdb.Revision(uint64(e.Revision) - 1)
	}
	err := p.append(ctx, string(e.Stream), o, esdb.EventData{
		EventID: uuid.UUID(es.NameID(e.ID, linkType)), EventType: linkType, ContentType: esdb.ContentTypeBinary,
		Data: fmt.Appendf(nil, "%d@%s", e.Position, p.table.stream),
	})
	if conflict(err) {
		return nil // it is there, or somebody else uses that stream
	}
	return err
}

func (p *links) append(ctx context.Context, stream string, o esdb.AppendToStreamOptions, e esdb.EventData) error {
	ctx, cancel := context.WithTimeout(ctx, linkTimeout)
	defer cancel()
	return p.table.conn.do(ctx, func(ctx context.Context, c *esdb.Client) error {
		_, err := c.AppendToStream(ctx, stream, o, e)
		return err
	})
}

func (p *links) keep(ctx context.Context, next es.Position) error {
	b, err := json.Marshal(seen{next})
	if err != nil {
		return err
	}
	return p.append(ctx, p.seenStream(), esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, esdb.EventData{
		EventID: uuid.New(), EventType: seenType, ContentType: esdb.ContentTypeJson, Data: b,
	})
}

// last reads how far the links go.
func (p *links) last(ctx context.Context) (next es.Position, err error) {
	ctx, cancel := context.WithTimeout(ctx, linkTimeout)
	defer cancel()
	err = p.table.conn.do(ctx, func(ctx context.Context, c *esdb.Client) error {
		in, err := c.ReadStream(ctx, p.seenStream(), esdb.ReadStreamOptions{From: esdb.End{}, Direction: esdb.Backwards}, 1)
		if err != nil {
			return err
		}
		defer in.Close()
		e, err := in.Recv()
		if errors.Is(err, io.EOF) || notFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		var s seen
		if json.Unmarshal(e.OriginalEvent().Data, &s) == nil {
			next = s.Next
		}
		return nil
	})
	head, herr := p.store.Head(ctx)
	return min(next, head), errors.Join(err, herr)
}
