package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/emet-node/emet/adapters/blobs"
	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/adapters/effects/activities"
	"github.com/emet-node/emet/adapters/secrets"
	"github.com/emet-node/emet/api/gsb"
	"github.com/emet-node/emet/domain/activity/unit"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/terms"
	"github.com/emet-node/emet/domain/peer"
	"github.com/emet-node/emet/projections"
)

// termsOf reads what an exe-unit needs of a provider's agreement.
func termsOf(agg *Aggregates) func(ctx context.Context, id string) (activities.Terms, error) {
	return func(ctx context.Context, id string) (activities.Terms, error) {
		s, rev, err := agg.Agreements.Load(ctx, agreement.StreamID(identity.Provider, id))
		if err != nil {
			return activities.Terms{}, err
		}
		if rev == es.NoStream {
			return activities.Terms{}, market.AgreementNotFound(id)
		}
		demand, offer := terms.Parse(s.Terms.DemandProperties), terms.Parse(s.Terms.OfferProperties)
		threads, _ := offer.Int(terms.Threads)
		return activities.Terms{
			Requestor: s.Terms.Requestor, Provider: s.Terms.Provider, State: s.Shown(), Runtime: offer.String(terms.RuntimeName),
			ImageRef: demand.String(terms.TaskPackage), UsageVector: offer.Strings(terms.UsageVector), MemoryBytes: offer.GiB(terms.MemoryGiB),
			StorageBytes: offer.GiB(terms.StorageGiB), Threads: int(threads), MultiActivity: demand.Bool(terms.MultiActivity),
			NoteInterval: offer.Seconds(terms.NoteInterval),
		}, nil
	}
}

// threads finds the negotiation of a proposal.
type threads struct{ view *projections.Market }

func (t threads) ThreadOf(ctx context.Context, side identity.Side, proposalID string) (string, error) {
	if err := t.view.Fresh(ctx); err != nil {
		return "", err
	}
	place, ok, err := t.view.Proposal(ctx, side, proposalID)
	if err != nil || !ok {
		return "", err
	}
	return place.Negotiation, nil
}

// localFiles are the files that clients of this node serve over the bridge.
type localFiles struct{ bridge *gsb.Bridge }

func (f localFiles) Metadata(ctx context.Context, owner identity.NodeID, id string) (int64, error) {
	size, err := f.bridge.GetMetadata(ctx, owner, id)
	return size, gsb.Refusal(err)
}

func (f localFiles) Chunk(ctx context.Context, owner identity.NodeID, id string, offset, size int64) ([]byte, error) {
	content, err := f.bridge.GetChunk(ctx, owner, id, offset, min(size, gsb.MaxChunk))
	return content, gsb.Refusal(err)
}

func (f localFiles) Upload(ctx context.Context, owner identity.NodeID, id string, offset int64, content []byte) error {
	return gsb.Refusal(f.bridge.UploadChunk(ctx, owner, id, offset, content))
}

func (f localFiles) UploadFinished(ctx context.Context, owner identity.NodeID, id, sha3 string) error {
	return gsb.Refusal(f.bridge.UploadFinished(ctx, owner, id, sha3))
}

// remoteFiles is how the exe-unit of an agreement reaches its requestor's
// files, and nobody else's.
type remoteFiles struct {
	peers effects.Peers
	terms activities.Terms
}

func (f remoteFiles) to(node string) (identity.NodeID, error) {
	id, err := identity.ParseNodeID(node)
	if err != nil {
		return "", err
	}
	if id != f.terms.Requestor {
		return "", fmt.Errorf("gftp://%s: only files of the agreement's requestor may be moved", node)
	}
	return id, nil
}

func (f remoteFiles) Metadata(ctx context.Context, node, id string) (int64, error) {
	to, err := f.to(node)
	if err != nil {
		return 0, err
	}
	m, err := effects.Answer[peer.FileMetadataIs](ctx, f.peers, f.terms.Provider, to, peer.FileMetadata{FileID: id})
	return m.Size, err
}

func (f remoteFiles) Chunk(ctx context.Context, node, id string, offset, size int64) ([]byte, error) {
	to, err := f.to(node)
	if err != nil {
		return nil, err
	}
	m, err := effects.Answer[peer.FileChunkIs](ctx, f.peers, f.terms.Provider, to, peer.FileChunk{FileID: id, Offset: offset, Size: size})
	return m.Content, err
}

func (f remoteFiles) Upload(ctx context.Context, node, id string, offset int64, content []byte) error {
	to, err := f.to(node)
	if err != nil {
		return err
	}
	_, err = f.peers.Call(ctx, f.terms.Provider, to, peer.FileUpload{Content: content, FileID: id, Offset: offset})
	return err
}

func (f remoteFiles) UploadFinished(ctx context.Context, node, id, sha3 string) error {
	to, err := f.to(node)
	if err != nil {
		return err
	}
	_, err = f.peers.Call(ctx, f.terms.Provider, to, peer.FileUploadFinished{FileID: id, Hash: sha3})
	return err
}

func filesOf(peers effects.Peers) func(activities.Terms) unit.Files {
	return func(t activities.Terms) unit.Files { return remoteFiles{peers: peers, terms: t} }
}

// tokens keeps the secret of each exe-unit in a file of its own, outside of
// what the exe-unit can see.
func tokens(dir string) func(activityID string) (string, error) {
	return func(id string) (string, error) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", err
		}
		path := filepath.Join(dir, id)
		b, err := os.ReadFile(path)
		if err == nil && len(b) == 64 {
			return string(b), nil
		}
		token := randomHex(32)
		tmp := path + ".tmp"
		if err := os.WriteFile(tmp, []byte(token), 0o600); err != nil {
			return "", err
		}
		return token, os.Rename(tmp, path)
	}
}

// blobStore is blobs.Store as the effects want it: what is kept is sealed with
// the key of whom it is about.
type blobStore struct {
	*blobs.Store
	vault *secrets.Vault
}

// unowned is the subject of content that came without one.
const unowned = "blobs"

func (b blobStore) Put(r io.Reader) (string, int64, error) {
	subject := unowned
	if p, ok := r.(activities.Piece); ok {
		subject = p.Subject
	}
	content, err := io.ReadAll(r)
	if err != nil {
		return "", 0, err
	}
	sealed, err := b.vault.SealBlob(context.Background(), subject, content)
	if err != nil {
		return "", 0, err
	}
	sum, _, err := b.Store.Put(bytes.NewReader(sealed))
	return sum, int64(len(content)), err
}

func (b blobStore) Open(sum string) (io.ReadCloser, error) {
	content, err := b.read(sum)
	return io.NopCloser(bytes.NewReader(content)), err
}

func (b blobStore) read(sum string) ([]byte, error) {
	r, err := b.Store.Open(sum)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // only read
	sealed, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return b.vault.OpenBlob(context.Background(), sealed)
}

// checkpoints remembers in a file how far each saga got. Losing it means that
// they hear the log again, which changes nothing.
type checkpoints struct{ dir string }

func (c checkpoints) path(name string) string {
	return filepath.Join(c.dir, strings.ReplaceAll(name, "/", "-"))
}

// Checkpoint implements effects.Checkpoints.
func (c checkpoints) Checkpoint(_ context.Context, name string) (es.Position, error) {
	b, err := os.ReadFile(c.path(name))
	if err != nil {
		return 0, nil //nolint:nilerr // no checkpoint is the beginning
	}
	var p es.Position
	if _, err := fmt.Sscan(string(b), &p); err != nil {
		return 0, nil //nolint:nilerr // neither is an unreadable one
	}
	return p, nil
}

// SetCheckpoint implements effects.Checkpoints.
func (c checkpoints) SetCheckpoint(_ context.Context, name string, done es.Position) error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	tmp := c.path(name) + ".tmp"
	if err := os.WriteFile(tmp, fmt.Append(nil, done), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, c.path(name))
}

// openBatches lists batches that were accepted and are not closed.
func openBatches(s es.Store, side identity.Side) func(ctx context.Context, activityID string) ([]activities.OpenBatch, error) {
	return func(ctx context.Context, activityID string) ([]activities.OpenBatch, error) {
		prefix := "batch-" + string(side) + "-" + activityID
		ids, err := effects.OpenStreams(ctx, s, prefix, []string{"batch.accepted.v1"}, []string{"batch.closed.v1"})
		if err != nil {
			return nil, err
		}
		var out []activities.OpenBatch
		for _, id := range ids {
			if parts := strings.Split(id, "-"); len(parts) == 3 {
				out = append(out, activities.OpenBatch{ActivityID: parts[1], BatchID: parts[2]})
			}
		}
		return out, nil
	}
}

// aliveUnits lists the activities of the provider's side that have an exe-unit.
func aliveUnits(s es.Store) func(ctx context.Context) ([]string, error) {
	return activitiesSince(s, "activity.spawned.v1")
}

// madeUnits lists also those that get one.
func madeUnits(s es.Store) func(ctx context.Context) ([]string, error) {
	return activitiesSince(s, "activity.created.v1")
}

func activitiesSince(s es.Store, fact string) func(ctx context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		ids, err := effects.OpenStreams(ctx, s, "activity-P-", []string{fact}, []string{"activity.terminated.v1"})
		for i, id := range ids {
			ids[i] = strings.TrimPrefix(id, "P-")
		}
		return ids, err
	}
}

const stopTime = 10 * time.Second
