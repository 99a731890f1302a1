package esdb_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/emet-node/emet/api/esdb"
)

// A connection stays when a call on it was admitted. One that says nothing, or only
// asks what anybody may ask, is closed.
func TestConnectionsWithoutACallAreClosed(t *testing.T) {
	t.Parallel()
	const within = 2 * time.Second
	addr := door(t, esdb.Options{Store: history(t), FirstCall: within})

	silent, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	_ = silent.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, silent); err != nil {
		t.Errorf("a silent connection: %v", err)
	}

	conn := func() *grpc.ClientConn {
		c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	asks, reads := conn(), conn()
	if _, err := serverfeatures.NewServerFeaturesClient(asks).GetSupportedMethods(t.Context(), &shared.Empty{}); err != nil {
		t.Fatal(err)
	}
	call, err := streams.NewStreamsClient(reads).Read(t.Context(), &streams.ReadReq{Options: &streams.ReadReq_Options{
		StreamOption: &streams.ReadReq_Options_All{All: &streams.ReadReq_Options_AllOptions{}}, CountOption: &streams.ReadReq_Options_Count{Count: 1},
		UuidOption: &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_String_{String_: &shared.Empty{}}},
	}})
	if err == nil {
		_, err = call.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	late, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if !asks.WaitForStateChange(late, connectivity.Ready) {
		t.Error("a connection without a call stays")
	}
	later, cancel := context.WithTimeout(t.Context(), 2*within)
	defer cancel()
	if reads.GetState() != connectivity.Ready || reads.WaitForStateChange(later, connectivity.Ready) {
		t.Errorf("a connection with a call is %s", reads.GetState())
	}
}
