package kill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
)

// signed are all checkpoints that a node gave away, as far as one sees who looks
// at its file all the time.
type signed struct {
	file string
	stop chan struct{}
	over sync.WaitGroup

	mu     sync.Mutex
	last   string
	origin string
	sizes  []uint64
	roots  map[uint64][32]byte
	notes  [][]byte
	bad    []error
}

// watch looks at the checkpoints of a data directory until it is ended.
func watch(dir string) *signed {
	s := &signed{file: filepath.Join(dir, "store", "checkpoint"), stop: make(chan struct{}), roots: map[uint64][32]byte{}}
	s.over.Go(func() {
		for every := time.NewTicker(5 * time.Millisecond); ; {
			s.look()
			select {
			case <-s.stop:
				every.Stop()
				return
			case <-every.C:
			}
		}
	})
	return s
}

func (s *signed) end() {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.over.Wait()
}

// look takes the checkpoint that is there now.
func (s *signed) look() {
	b, err := os.ReadFile(s.file)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || string(b) == s.last {
		return
	}
	s.last = string(b)
	origin, size, root, err := verify.ParseCheckpoint(b)
	switch {
	case err != nil:
		s.bad = append(s.bad, fmt.Errorf("a checkpoint that nobody can read: %w", err))
		return
	case s.origin != "" && origin != s.origin:
		s.bad = append(s.bad, fmt.Errorf("the log was called %s and is called %s", s.origin, origin))
	case len(s.sizes) > 0 && size < s.sizes[len(s.sizes)-1]:
		s.bad = append(s.bad, fmt.Errorf("a checkpoint of %d events follows one of %d", size, s.sizes[len(s.sizes)-1]))
	}
	if was, ok := s.roots[size]; ok && was != root {
		s.bad = append(s.bad, fmt.Errorf("%d events were signed with the roots %x and %x", size, was, root))
	}
	s.origin, s.sizes, s.roots[size], s.notes = origin, append(s.sizes, size), root, append(s.notes, b)
}

// check holds every checkpoint against the key and against the tree over the
// log as it is now, which nobody has open.
func (s *signed) check(dir string, key verify.Key) error {
	s.look()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.bad
	for _, n := range s.notes {
		if _, err := verify.Checkpoint(n, key); err != nil {
			out = append(out, fmt.Errorf("%w: %s", err, n))
		}
	}
	roots, size, err := rootsOf(dir, s.roots)
	if err != nil {
		return errors.Join(append(out, err)...)
	}
	for at, want := range s.roots {
		if got, ok := roots[at]; !ok || got != want {
			out = append(out, fmt.Errorf("the first %d of %d events have the root %x, %x was signed", at, size, got, want))
		}
	}
	return errors.Join(out...)
}

// rootsOf makes the tree of a log anew, leaf by leaf, and gives its roots at the
// sizes that are asked for.
func rootsOf(dir string, at map[uint64][32]byte) (roots map[uint64][32]byte, size uint64, err error) {
	l, err := node.ReadLog(dir)
	if err != nil {
		return nil, 0, err
	}
	defer l.Close() //nolint:errcheck // only read
	roots = map[uint64][32]byte{}
	tree := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for e, err := range l.Store.ReadAll(context.Background(), 0, es.Forward, es.Filter{}, 0) {
		if err != nil {
			return nil, 0, err
		}
		if err := tree.Append(e.Leaf[:], nil); err != nil {
			return nil, 0, err
		}
		if _, asked := at[tree.End()]; !asked {
			continue
		}
		root, err := tree.GetRootHash(nil)
		if err != nil {
			return nil, 0, err
		}
		roots[tree.End()] = [32]byte(root)
	}
	return roots, tree.End(), nil
}
