package node

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/emet-node/emet/adapters/blobs"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/eventschemas"
)

// BadBlob is content beside the log that is not there, or is not what its
// address says.
type BadBlob struct {
	SHA256  string // its address
	File    string
	Missing bool
	What    string
	// By is the first fact that names it, without content; nil = none that can
	// be read does.
	By *es.Event
}

// BlobReport is what [VerifyBlobs] found.
type BlobReport struct {
	Blobs int       // that were looked for
	Bad   []BadBlob // in the order of the log; those that nobody names come last
	// Unreadable counts facts that may name blobs and whose content was erased
	// or is sealed with a key that is not here.
	Unreadable int
}

// VerifyBlobs reads all blobs that the facts of a log name, and those that lie
// there besides. It changes nothing and needs no lock. With a log that cannot be
// read (whole is false) only those that are there are looked at.
func VerifyBlobs(ctx context.Context, o Options, whole bool) (BlobReport, error) {
	v := &blobVerifier{store: blobs.OpenReadOnly(filepath.Join(o.Dir, "store", "blobs")), seen: make(map[string]bool)}
	if whole {
		if err := v.named(ctx, o); err != nil {
			return v.report, err
		}
	}
	there, err := v.store.All()
	for _, sum := range there {
		if err = ctx.Err(); err != nil {
			break
		}
		v.look(sum, nil)
	}
	return v.report, err
}

type blobVerifier struct {
	store  *blobs.Store
	seen   map[string]bool
	report BlobReport
}

// named looks at what facts name.
func (v *blobVerifier) named(ctx context.Context, o Options) error {
	r, err := ReadLogOf(ctx, o)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // only read
	types := eventschemas.New().NamesOf(func(fact any) bool { _, names := fact.(es.BlobNamer); return names })
	for e, err := range r.Store.ReadAll(ctx, 0, es.Forward, es.AnyVersion(types...), 0) {
		if err != nil {
			return err
		}
		fact, err := r.Log.Content(ctx, &e)
		names, ok := fact.(es.BlobNamer)
		if err != nil || !ok {
			v.report.Unreadable++
			continue
		}
		for _, sum := range names.Blobs() {
			v.look(sum, &e)
		}
	}
	return nil
}

// look reads one blob, unless it was read before.
func (v *blobVerifier) look(sum string, by *es.Event) {
	if v.seen[sum] {
		return
	}
	v.seen[sum] = true
	v.report.Blobs++
	wrong := v.store.Check(sum)
	if wrong == nil {
		return
	}
	file, err := v.store.Path(sum)
	bad := BadBlob{SHA256: sum, File: file, What: wrong.Error(), Missing: err != nil || errors.Is(wrong, blobs.ErrUnknown)}
	if by != nil {
		e := *by
		e.Data, e.Meta = nil, nil
		bad.By = &e
	}
	v.report.Bad = append(v.report.Bad, bad)
}
