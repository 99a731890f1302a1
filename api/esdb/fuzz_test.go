package esdb

import (
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// FuzzRequests lets strangers ask what they like: they get a query that makes
// sense, or are told that theirs does not.
func FuzzRequests(f *testing.F) {
	for _, m := range []proto.Message{
		&streams.ReadReq_Options{
			StreamOption: &streams.ReadReq_Options_All{All: &streams.ReadReq_Options_AllOptions{AllOption: &streams.ReadReq_Options_AllOptions_Position{
				Position: &streams.ReadReq_Options_Position{CommitPosition: 7, PreparePosition: 7},
			}}},
			CountOption: &streams.ReadReq_Options_Subscription{Subscription: &streams.ReadReq_Options_SubscriptionOptions{}},
			FilterOption: &streams.ReadReq_Options_Filter{Filter: &streams.ReadReq_Options_FilterOptions{
				Filter: &streams.ReadReq_Options_FilterOptions_EventType{EventType: &streams.ReadReq_Options_FilterOptions_Expression{Regex: "^a"}},
				Window: &streams.ReadReq_Options_FilterOptions_Max{Max: 3}, CheckpointIntervalMultiplier: 2,
			}},
			UuidOption: &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_String_{String_: &shared.Empty{}}},
		},
		&streams.ReadReq_Options{
			StreamOption: &streams.ReadReq_Options_Stream{Stream: &streams.ReadReq_Options_StreamOptions{
				StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte("a-1")}, RevisionOption: &streams.ReadReq_Options_StreamOptions_Revision{Revision: 1 << 63},
			}},
			CountOption: &streams.ReadReq_Options_Count{Count: 1 << 63}, ReadDirection: streams.ReadReq_Options_Backwards,
			UuidOption: &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_Structured{Structured: &shared.Empty{}}},
		},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var o streams.ReadReq_Options
		if proto.Unmarshal(b, &o) == nil {
			q, err := parse(&o)
			switch {
			case err != nil && status.Code(err) != codes.InvalidArgument:
				t.Errorf("%v", err)
			case err == nil && (q.all == (q.stream != "") || q.from < 0 || q.live && q.backward || q.live && q.filtered && q.interval == 0):
				t.Errorf("%+v", q)
			}
		}
		var c persistent.CreateReq_Options
		if proto.Unmarshal(b, &c) == nil {
			streamAndStart(&c)
			k := kept{Stream: allStream, Filter: keptFilterOf(c.GetAll().GetFilter()), Settings: settingsOf(c.GetSettings())}
			if _, err := k.filter(); err != nil && status.Code(err) != codes.InvalidArgument {
				t.Errorf("%v", err)
			}
			if n := k.Settings.buffer(); n < 1 || n > largestBuffer {
				t.Errorf("buffer of %d", n)
			}
		}
	})
}
