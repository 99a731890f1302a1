package kurrent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"github.com/emet-node/emet/adapters/store/front"
	"github.com/emet-node/emet/adapters/store/leaf"
	"github.com/emet-node/emet/domain/es"
)

// envelope is what the server has no field for. It is the first key of the
// metadata.
type envelope struct {
	Meta     []byte      `json:"meta,omitempty"` // the event's own, where that is no JSON object
	Previous []byte      `json:"previous,omitempty"`
	Recorded int64       `json:"recorded"` // microseconds since the Unix epoch
	Revision es.Revision `json:"revision"`
	Salts    []byte      `json:"salts"`
	Stream   es.Stream   `json:"stream"`
	Subject  string      `json:"subject,omitempty"`
	Writer   string      `json:"writer"`            // which run of a node wrote it
	Without  bool        `json:"without,omitempty"` // the event has no metadata
}

const opening = `{"$emet":`

var errMetadata = errors.New("the metadata is not as emet writes it")

// encode makes the server's form of a row.
func encode(r *front.Row, writer string) (esdb.EventData, error) {
	v := envelope{
		Recorded: r.Recorded.UnixMicro(), Revision: r.Revision, Salts: r.Salts.Bytes(), Stream: r.Stream, Subject: r.Subject, Writer: writer,
	}
	if r.PrevInStream != (es.Hash{}) {
		v.Previous = r.PrevInStream[:]
	}
	var own []byte // what follows the envelope
	switch {
	case len(r.Meta) == 0:
		v.Without = true
	case string(r.Meta) == "{}":
	case r.Meta[0] == '{' && r.Meta[len(r.Meta)-1] == '}' && len(bytes.TrimSpace(r.Meta[1:len(r.Meta)-1])) > 0 && json.Valid(r.Meta):
		own = r.Meta[1 : len(r.Meta)-1]
	default:
		v.Meta = r.Meta
	}
	head, err := json.Marshal(v)
	if err != nil {
		return esdb.EventData{}, err
	}
	b := append([]byte(opening), head...)
	if own != nil {
		b = append(append(b, ','), own...)
	}
	out := esdb.EventData{
		EventID: uuid.UUID(r.ID), EventType: r.Type, ContentType: esdb.ContentTypeBinary, Data: r.Data, Metadata: append(b, '}'),
	}
	if r.Subject == "" && json.Valid(r.Data) {
		out.ContentType = esdb.ContentTypeJson
	}
	return out, nil
}

// decode reads what encode made.
func decode(e *esdb.RecordedEvent) (r front.Row, writer string, err error) {
	bad := func(err error) (front.Row, string, error) {
		return r, "", fmt.Errorf("%w: event %d of %s: %w: %w", es.ErrCorrupt, e.EventNumber, e.StreamID, errMetadata, err)
	}
	rest, ok := bytes.CutPrefix(e.UserMetadata, []byte(opening))
	if !ok {
		return bad(errors.New("it does not begin with $emet"))
	}
	var v envelope
	d := json.NewDecoder(bytes.NewReader(rest))
	if err := d.Decode(&v); err != nil {
		return bad(err)
	}
	salts, ok := leaf.ParseSalts(v.Salts)
	if !ok || len(v.Previous) != 0 && len(v.Previous) != len(r.PrevInStream) {
		return bad(errors.New("salts or the leaf before have another length"))
	}
	rest = rest[d.InputOffset():]
	switch {
	case len(rest) == 0 || rest[len(rest)-1] != '}':
		return bad(errors.New("it does not end"))
	case v.Meta != nil:
		r.Meta = v.Meta
	case v.Without:
	case rest[0] == ',':
		r.Meta = append([]byte{'{'}, rest[1:]...)
	default:
		r.Meta = []byte("{}")
	}
	r.ID, r.Type, r.Data, r.Subject = es.ID(e.EventID), e.EventType, e.Data, v.Subject
	r.Stream, r.Revision, r.Position, r.Recorded, r.Salts = v.Stream, v.Revision, es.Position(e.EventNumber), time.UnixMicro(v.Recorded).UTC(), salts
	copy(r.PrevInStream[:], v.Previous)
	r.Leaf = leaf.Hash(leaf.Header(&r.Event, r.Salts))
	return r, v.Writer, nil
}
