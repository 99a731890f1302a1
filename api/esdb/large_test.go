package esdb_test

import (
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/api/esdb"
	"github.com/emet-node/emet/domain/es"
)

// An append that is not at its end does not fill the memory.
func TestAnAppendInPiecesHasAnEnd(t *testing.T) {
	t.Parallel()
	conn, err := grpc.NewClient(door(t, esdb.Options{Store: memory.New(), Open: true, Writable: true}), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test
	call, err := streams.NewStreamsClient(conn).BatchAppend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const piece = 4 << 20
	id := &shared.UUID{Value: &shared.UUID_String_{String_: uuid.NewString()}}
	options := &streams.BatchAppendReq_Options{StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte("a-1")}}
	sent := 0
	for ; sent <= es.MaxAppendBytes+8*piece; sent += piece {
		if call.Send(&streams.BatchAppendReq{CorrelationId: id, Options: options, ProposedMessages: []*streams.BatchAppendReq_ProposedMessage{{
			Id: &shared.UUID{Value: &shared.UUID_String_{String_: uuid.NewString()}}, Metadata: map[string]string{"type": "t", "content-type": "application/json"}, Data: make([]byte, piece),
		}}}) != nil {
			break
		}
	}
	if err := call.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := call.Recv(); err == nil || err.Error() == "EOF" {
		t.Errorf("%d bytes of an append are held: %v", sent, err)
	}
}
