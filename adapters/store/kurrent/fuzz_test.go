package kurrent

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"github.com/emet-node/emet/adapters/store/front"
	"github.com/emet-node/emet/adapters/store/leaf"
	"github.com/emet-node/emet/domain/es"
)

// A server may hold what others wrote. What is read of it is what encode would
// write of that, or an error that says that the log is damaged.
func FuzzDecode(f *testing.F) {
	salts, _ := leaf.ParseSalts(bytes.Repeat([]byte{7}, 32))
	for _, meta := range []string{`{"key":"k"}`, "", "{}", "sealed"} {
		data, err := encode(&front.Row{Salts: salts, Event: es.Event{
			NewEvent: es.NewEvent{ID: es.EventID("agreement-R-1", "k", 0), Type: "agreement.approved.v1", Data: []byte(`{"id":"1"}`), Meta: []byte(meta)},
			Stream:   "agreement-R-1", Revision: 3, Recorded: time.UnixMicro(17).UTC(), PrevInStream: es.Hash{1},
		}}, "w")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data.Metadata, data.Data, data.EventType)
	}
	f.Fuzz(func(t *testing.T, meta, data []byte, typ string) {
		e := &esdb.RecordedEvent{EventID: uuid.UUID{1}, EventType: typ, EventNumber: 9, StreamID: "emet-log", Data: data, UserMetadata: meta}
		r, writer, err := decode(e)
		if err != nil {
			if !errors.Is(err, es.ErrCorrupt) {
				t.Fatalf("%v does not say that the log is damaged", err)
			}
			return
		}
		again, err := encode(&r, writer)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		e.UserMetadata = again.Metadata
		same, _, err := decode(e)
		if err != nil || same.Leaf != r.Leaf || !bytes.Equal(same.Meta, r.Meta) {
			t.Fatalf("%q is read as %+v, written as %q and then read as %+v, %v", meta, r, again.Metadata, same, err)
		}
	})
}
