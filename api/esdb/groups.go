package esdb

import (
	"context"
	"log/slog"
	"math"
	"sort"
	"sync"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/emet-node/emet/domain/es"
)

// groups implements the service PersistentSubscriptions. What the groups have
// seen is kept beside the log, in a file of the door: reading a log must not
// make it longer.
type groups struct {
	persistent.UnimplementedPersistentSubscriptionsServer
	store es.Store
	log   *slog.Logger
	file  string // "" = kept in memory

	mu     sync.Mutex
	byName map[groupName]*group
	saving sync.Mutex
}

type groupName struct{ Stream, Group string }

const (
	allStream = "$all"
	maxGroups = 256
)

func openGroups(file string, store es.Store, log *slog.Logger) (*groups, error) {
	s := &groups{store: store, log: log, file: file, byName: map[groupName]*group{}}
	kept, err := loadGroups(file)
	if err != nil {
		return nil, err
	}
	for _, k := range kept {
		g, err := newGroup(s, k)
		if err != nil {
			return nil, err
		}
		s.byName[g.name()] = g
	}
	return s, nil
}

// close ends all deliveries and keeps what was acknowledged.
func (s *groups) close() {
	for _, g := range s.list("") {
		g.drop(status.Error(codes.Unavailable, "the node stops"))
	}
	_ = s.save() // it tells the log itself
}

func (s *groups) list(stream string) []*group {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*group
	for n, g := range s.byName {
		if stream == "" || n.Stream == stream {
			out = append(out, g)
		}
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := out[i].name(), out[j].name()
		return a.Stream < b.Stream || a.Stream == b.Stream && a.Group < b.Group
	})
	return out
}

// streamOption is how requests name a stream or the whole log.
type streamOption interface {
	GetStreamIdentifier() *shared.StreamIdentifier
	GetAll() *shared.Empty
	GetGroupName() string
}

func nameOf(o streamOption) groupName {
	if o.GetAll() != nil {
		return groupName{allStream, o.GetGroupName()}
	}
	return groupName{string(o.GetStreamIdentifier().GetStreamName()), o.GetGroupName()}
}

func (s *groups) find(ctx context.Context, n groupName) (*group, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g, ok := s.byName[n]; ok {
		return g, nil
	}
	return nil, s.fail(ctx, codes.NotFound, "persistent-subscription-does-not-exist", n, "does not exist")
}

// fail says what is the matter with a group, in the trailers that clients read.
func (s *groups) fail(ctx context.Context, c codes.Code, exception string, n groupName, what string) error {
	_ = trailer(ctx, metadata.Pairs("exception", exception, "stream-name", n.Stream, "group-name", n.Group))
	return status.Errorf(c, "Subscription group %s on stream %s %s.", n.Group, n.Stream, what)
}

// Create implements the service.
func (s *groups) Create(ctx context.Context, req *persistent.CreateReq) (*persistent.CreateResp, error) {
	k, err := s.created(ctx, req.GetOptions())
	if err != nil {
		return nil, err
	}
	g, err := newGroup(s, k)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	_, exists := s.byName[g.name()]
	full := len(s.byName) >= maxGroups
	if !exists && !full {
		s.byName[g.name()] = g
	}
	s.mu.Unlock()
	switch {
	case exists:
		return nil, s.fail(ctx, codes.AlreadyExists, "persistent-subscription-exists", g.name(), "exists")
	case full:
		return nil, status.Errorf(codes.ResourceExhausted, "there are %d groups already", maxGroups)
	}
	return &persistent.CreateResp{}, s.save()
}

func (s *groups) created(ctx context.Context, o *persistent.CreateReq_Options) (kept, error) {
	k := kept{Group: o.GetGroupName(), Settings: settingsOf(o.GetSettings())}
	if name := o.GetSettings().GetConsumerStrategy(); name != "" {
		k.Settings.Strategy = name
	} else {
		k.Settings.Strategy = o.GetSettings().GetNamedConsumerStrategy().String() //nolint:staticcheck // the pinned Go client sends this one
	}
	var err error
	if all := o.GetAll(); all != nil {
		k.Stream = allStream
		k.Filter = keptFilterOf(all.GetFilter())
		err = s.startAll(ctx, &k, all.GetPosition().GetCommitPosition(), all.GetEnd() != nil)
	} else {
		var from uint64
		var end bool
		k.Stream, from, end = streamAndStart(o)
		err = s.startStream(ctx, &k, from, end)
	}
	if k.Group == "" || k.Stream == "" || len(k.Group) > es.MaxStreamNameSize {
		return k, status.Error(codes.InvalidArgument, "a persistent subscription needs a stream and the name of a group")
	}
	return k, err
}

// streamAndStart reads the fields for a stream. Node clients use the older ones.
func streamAndStart(o *persistent.CreateReq_Options) (stream string, from uint64, end bool) {
	if x := o.GetStream(); x != nil {
		return string(x.GetStreamIdentifier().GetStreamName()), x.GetRevision(), x.GetEnd() != nil
	}
	from = o.GetSettings().GetRevision() //nolint:staticcheck // see above
	name := o.GetStreamIdentifier()      //nolint:staticcheck // see above
	return string(name.GetStreamName()), from, from == math.MaxUint64
}

// startAll lets a group begin with the event at a position.
func (s *groups) startAll(ctx context.Context, k *kept, commit uint64, end bool) error {
	k.StartFrom = allPosition(commit)
	k.Next = es.Position(max(commit, 1) - 1)
	if !end {
		return nil
	}
	head, err := s.store.Head(ctx)
	k.StartFrom, k.Next = "C:-1/P:-1", head
	return err
}

// startStream lets a group begin with a revision.
func (s *groups) startStream(ctx context.Context, k *kept, from uint64, end bool) error {
	k.StartFrom, k.From = formatRevision(revision(from)), revision(from)
	if end {
		head, err := s.store.Head(ctx)
		k.StartFrom, k.Next = "-1", head
		k.From = 0
		return err
	}
	for e, err := range s.store.ReadStream(ctx, es.Stream(k.Stream), k.From, es.Forward, 1) {
		if err != nil {
			return err
		}
		k.Next = e.Position
	}
	return nil
}

// Update implements the service. Whoever reads is dropped and comes back.
func (s *groups) Update(ctx context.Context, req *persistent.UpdateReq) (*persistent.UpdateResp, error) {
	o := req.GetOptions()
	n := groupName{allStream, o.GetGroupName()}
	if o.GetAll() == nil {
		name := o.GetStream().GetStreamIdentifier()
		if name == nil {
			name = o.GetStreamIdentifier() //nolint:staticcheck // Node clients use it
		}
		n.Stream = string(name.GetStreamName())
	}
	g, err := s.find(ctx, n)
	if err != nil {
		return nil, err
	}
	settings := settingsOf(o.GetSettings())
	settings.Strategy = o.GetSettings().GetNamedConsumerStrategy().String()
	g.drop(dropped(n))
	g.mu.Lock()
	g.Settings = settings
	g.mu.Unlock()
	return &persistent.UpdateResp{}, s.save()
}

// Delete implements the service.
func (s *groups) Delete(ctx context.Context, req *persistent.DeleteReq) (*persistent.DeleteResp, error) {
	g, err := s.find(ctx, nameOf(req.GetOptions()))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	delete(s.byName, g.name())
	s.mu.Unlock()
	g.drop(&gone{code: codes.NotFound, exception: "persistent-subscription-does-not-exist", what: "does not exist"})
	return &persistent.DeleteResp{}, s.save()
}

// GetInfo implements the service.
func (s *groups) GetInfo(ctx context.Context, req *persistent.GetInfoReq) (*persistent.GetInfoResp, error) {
	g, err := s.find(ctx, nameOf(req.GetOptions()))
	if err != nil {
		return nil, err
	}
	info, err := g.info(ctx)
	return &persistent.GetInfoResp{SubscriptionInfo: info}, err
}

// List implements the service.
func (s *groups) List(ctx context.Context, req *persistent.ListReq) (*persistent.ListResp, error) {
	stream := ""
	if of := req.GetOptions().GetListForStream(); of != nil {
		stream = allStream
		if of.GetAll() == nil {
			stream = string(of.GetStream().GetStreamName())
		}
	}
	found := s.list(stream)
	if len(found) == 0 && stream != "" {
		return nil, s.fail(ctx, codes.NotFound, "persistent-subscription-does-not-exist", groupName{Stream: stream}, "does not exist")
	}
	out := &persistent.ListResp{}
	for _, g := range found {
		info, err := g.info(ctx)
		if err != nil {
			return nil, err
		}
		out.Subscriptions = append(out.Subscriptions, info)
	}
	return out, nil
}

// ReplayParked implements the service.
func (s *groups) ReplayParked(ctx context.Context, req *persistent.ReplayParkedReq) (*persistent.ReplayParkedResp, error) {
	g, err := s.find(ctx, nameOf(req.GetOptions()))
	if err != nil {
		return nil, err
	}
	most := -1
	if o, ok := req.GetOptions().GetStopAtOption().(*persistent.ReplayParkedReq_Options_StopAt); ok {
		most = int(o.StopAt)
	}
	if err := g.replayParked(ctx, most); err != nil {
		return nil, err
	}
	return &persistent.ReplayParkedResp{}, s.save()
}

// RestartSubsystem implements the service: whoever reads is dropped and comes
// back.
func (s *groups) RestartSubsystem(context.Context, *shared.Empty) (*shared.Empty, error) {
	for _, g := range s.list("") {
		g.drop(dropped(g.name()))
	}
	return &shared.Empty{}, s.save()
}

// gone is why a reader of a group was sent away.
type gone struct {
	code            codes.Code
	exception, what string
}

// Error implements error.
func (g *gone) Error() string { return "subscription group " + g.what }

func dropped(groupName) error {
	return &gone{code: codes.Canceled, exception: "persistent-subscription-dropped", what: "was dropped"}
}
