package transfer

import (
	"context"
	"crypto/sha3"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/emet-node/emet/domain/activity/unit"
)

const (
	downloadChunk = 256 << 10
	// uploadChunk is what all receivers of gftp take.
	uploadChunk = 40960
)

// errNoFiles says that nobody carries gftp for this activity.
var errNoFiles = errors.New("gftp: the daemon serves no files to this exe-unit")

func gftpParts(place string) (node, file string, err error) {
	u, err := url.Parse(place)
	if err != nil || u.Host == "" || strings.Trim(u.Path, "/") == "" {
		return "", "", fmt.Errorf("%s: want gftp://<node id>/<file id>", place)
	}
	return u.Host, strings.TrimPrefix(u.Path, "/"), nil
}

func (m *Mover) download(ctx context.Context, from string) (io.ReadCloser, int64, error) {
	node, file, err := gftpParts(from)
	if err != nil {
		return nil, 0, err
	}
	if m.Files == nil {
		return nil, 0, errNoFiles
	}
	size, err := m.Files.Metadata(ctx, node, file)
	if err != nil {
		return nil, 0, fmt.Errorf("gftp metadata of %s: %w", file, err)
	}
	if size < 0 {
		return nil, 0, fmt.Errorf("gftp metadata of %s: a size of %d bytes", file, size)
	}
	return &remote{ctx: ctx, files: m.Files, node: node, file: file, size: size}, size, nil
}

// remote reads a file of a peer, chunk after chunk. It never asks beyond the
// end, which crashes some publishers.
type remote struct {
	ctx        context.Context
	files      unit.Files
	node, file string
	at, size   int64
	chunk      []byte
}

func (r *remote) Read(p []byte) (int, error) {
	if len(r.chunk) == 0 {
		if r.at >= r.size {
			return 0, io.EOF
		}
		want := min(downloadChunk, r.size-r.at)
		c, err := r.files.Chunk(r.ctx, r.node, r.file, r.at, want)
		if err != nil {
			return 0, fmt.Errorf("gftp chunk of %s at %d: %w", r.file, r.at, err)
		}
		if len(c) == 0 || int64(len(c)) > want {
			return 0, fmt.Errorf("gftp chunk of %s at %d: %d bytes instead of %d", r.file, r.at, len(c), want)
		}
		r.chunk = c
		r.at += int64(len(c))
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

func (r *remote) Close() error { return nil }

// upload sends chunks one at a time, each after the answer to the one before:
// receivers write them as they come and look at no offset.
func (m *Mover) upload(ctx context.Context, to string, r io.Reader) error {
	node, file, err := gftpParts(to)
	if err != nil {
		return err
	}
	if m.Files == nil {
		return errNoFiles
	}
	sum := sha3.New256()
	buf := make([]byte, uploadChunk)
	for at := int64(0); ; {
		n, err := fill(r, buf)
		if n > 0 {
			sum.Write(buf[:n])
			if err := m.Files.Upload(ctx, node, file, at, buf[:n]); err != nil {
				return fmt.Errorf("gftp upload of %s at %d: %w", file, at, err)
			}
			at += int64(n)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if err := m.Files.UploadFinished(ctx, node, file, hex.EncodeToString(sum.Sum(nil))); err != nil {
		return fmt.Errorf("gftp end of upload of %s: %w", file, err)
	}
	return nil
}

// fill reads until buf is full or r ends. Other than io.ReadFull it keeps the
// reader's own error, so that a source that breaks off is not taken for one
// that is done.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var k int
		k, err = r.Read(buf[n:])
		n += k
	}
	return n, err
}
