package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/emet-node/emet/adapters/bus"
	"github.com/emet-node/emet/adapters/store/archive"
	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/adapters/store/sqlite"
	"github.com/emet-node/emet/domain/es"
)

// ErrOnServer says that a log is on a server, which has its own means to copy it.
var ErrOnServer = errors.New("the log is on a server, which is backed up there: copy the server's data directory (its index checkpoint files first, then the rest) or its volume, as its manual says; emet store export writes all events as JSON lines")

// BackupLog copies the log of a data directory to target, a directory or a tar
// file, with how far webhooks were told. A node may run meanwhile. Keys and
// secrets are in it only when that is asked for.
func BackupLog(ctx context.Context, o Options, target string, withSecrets bool, progress archive.Progress) (m archive.Manifest, err error) {
	p, _, err := settlePlace(o.Dir, o.Store)
	if err != nil {
		return m, err
	}
	if p.Engine == engineKurrent {
		return m, fmt.Errorf("%w: %s", ErrOnServer, p)
	}
	if err := asSigned(ctx, o); err != nil {
		return m, err
	}
	news, err := newsPart(ctx, o.Dir) // before the log, which then has what was told
	if err != nil {
		return m, err
	}
	others := func() ([]archive.Part, error) {
		if !withSecrets {
			return news, nil
		}
		// After the log: the key of a sealed fact is there before the fact.
		secret, err := secretParts(o.Dir)
		return append(news, secret...), err
	}
	store := filepath.Join(o.Dir, "store")
	if p.Engine == engineSQLite {
		return sqlite.Backup(ctx, p.Path, store, target, time.Now(), others, progress)
	}
	return segment.Backup(ctx, store, target, time.Now(), others, progress)
}

// asSigned refuses a log that is not what was signed of it, which nobody could
// restore. What is damaged in the log itself is told by who copies it.
func asSigned(ctx context.Context, o Options) error {
	r, err := ReadLogOf(ctx, o)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	_, err = r.HoldsSigned(ctx)
	return errors.Join(err, r.Close())
}

func newsPart(ctx context.Context, dir string) ([]archive.Part, error) {
	name := newsFile(dir)
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	s, err := bus.OpenState(name)
	if err != nil {
		return nil, err
	}
	b, err := s.Snapshot(ctx)
	if err = errors.Join(err, s.Close()); err != nil {
		return nil, fmt.Errorf("how far webhooks were told: %w", err)
	}
	return []archive.Part{archive.Bytes(archive.NewsName, append(b, '\n'))}, nil
}

func newsFile(dir string) string { return filepath.Join(dir, "news", "news.db") }

// maxSecret is more than a file of secrets has.
const maxSecret = 256 << 20

// secretParts are the files of the secrets directory as they are now.
func secretParts(dir string) (out []archive.Part, err error) {
	root := filepath.Join(dir, archive.SecretsDir)
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(name)
		if err == nil {
			out = append(out, archive.Bytes(path.Join(archive.SecretsDir, filepath.ToSlash(rel)), b))
		}
		return err
	})
	return out, err
}

// beside is what a backup has besides the log.
type beside struct {
	news    []byte
	secrets map[string][]byte // by path below the secrets directory
	there   bool              // the secrets are in their place
}

func (b *beside) take(name string, from io.Reader) error {
	content, err := io.ReadAll(io.LimitReader(from, maxSecret+1))
	switch {
	case err != nil:
		return err
	case len(content) > maxSecret:
		return archive.Unexpected(name)
	case name == archive.NewsName:
		b.news = content
		return nil
	}
	if b.secrets == nil {
		b.secrets = make(map[string][]byte)
	}
	b.secrets[strings.TrimPrefix(name, archive.SecretsDir+"/")] = content
	return nil
}

// ErrHasSecrets says that there are secrets where others should be restored.
var ErrHasSecrets = errors.New("there are secrets already")

// room checks that what is beside a log can be put into a data directory. The
// same secrets may be there: a restore that was interrupted has put them.
func (b *beside) room(dir string) error {
	at := filepath.Join(dir, archive.SecretsDir)
	if _, err := os.Lstat(at); len(b.secrets) == 0 || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	have, err := secretParts(dir)
	if err == nil && len(have) == len(b.secrets) {
		if b.there = b.sameAs(at); b.there {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("%w: %s; move it away, or restore to another directory", ErrHasSecrets, at), err)
}

// sameAs says whether every secret lies below a directory as it is here.
func (b *beside) sameAs(dir string) bool {
	for name, content := range b.secrets {
		have, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil || !bytes.Equal(have, content) {
			return false
		}
	}
	return true
}

// put writes it there. head is how many events the restored log has.
func (b *beside) put(ctx context.Context, dir string, head es.Position) error {
	if len(b.secrets) > 0 && !b.there {
		fresh := filepath.Join(dir, "secrets.restoring")
		if err := os.RemoveAll(fresh); err != nil {
			return err
		}
		for name, content := range b.secrets {
			err := archive.WriteSynced(filepath.Join(fresh, filepath.FromSlash(name)), func(w io.Writer) error { _, err := w.Write(content); return err })
			if err != nil {
				return err
			}
		}
		if err := errors.Join(archive.SyncDirs(fresh), os.Rename(fresh, filepath.Join(dir, archive.SecretsDir))); err != nil {
			return err
		}
	}
	if b.news == nil {
		return nil
	}
	if err := os.RemoveAll(filepath.Join(dir, "news")); err != nil {
		return err
	}
	s, err := bus.OpenState(newsFile(dir))
	if err != nil {
		return err
	}
	return errors.Join(s.Restore(ctx, b.news, head), s.Close())
}
