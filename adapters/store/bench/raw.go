package bench

import (
	"context"
	"sync"

	"github.com/emet-node/emet/adapters/store/vfs"
)

// raw is the physical limit: records of one size, gathered while the last group
// is synced, one write and one fdatasync per group, nothing else.
type raw struct {
	file   vfs.File
	record []byte
	mu     sync.Mutex
	group  []chan error
	wake   chan struct{}
	ended  sync.WaitGroup
	closed bool
}

const rawBytes = 64 << 20

func newRaw(name string, recordBytes int) (*raw, error) {
	f, err := vfs.OS{}.Create(name)
	if err != nil {
		return nil, err
	}
	zeros := make([]byte, 1<<20)
	for off := int64(0); off < rawBytes; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros, off); err != nil {
			return nil, err
		}
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	r := &raw{file: f, record: make([]byte, recordBytes), wake: make(chan struct{}, 1)}
	for i := range r.record {
		r.record[i] = byte(i + 1)
	}
	r.ended.Go(r.run)
	return r, nil
}

var answers = sync.Pool{New: func() any { return make(chan error, 1) }}

func (r *raw) append(_ context.Context, _ int) error {
	done := answers.Get().(chan error) //nolint:forcetypeassert // the pool holds nothing else
	defer answers.Put(done)
	r.mu.Lock()
	r.group = append(r.group, done)
	r.mu.Unlock()
	r.notify()
	return <-done
}

func (r *raw) notify() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *raw) run() {
	var group, spare []chan error
	var buf []byte
	off := int64(0)
	for range r.wake {
		r.mu.Lock()
		group, r.group = r.group, spare[:0]
		closed := r.closed
		r.mu.Unlock()
		if closed {
			return
		}
		buf = buf[:0]
		for range group {
			buf = append(buf, r.record...)
		}
		if off+int64(len(buf)) > rawBytes {
			off = 0
		}
		err := r.write(buf, off)
		off += int64(len(buf))
		for _, done := range group {
			done <- err
		}
		spare = group
	}
}

func (r *raw) write(b []byte, off int64) error {
	if len(b) == 0 {
		return nil
	}
	if _, err := r.file.WriteAt(b, off); err != nil {
		return err
	}
	return r.file.SyncData()
}

func (r *raw) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.notify()
	r.ended.Wait()
	_ = r.file.Close()
}
