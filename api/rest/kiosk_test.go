package rest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/emet-node/emet/api/gsb"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/eventschemas"
	"github.com/emet-node/emet/projections/news"
)

// kiosk serves news of a log that tests write themselves.
type kiosk struct {
	t   testing.TB
	log *es.Log
	url string
	seq int
}

func newKiosk(t testing.TB, store es.Store, cfg Config, keys Keys) *kiosk {
	t.Helper()
	k := &kiosk{t: t, log: &es.Log{Store: store, Codec: eventschemas.New()}}
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = HTTPServer(New(cfg, Deps{Keys: keys, Log: k.log, Files: gsb.New(nil), Net: testNet{}}))
	srv.Start()
	t.Cleanup(srv.Close)
	k.url = srv.URL
	return k
}

// narrow is a client for which the kernel holds little that was not read.
var narrow = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	if tcp, ok := c.(*net.TCPConn); ok {
		err = tcp.SetReadBuffer(64 << 10)
	}
	return c, err
}}}

// write appends one event.
func (k *kiosk) write(stream es.Stream, typ string, who identity.NodeID, subject, data string) es.Event {
	k.t.Helper()
	k.seq++
	meta, err := es.Meta{Key: "k", Identity: string(who), Actor: es.ActorREST}.MarshalJSON()
	if err != nil {
		k.t.Fatal(err)
	}
	e := es.NewEvent{ID: es.EventID(stream, strconv.Itoa(k.seq), 0), Type: typ, Data: []byte(data), Meta: meta, Subject: subject}
	r, err := k.log.Store.Append(context.Background(), nil, es.Write{Stream: stream, Expected: es.Any, Events: []es.NewEvent{e}})
	if err != nil {
		k.t.Fatal(err)
	}
	return es.Event{NewEvent: e, Stream: stream, Position: r.First}
}

// line is one record of a stream as a browser would take it.
type line struct{ event, data, id string }

// listener reads a feed. id is the last one that was complete, as a browser
// remembers it.
type listener struct {
	body io.ReadCloser
	r    *bufio.Reader
	id   string
}

func (k *kiosk) listen(ctx context.Context, key, query, last string) (*listener, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url+"/emet-api/v1/events?"+query, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := narrow.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		return nil, fmt.Errorf("%d %s", res.StatusCode, b)
	}
	return &listener{body: res.Body, r: bufio.NewReader(res.Body), id: last}, nil
}

// next is the next record with data. Others only move the id.
func (l *listener) next() (line, error) {
	for {
		got, err := l.record()
		if err != nil || got.data != "" {
			return got, err
		}
	}
}

// record is the next record that says something.
func (l *listener) record() (line, error) {
	var got line
	for {
		s, err := l.r.ReadString('\n')
		if err != nil {
			return line{}, err // what was not finished counts for nothing
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(s, "\n"), ": ")
		switch name {
		case "event":
			got.event = value
		case "data":
			got.data = value
		case "id":
			got.id = value
		case "":
			if got.id != "" {
				l.id = got.id
			}
			if got != (line{}) {
				return got, nil
			}
		}
	}
}

func (k *kiosk) mustListen(key, query, last string) *listener {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	l, err := k.listen(ctx, key, query, last)
	if err != nil {
		cancel()
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { cancel(); l.body.Close() })
	return l
}

func (k *kiosk) item(l *listener) news.Item {
	k.t.Helper()
	got, err := l.next()
	if err != nil {
		k.t.Fatal(err)
	}
	var i news.Item
	position, _, _ := strings.Cut(got.id, "@")
	if err := json.Unmarshal([]byte(got.data), &i); err != nil || got.event != "" || position != strconv.FormatUint(i.Position, 10) {
		k.t.Fatalf("record %+v: %v", got, err)
	}
	return i
}
