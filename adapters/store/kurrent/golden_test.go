package kurrent

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/emet-node/emet/adapters/store/front"
	"github.com/emet-node/emet/adapters/store/leaf"
	"github.com/emet-node/emet/domain/es"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// What is on servers stays readable.
func TestTheServersFormOfAnEvent(t *testing.T) {
	t.Parallel()
	salts, _ := leaf.ParseSalts(bytes.Repeat([]byte{7}, 32))
	row := front.Row{Salts: salts, Event: es.Event{
		NewEvent: es.NewEvent{
			ID: es.EventID("agreement-R-1", "k", 0), Type: "agreement.approved.v1", Data: []byte(`{"id":"1"}`),
			Meta: []byte(`{"$causationId":"6f9619ff-8b86-d011-b42d-00c04fc964ff","$correlationId":"1","key":"k"}`),
		},
		Stream: "agreement-R-1", Revision: 3, Position: 17, Recorded: time.UnixMicro(1_700_000_000_123_456).UTC(), PrevInStream: es.Hash{1, 2, 3},
	}}
	sealed := row
	sealed.Data, sealed.Subject, sealed.Meta = []byte{1, 2, 0xff}, "peer/0x1", nil
	for name, r := range map[string]front.Row{"open": row, "sealed": sealed} {
		r.Leaf = leaf.Hash(leaf.Header(&r.Event, r.Salts))
		out, err := encode(&r, "0011223344556677")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name+".golden.json")
		if *update {
			if err := os.WriteFile(path, out.Metadata, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(out.Metadata, want) {
			t.Errorf("%s: metadata\n%s, want\n%s (%v)", name, out.Metadata, want, err)
		}
		back, writer, err := decode(&esdb.RecordedEvent{EventID: out.EventID, EventType: out.EventType, EventNumber: 17, Data: out.Data, UserMetadata: want})
		if err != nil || writer != "0011223344556677" || back.Leaf != r.Leaf || back.Stream != r.Stream || !bytes.Equal(back.Meta, r.Meta) {
			t.Errorf("%s: read back %+v, %v", name, back, err)
		}
	}
}
