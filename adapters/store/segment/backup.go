package segment

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/emet-node/emet/adapters/store/archive"
)

// Backup writes a copy of the store in dir to target, as [archive.Write] does.
// It changes nothing and needs no lock. Beside a daemon the copy is what was there
// at this moment; every frame is checked while it is copied. others is asked,
// once it is settled how far the log is copied, for what else is to be in it.
func Backup(ctx context.Context, dir, target string, now time.Time, others func() ([]archive.Part, error), progress archive.Progress) (m archive.Manifest, err error) {
	// The checkpoint comes first: what it covers is in the log when that is opened.
	checkpoint, err := os.ReadFile(filepath.Join(dir, archive.CheckpointName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	s, err := OpenReadOnly(dir)
	if err != nil {
		return m, err
	}
	defer s.Close() //nolint:errcheck // opened for reading
	parts, err := s.parts(checkpoint)
	if err == nil && others != nil {
		var more []archive.Part
		more, err = others()
		parts = append(parts, more...)
	}
	if err != nil {
		return m, err
	}
	size, root := s.Root()
	m = archive.Manifest{Engine: "segment", Events: size, LogID: hex.EncodeToString(s.logID[:]), Root: root.String()}
	return archive.Write(ctx, target, m, parts, now, progress)
}

// parts are the files of a backup: the log, the blobs beside it and the newest
// checkpoint.
func (s *Store) parts(checkpoint []byte) ([]archive.Part, error) {
	var out []archive.Part
	for _, f := range s.index.all() {
		end := f.sum.end
		if f == s.index.last() {
			end = s.off
		}
		out = append(out, archive.Part{
			Name: path.Join(segDir, segmentName(f.First)), Size: roundUp(end),
			Copy: func(ctx context.Context, w io.Writer) error { return s.copySegment(ctx, f, end, w) },
		})
	}
	if checkpoint != nil {
		out = append(out, archive.Bytes(archive.CheckpointName, checkpoint))
	}
	blobs, err := archive.BlobParts(s.dir)
	return append(out, blobs...), err
}

// copySegment copies a segment up to end and checks its frames and their chain.
func (s *Store) copySegment(ctx context.Context, f *file, end int64, w io.Writer) error {
	if _, err := w.Write(f.header.encode()); err != nil {
		return err
	}
	at := walk{next: f.First, chain: f.Chain}
	for c := newCursor(f, headerBytes); c.off < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		off := c.off
		fr, err := c.next()
		if err == nil {
			if err = at.follow(fr); err == nil && at.chain != fr.Chain {
				err = errors.New("frame does not continue the chain")
			}
		}
		if err != nil {
			return s.index.damaged(f, off, at.next, err)
		}
		b, err := c.view(off, int(fr.Size))
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	_, err := w.Write(make([]byte, roundUp(end)-end))
	return err
}
