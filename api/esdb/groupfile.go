package esdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"

	"github.com/emet-node/emet/domain/es"
)

// kept is what a group is after a restart.
type kept struct {
	Stream    string        `json:"stream"` // "$all" = the log
	Group     string        `json:"group"`
	From      es.Revision   `json:"from,omitzero"` // first revision of the stream
	StartFrom string        `json:"startFrom"`     // as the client said it
	Filter    *keptFilter   `json:"filter,omitzero"`
	Next      es.Position   `json:"next"` // everything before is settled
	Parked    []es.Position `json:"parked,omitzero"`
	Settings  settings      `json:"settings"`
}

type keptFilter struct {
	OnType bool     `json:"onType"`
	Prefix []string `json:"prefix,omitzero"`
	Regex  string   `json:"regex,omitzero"`
}

// GetPrefix and GetRegex make it an [expression].
func (f *keptFilter) GetPrefix() []string { return f.Prefix }

// GetRegex implements [expression].
func (f *keptFilter) GetRegex() string { return f.Regex }

// settings of a group, in the units of the protocol.
type settings struct {
	ResolveLinks    bool   `json:"resolveLinks,omitzero"`
	ExtraStatistics bool   `json:"extraStatistics,omitzero"`
	MaxRetries      int32  `json:"maxRetries"`
	MinCheckpoint   int32  `json:"minCheckpoint"`
	MaxCheckpoint   int32  `json:"maxCheckpoint"`
	MaxSubscribers  int32  `json:"maxSubscribers"` // 0 = any number
	LiveBuffer      int32  `json:"liveBuffer"`
	ReadBatch       int32  `json:"readBatch"`
	HistoryBuffer   int32  `json:"historyBuffer"`
	TimeoutMS       int32  `json:"timeoutMs"` // 0 = for ever
	CheckpointMS    int32  `json:"checkpointMs"`
	Strategy        string `json:"strategy"`
}

func (s settings) timeout() time.Duration { return time.Duration(s.TimeoutMS) * time.Millisecond }

func (s settings) buffer() int {
	if s.LiveBuffer <= 0 {
		return defaultBuffer
	}
	return min(int(s.LiveBuffer), largestBuffer)
}

// wireSettings are what creating and updating have in common.
type wireSettings interface {
	GetResolveLinks() bool
	GetExtraStatistics() bool
	GetMaxRetryCount() int32
	GetMinCheckpointCount() int32
	GetMaxCheckpointCount() int32
	GetMaxSubscriberCount() int32
	GetLiveBufferSize() int32
	GetReadBatchSize() int32
	GetHistoryBufferSize() int32
	GetMessageTimeoutMs() int32
	GetMessageTimeoutTicks() int64
	GetCheckpointAfterMs() int32
	GetCheckpointAfterTicks() int64
}

func settingsOf(w wireSettings) settings {
	ms := func(ms int32, ticks int64) int32 {
		if ticks > 0 {
			return int32(ticks * int64(tick) / int64(time.Millisecond))
		}
		return ms
	}
	return settings{
		ResolveLinks: w.GetResolveLinks(), ExtraStatistics: w.GetExtraStatistics(), MaxRetries: w.GetMaxRetryCount(),
		MinCheckpoint: w.GetMinCheckpointCount(), MaxCheckpoint: w.GetMaxCheckpointCount(), MaxSubscribers: w.GetMaxSubscriberCount(),
		LiveBuffer: w.GetLiveBufferSize(), ReadBatch: w.GetReadBatchSize(), HistoryBuffer: w.GetHistoryBufferSize(),
		TimeoutMS: ms(w.GetMessageTimeoutMs(), w.GetMessageTimeoutTicks()), CheckpointMS: ms(w.GetCheckpointAfterMs(), w.GetCheckpointAfterTicks()),
	}
}

func keptFilterOf(f *persistent.CreateReq_AllOptions_FilterOptions) *keptFilter {
	switch {
	case f.GetEventType() != nil:
		return &keptFilter{OnType: true, Prefix: f.GetEventType().GetPrefix(), Regex: f.GetEventType().GetRegex()}
	case f.GetStreamIdentifier() != nil:
		return &keptFilter{Prefix: f.GetStreamIdentifier().GetPrefix(), Regex: f.GetStreamIdentifier().GetRegex()}
	}
	return nil
}

func (k *kept) filter() (es.Filter, error) {
	switch {
	case k.Stream != allStream:
		return es.Filter{Streams: []es.Stream{es.Stream(k.Stream)}}, nil
	case k.Filter == nil:
		return es.Filter{}, nil
	case k.Filter.OnType:
		return filterOf(nil, k.Filter)
	}
	return filterOf(k.Filter, nil)
}

type groupsFile struct {
	Format int    `json:"format"`
	Groups []kept `json:"groups"`
}

func loadGroups(path string) ([]kept, error) {
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var f groupsFile
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	if err == nil && f.Format != 1 {
		err = fmt.Errorf("format %d, want 1", f.Format)
	}
	if err != nil {
		return nil, fmt.Errorf("persistent subscriptions in %s: %w; remove the file to begin anew", path, err)
	}
	return f.Groups, nil
}

// save writes what the groups are now. It is whole or not there at all.
func (s *groups) save() error {
	if s.file == "" {
		return nil
	}
	s.saving.Lock()
	defer s.saving.Unlock()
	f := groupsFile{Format: 1, Groups: []kept{}}
	for _, g := range s.list("") {
		g.mu.Lock()
		k := g.kept
		k.Parked = append([]es.Position(nil), k.Parked...)
		g.mu.Unlock()
		f.Groups = append(f.Groups, k)
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err == nil {
		err = replaceFile(s.file, append(b, '\n'))
	}
	if err != nil {
		s.log.Error("gRPC door: persistent subscriptions cannot be kept", "error", err)
	}
	return err
}

func replaceFile(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	t, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(t.Name()) //nolint:errcheck // gone after the rename
	_, err = t.Write(b)
	if err = errors.Join(err, t.Sync(), t.Close()); err != nil {
		return err
	}
	return os.Rename(t.Name(), path)
}

// info says how a group stands.
func (g *group) info(ctx context.Context) (*persistent.SubscriptionInfo, error) {
	g.mu.Lock()
	s, next, readers := g.Settings, g.Next, len(g.readers)
	out := &persistent.SubscriptionInfo{
		EventSource: g.Stream, GroupName: g.Group, Status: "Live", TotalItems: g.total, StartFrom: g.StartFrom,
		ResolveLinkTos: s.ResolveLinks, ExtraStatistics: s.ExtraStatistics, MessageTimeoutMilliseconds: s.TimeoutMS, MaxRetryCount: s.MaxRetries,
		LiveBufferSize: s.LiveBuffer, BufferSize: s.HistoryBuffer, ReadBatchSize: s.ReadBatch, CheckPointAfterMilliseconds: s.CheckpointMS,
		MinCheckPointCount: s.MinCheckpoint, MaxCheckPointCount: s.MaxCheckpoint, MaxSubscriberCount: s.MaxSubscribers, NamedConsumerStrategy: s.Strategy,
		LiveBufferCount: int64(len(g.waiting)), TotalInFlightMessages: int32(len(g.given)), OutstandingMessagesCount: int32(len(g.given)),
		ParkedMessageCount: int64(len(g.Parked)),
	}
	for _, r := range g.readers {
		out.Connections = append(out.Connections, &persistent.SubscriptionInfo_ConnectionInfo{
			AvailableSlots: int32(r.slots), InFlightMessages: int32(cap(r.out) - r.slots),
		})
	}
	g.mu.Unlock()
	if readers == 0 {
		out.Status = "NotReady"
	}
	return out, g.places(ctx, out, next)
}

// places fills in the last settled event and the last one there is.
func (g *group) places(ctx context.Context, out *persistent.SubscriptionInfo, next es.Position) error {
	if g.Stream == allStream {
		head, err := g.all.store.Head(ctx)
		if next > 0 {
			out.LastCheckpointedEventPosition = allPosition(wirePosition(next - 1))
		}
		if head > 0 {
			out.LastKnownEventPosition = allPosition(wirePosition(head - 1))
		}
		return err
	}
	for e, err := range g.all.store.ReadStream(ctx, es.Stream(g.Stream), -1, es.Backward, 0) {
		if err != nil {
			return err
		}
		if out.LastKnownEventPosition == "" {
			out.LastKnownEventPosition = formatRevision(e.Revision)
		}
		if e.Position < next {
			out.LastCheckpointedEventPosition = formatRevision(e.Revision)
			break
		}
	}
	return nil
}
