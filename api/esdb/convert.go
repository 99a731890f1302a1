package esdb

import (
	"encoding/binary"
	"math"
	"regexp"
	"strconv"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/emet-node/emet/domain/es"
)

const (
	contentJSON  = "application/json"
	contentBytes = "application/octet-stream"

	keyType    = "type"
	keyContent = "content-type"
	keyCreated = "created"

	tick = 100 * time.Nanosecond
)

// wirePosition is a position as clients see it: commit and prepare alike.
func wirePosition(p es.Position) uint64 { return uint64(p) + 1 }

// ticks counts from the Unix epoch.
func ticks(t time.Time) int64 { return t.UnixNano() / int64(tick) }

func uuidOf(id es.ID, asText bool) *shared.UUID {
	if asText {
		return &shared.UUID{Value: &shared.UUID_String_{String_: id.String()}}
	}
	return &shared.UUID{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{
		MostSignificantBits: int64(binary.BigEndian.Uint64(id[:8])), LeastSignificantBits: int64(binary.BigEndian.Uint64(id[8:])),
	}}}
}

func parseUUID(u *shared.UUID) (es.ID, error) {
	if s := u.GetStructured(); s != nil {
		var id es.ID
		binary.BigEndian.PutUint64(id[:8], uint64(s.MostSignificantBits))
		binary.BigEndian.PutUint64(id[8:], uint64(s.LeastSignificantBits))
		return id, nil
	}
	id, err := uuid.Parse(u.GetString_())
	if err != nil {
		return es.ID{}, status.Errorf(codes.InvalidArgument, "event id %q is no UUID", u.GetString_())
	}
	return es.ID(id), nil
}

func contentType(e *es.Event) string {
	if e.Subject != "" {
		return contentBytes
	}
	return contentJSON
}

func systemMetadata(e *es.Event) map[string]string {
	return map[string]string{keyType: e.Type, keyContent: contentType(e), keyCreated: strconv.FormatInt(ticks(e.Recorded), 10)}
}

// recorded is an event in the form of the service Streams.
func recorded(e *es.Event, asText bool) *streams.ReadResp_ReadEvent_RecordedEvent {
	return &streams.ReadResp_ReadEvent_RecordedEvent{
		Id: uuidOf(e.ID, asText), StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(e.Stream)}, StreamRevision: uint64(e.Revision),
		PreparePosition: wirePosition(e.Position), CommitPosition: wirePosition(e.Position),
		Metadata: systemMetadata(e), CustomMetadata: e.Meta, Data: e.Data,
	}
}

// revision takes a wire revision; those beyond ours are beyond every stream.
func revision(r uint64) es.Revision { return es.Revision(min(r, math.MaxInt64-1)) }

// filterOf makes a filter of one on the names of streams or types.
func filterOf(onStream, onType expression) (es.Filter, error) {
	var f es.Filter
	for _, x := range []struct {
		on       expression
		prefixes *[]string
		pattern  **regexp.Regexp
	}{{onStream, &f.StreamPrefixes, &f.StreamPattern}, {onType, &f.TypePrefixes, &f.TypePattern}} {
		if x.on == nil {
			continue
		}
		*x.prefixes = x.on.GetPrefix()
		text := x.on.GetRegex()
		if text == "" {
			if len(*x.prefixes) == 0 {
				return f, status.Error(codes.InvalidArgument, "a filter needs prefixes or a regular expression")
			}
			continue
		}
		re, err := regexp.Compile(text)
		if err != nil {
			return f, status.Errorf(codes.InvalidArgument, "filter: %v (regular expressions are RE2 here, without lookaround)", err)
		}
		*x.pattern = re
	}
	return f, nil
}

// expression is what filters of all services have in common.
type expression interface {
	GetRegex() string
	GetPrefix() []string
}
