package gsb

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"math"
	"strings"
	"sync"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

// MaxChunk is the largest piece of a file that one request moves.
const MaxChunk = 1 << 20

// ErrFile says that a request about a file makes no sense.
var ErrFile = errors.New("bad file request")

// fileSize remembers what GetMetadata said: a client crashes when it is asked
// for a piece beyond the end.
type fileSize struct {
	mu    sync.Mutex
	known bool
	bytes int64
}

// upload is the state of a file that comes in. Clients write pieces in the
// order in which they arrive, whatever their offset, so each waits for its turn.
type upload struct {
	mu   sync.Mutex
	turn chan struct{} // closed and replaced whenever next moves
	next int64
	busy bool
	hash hash.Hash
}

func (b *Bridge) file(owner identity.NodeID, id string) (*service, error) {
	return b.find(owner, "/public/gftp/"+id)
}

// GetMetadata asks the client that serves a file of a local identity for its size.
func (b *Bridge) GetMetadata(ctx context.Context, owner identity.NodeID, id string) (int64, error) {
	s, err := b.file(owner, id)
	if err != nil {
		return 0, err
	}
	return s.size(ctx)
}

func (s *service) size(ctx context.Context) (int64, error) {
	v, err := s.call(ctx, "GetMetadata", map[string]any{})
	if err != nil {
		return 0, err
	}
	m, _ := v.(map[string]any)
	n, ok := number(m["fileSize"])
	if !ok || n < 0 {
		return 0, fmt.Errorf("%w: %s gave no file size", ErrFile, s.on)
	}
	s.file.mu.Lock()
	s.file.known, s.file.bytes = true, n
	s.file.mu.Unlock()
	return n, nil
}

// GetChunk reads at most size bytes of a file from offset on. Beyond the end it
// returns nothing, without asking the client.
func (b *Bridge) GetChunk(ctx context.Context, owner identity.NodeID, id string, offset, size int64) ([]byte, error) {
	s, err := b.file(owner, id)
	if err != nil {
		return nil, err
	}
	if offset < 0 || size < 0 {
		return nil, fmt.Errorf("%w: offset %d, size %d", ErrFile, offset, size)
	}
	s.file.mu.Lock()
	known, total := s.file.known, s.file.bytes
	s.file.mu.Unlock()
	if !known {
		if total, err = s.size(ctx); err != nil {
			return nil, err
		}
	}
	want := min(size, MaxChunk, total-offset)
	if want <= 0 {
		return nil, nil
	}
	v, err := s.call(ctx, "GetChunk", map[string]any{"offset": uint64(offset), "size": uint64(want)})
	if err != nil {
		return nil, err
	}
	m, _ := v.(map[string]any)
	content, ok := m["content"].([]byte)
	if !ok || int64(len(content)) > want {
		return nil, fmt.Errorf("%w: %s gave no content for %d bytes at %d", ErrFile, s.on, want, offset)
	}
	return content, nil
}

// UploadChunk hands a piece of a file to the client that receives it. Pieces
// may come in any order and at the same time; the client gets them in the
// file's order, one at a time. A piece that it already has is not sent again.
func (b *Bridge) UploadChunk(ctx context.Context, owner identity.NodeID, id string, offset int64, content []byte) error {
	s, err := b.file(owner, id)
	if err != nil {
		return err
	}
	if offset < 0 || len(content) > MaxChunk {
		return fmt.Errorf("%w: %d bytes at %d", ErrFile, len(content), offset)
	}
	mine, err := s.upload.begin(ctx, offset, int64(len(content)))
	if err != nil || !mine {
		return err
	}
	_, err = s.call(ctx, "UploadChunk", map[string]any{"chunk": map[string]any{"offset": uint64(offset), "content": content}})
	s.upload.end(content, err == nil)
	return err
}

// UploadFinished tells the client that all pieces of a file were sent. digest is
// the SHA3-256 that the sender computed, "" if it did not; one that does not
// fit what passed through here is refused, since it would crash the client.
func (b *Bridge) UploadFinished(ctx context.Context, owner identity.NodeID, id, digest string) error {
	s, err := b.file(owner, id)
	if err != nil {
		return err
	}
	own := s.upload.digest()
	if digest != "" && !strings.EqualFold(digest, own) {
		return fmt.Errorf("%w: what arrived has SHA3-256 %s, not %.80q", ErrFile, own, digest)
	}
	if _, err = s.call(ctx, "UploadFinished", map[string]any{"hash": own}); err == nil {
		s.upload.reset()
	}
	return err
}

// begin waits until it is the turn of a piece. It returns false when the piece
// was already taken.
func (u *upload) begin(ctx context.Context, offset, size int64) (bool, error) {
	for {
		u.mu.Lock()
		switch {
		case offset < u.next && offset+size <= u.next:
			u.mu.Unlock()
			return false, nil
		case offset < u.next:
			u.mu.Unlock()
			return false, fmt.Errorf("%w: pieces overlap at %d", ErrFile, offset)
		case offset == u.next && !u.busy:
			u.busy = true
			u.mu.Unlock()
			return true, nil
		}
		turn := u.turn
		u.mu.Unlock()
		select {
		case <-turn:
		case <-ctx.Done():
			return false, fmt.Errorf("wait for the pieces before %d: %w", offset, ctx.Err())
		}
	}
}

func (u *upload) end(content []byte, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.busy = false
	if ok {
		u.next += int64(len(content))
		u.hash.Write(content)
	}
	close(u.turn)
	u.turn = make(chan struct{})
}

func (u *upload) digest() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return hex.EncodeToString(u.hash.Sum(nil))
}

func (u *upload) reset() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.next = 0
	u.hash.Reset()
}

// number takes a whole number of any FlexBuffers type.
func number(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case uint64:
		return int64(v), v <= math.MaxInt64
	case float64:
		return int64(v), v == math.Trunc(v) && math.Abs(v) < 1<<53
	}
	return 0, false
}

// HandleFile answers the requests about files that peers send to a local
// identity. ok is false for messages about something else.
func (b *Bridge) HandleFile(ctx context.Context, to identity.NodeID, m peer.Message) (reply peer.Message, ok bool, err error) {
	switch m := m.(type) {
	case peer.FileMetadata:
		size, err := b.GetMetadata(ctx, to, m.FileID)
		return peer.FileMetadataIs{Size: size}, true, Refusal(err)
	case peer.FileChunk:
		content, err := b.GetChunk(ctx, to, m.FileID, m.Offset, m.Size)
		return peer.FileChunkIs{Content: content, Offset: m.Offset}, true, Refusal(err)
	case peer.FileUpload:
		return peer.Ack{}, true, Refusal(b.UploadChunk(ctx, to, m.FileID, m.Offset, m.Content))
	case peer.FileUploadFinished:
		return peer.Ack{}, true, Refusal(b.UploadFinished(ctx, to, m.FileID, m.Hash))
	}
	return nil, false, nil
}

// Refusal is an error of the bridge in the words of peers.
func Refusal(err error) error {
	var refused *Refused
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNoService):
		return peer.Refuse(peer.NotFound, "file is not served: %v", err)
	case errors.Is(err, ErrFile):
		return peer.Refuse(peer.BadRequest, "%v", err)
	case errors.Is(err, ErrBusy):
		return peer.Refuse(peer.Busy, "%v", err)
	case errors.As(err, &refused), errors.Is(err, ErrGone):
		return peer.Refuse(peer.Internal, "%v", err)
	}
	return err
}
