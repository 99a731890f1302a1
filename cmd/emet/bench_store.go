package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"time"

	"github.com/emet-node/emet/adapters/ledger"
	storebench "github.com/emet-node/emet/adapters/store/bench"
	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/eventschemas"
)

func benchStore(ctx context.Context, b *bench) error {
	return storebench.Run(ctx, b.dir, b.w, storebench.Options{Events: b.longLog, Then: b.inclusion})
}

const inclusionProofs = 2000

// inclusion measures proofs of events anywhere in a log.
func (b *bench) inclusion(ctx context.Context, s *segment.Store, dir string) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	k, err := ledger.Open(ctx, &es.Log{Store: s, Codec: eventschemas.New()}, ledger.Options{
		Dir: dir, Disk: vfs.Files{FS: vfs.OS{}}, LogID: s.LogID(), Identity: identity.NodeID("0x" + strings.Repeat("1", 40)), Key: key,
	})
	if err != nil {
		return err
	}
	signed, err := k.Sign(ctx)
	if err != nil {
		return err
	}
	took, used := make([]time.Duration, inclusionProofs), make([]time.Duration, inclusionProofs)
	for i := range took {
		begun, spent := time.Now(), storebench.ProcessorTime()
		if _, err := k.InclusionProof(ctx, es.Position(mathrand.Uint64N(signed.Size)), signed.Size); err != nil { //nolint:gosec // which events does not matter
			return err
		}
		took[i], used[i] = time.Since(begun), storebench.ProcessorTime()-spent
	}
	b.say("store/inclusion_proof_p99_ms", ms(quantile(took, 0.99)), "ms", fmt.Sprintf("p50=%.3f", ms(quantile(took, 0.5))), fmt.Sprintf("processor_p99=%.3f", ms(quantile(used, 0.99))), fmt.Sprintf("events=%d", signed.Size))
	return nil
}
