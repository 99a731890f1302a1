package esdb

import (
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/es"
)

// What is written by hand says the same as what the general encoder writes.
func TestEventsAreWrittenAsTheProtocolHasThem(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		e := es.Event{
			NewEvent: es.NewEvent{
				ID: es.ID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(r, "id")), Type: rapid.String().Draw(r, "type"), Subject: rapid.SampledFrom([]string{"", "peer/1"}).Draw(r, "subject"),
				Data: rapid.SliceOf(rapid.Byte()).Draw(r, "data"), Meta: rapid.SliceOf(rapid.Byte()).Draw(r, "meta"),
			},
			Stream: es.Stream(rapid.String().Draw(r, "stream")), Revision: es.Revision(rapid.Int64Range(0, 1<<62).Draw(r, "revision")),
			Position: es.Position(rapid.Uint64Range(0, 1<<62).Draw(r, "position")), Recorded: time.UnixMicro(rapid.Int64Range(0, 1<<53).Draw(r, "recorded")),
		}
		w := writer{asText: rapid.Bool().Draw(r, "text")}
		w.message(&e).Free() // leaves something in the buffers
		m := w.message(&e)
		var got streams.ReadResp
		if err := proto.Unmarshal(m.ReadOnlyData(), &got); err != nil {
			r.Fatal(err)
		}
		want := &streams.ReadResp{Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{
			Event: recorded(&e, w.asText), Position: &streams.ReadResp_ReadEvent_CommitPosition{CommitPosition: wirePosition(e.Position)},
		}}}
		if len(e.Data) == 0 {
			want.GetEvent().Event.Data = nil
		}
		if len(e.Meta) == 0 {
			want.GetEvent().Event.CustomMetadata = nil
		}
		if !proto.Equal(&got, want) {
			r.Fatalf("got %v\nwant %v", &got, want)
		}
	})
}
