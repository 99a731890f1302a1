package ledger

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
)

// An old copy of the log under a newer checkpoint is recognised, whether it is
// put back before the start or written on.
func TestARestoredOldCopyIsNotSigned(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := openHome(t, dir)
	h.say("a.v1", 20)
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	copied := t.TempDir()
	if err := os.CopyFS(filepath.Join(copied, "seg"), os.DirFS(filepath.Join(dir, "seg"))); err != nil {
		t.Fatal(err)
	}
	h = openHome(t, dir)
	h.say("a.v1", 20)
	signed, err := h.keeper().Sign(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "seg")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "seg"), os.DirFS(filepath.Join(copied, "seg"))); err != nil {
		t.Fatal(err)
	}
	h = openHome(t, dir)
	var told *ledger.Rewritten
	if _, err := Open(t.Context(), h.log, h.options()); !errors.As(err, &told) || told.Signed != signed.Size || told.Have != 20 {
		t.Fatalf("the old copy: %v", err)
	}
	h.say("b.v1", 30)
	if _, err := Open(t.Context(), h.log, h.options()); !errors.As(err, &told) || told.Have != 50 || told.Root == signed.Root {
		t.Fatalf("the old copy, written on: %v", err)
	}
}

// Signing, proving and appending at once: every checkpoint continues the one
// before, and every proof holds under the checkpoint it was asked for.
func TestProofsHoldWhileTheLogGrows(t *testing.T) {
	t.Parallel()
	h := openHome(t, t.TempDir())
	h.say("a.v1", 1)
	k := h.keeper()
	if _, err := k.Sign(t.Context()); err != nil {
		t.Fatal(err)
	}
	g, ctx := errgroup.WithContext(t.Context())
	done := make(chan struct{})
	g.Go(func() error {
		defer close(done)
		for range 150 {
			h.say("a.v1", 7)
		}
		return nil
	})
	for range 2 {
		g.Go(func() error {
			last, err := k.Checkpoint(ctx)
			for n := uint64(0); err == nil; n++ {
				select {
				case <-done:
					return nil
				default:
				}
				var c ledger.Checkpoint
				if c, err = k.Sign(ctx); err != nil {
					break
				}
				if err = holds(k, last, c, n%c.Size); err == nil && c.Size > last.Size {
					last = c
				}
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if c, err := k.Sign(t.Context()); err != nil || c.Size != 1+150*7 {
		t.Errorf("%d, %v", c.Size, err)
	}
}

func holds(k *Keeper, old, c ledger.Checkpoint, index uint64) error {
	ctx := context.Background()
	p, err := k.ConsistencyProof(ctx, old.Size, c.Size)
	if err != nil {
		return err
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, old.Size, c.Size, slicesOf(p), old.Root[:], c.Root[:]); err != nil {
		return err
	}
	i, err := k.InclusionProof(ctx, es.Position(index), c.Size)
	if err != nil {
		return err
	}
	for e, err := range k.store.ReadAll(ctx, es.Position(index), es.Forward, es.Filter{}, 1) {
		if err != nil {
			return err
		}
		return proof.VerifyInclusion(rfc6962.DefaultHasher, index, c.Size, e.Leaf[:], slicesOf(i), c.Root[:])
	}
	return errors.New("the event is not there")
}
