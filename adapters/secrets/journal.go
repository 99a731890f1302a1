package secrets

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
)

// ErrDamaged says that the file of secrets was changed by something else.
var ErrDamaged = errors.New("the file of secrets is damaged")

// journal is a small map in an append-only file. A frame is
//
//	length (4) ‖ CRC-32C of length (4) ‖ payload ‖ CRC-32C of payload (4)
//	payload: operation (1) ‖ name length (2) ‖ name ‖ nonce (12) ‖ AES-256-GCM of the value, with the name as AAD
//
// with numbers big-endian. A deletion rewrites the file without the value and
// overwrites the old one, so that it is gone.
type journal struct {
	path string
	aead cipher.AEAD
	mu   sync.Mutex
	f    *os.File
	vals map[string][]byte
}

const (
	opPut    = 1
	frameTop = 8
	maxFrame = 1 << 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func openJournal(path string, key []byte) (*journal, error) {
	j, err := newJournal(path, key)
	if err != nil {
		return nil, err
	}
	if j.f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	if err := errors.Join(checkMode(path, "600"), j.load()); err != nil {
		j.f.Close() //nolint:errcheck // the error that matters is there
		return nil, err
	}
	return j, nil
}

func newJournal(path string, key []byte) (*journal, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &journal{path: path, aead: aead, vals: make(map[string][]byte)}, err
}

// load reads all frames. A frame that a crash cut short at the end is put
// aside; anything else that is wrong stops the start, since keys would be lost.
func (j *journal) load() error {
	b, err := io.ReadAll(j.f)
	if err != nil {
		return err
	}
	at, err := j.take(b)
	if err != nil || at == len(b) {
		return err
	}
	return j.cut(b, at)
}

// take takes over what the frames of b say and returns where they end: at the
// end of b, or before a frame that was never finished.
func (j *journal) take(b []byte) (at int, err error) {
	for at < len(b) {
		payload, n, torn := frame(b[at:])
		if torn {
			return at, nil
		}
		if n == 0 {
			return at, fmt.Errorf("%w: %s at byte %d; restore it from a backup", ErrDamaged, j.path, at)
		}
		if err := j.apply(payload); err != nil {
			return at, fmt.Errorf("%s at byte %d: %w", j.path, at, err)
		}
		at += n
	}
	return at, nil
}

// frame returns the payload of the first frame in b and its whole size, 0 when
// it is damaged. torn says that the frame was never finished.
func frame(b []byte) (payload []byte, n int, torn bool) {
	if len(b) < frameTop || len(bytes.TrimLeft(b, "\x00")) == 0 {
		return nil, 0, true
	}
	if crc32.Checksum(b[:4], castagnoli) != binary.BigEndian.Uint32(b[4:8]) {
		return nil, 0, false
	}
	size := int(binary.BigEndian.Uint32(b))
	if size > maxFrame {
		return nil, 0, false
	}
	n = frameTop + size + 4
	if len(b) < n {
		return nil, 0, true
	}
	payload = b[frameTop : frameTop+size]
	if crc32.Checksum(payload, castagnoli) != binary.BigEndian.Uint32(b[n-4:n]) {
		return nil, 0, n == len(b)
	}
	return payload, n, false
}

// cut keeps a torn end beside the file and removes it from the file.
func (j *journal) cut(b []byte, at int) error {
	if err := os.WriteFile(fmt.Sprintf("%s.torn-%d", j.path, at), b[at:], 0o600); err != nil {
		return err
	}
	if err := j.f.Truncate(int64(at)); err != nil {
		return err
	}
	_, err := j.f.Seek(int64(at), io.SeekStart)
	return errors.Join(err, j.f.Sync())
}

func (j *journal) apply(p []byte) error {
	if len(p) < 3 || p[0] != opPut {
		return fmt.Errorf("%w: unknown operation", ErrDamaged)
	}
	size := int(binary.BigEndian.Uint16(p[1:3]))
	p = p[3:]
	if len(p) < size+j.aead.NonceSize() {
		return fmt.Errorf("%w: short frame", ErrDamaged)
	}
	name, rest := p[:size], p[size:]
	nonce, text := rest[:j.aead.NonceSize()], rest[j.aead.NonceSize():]
	value, err := j.aead.Open(nil, nonce, text, name)
	if err != nil {
		return fmt.Errorf("%w, or vault.key is not the one it was written with", ErrDamaged)
	}
	j.vals[string(name)] = value
	return nil
}

func (j *journal) encode(name string, value []byte) ([]byte, error) {
	nonce := make([]byte, j.aead.NonceSize())
	rand.Read(nonce) //nolint:errcheck // never fails
	p := binary.BigEndian.AppendUint16([]byte{opPut}, uint16(len(name)))
	p = append(append(p, name...), nonce...)
	p = j.aead.Seal(p, nonce, value, []byte(name))
	if len(name) > 1<<15 || len(p) > maxFrame {
		return nil, fmt.Errorf("secret %.40q is too large", name)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(len(p)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return binary.BigEndian.AppendUint32(append(b, p...), crc32.Checksum(p, castagnoli)), nil
}

func (j *journal) get(name string) ([]byte, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	v, ok := j.vals[name]
	return v, ok
}

// ensure returns the value of a name; when there is none it stores the one
// that fresh makes. It is durable when ensure returns.
func (j *journal) ensure(name string, fresh func() []byte) (value []byte, isNew bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if v, ok := j.vals[name]; ok {
		return v, false, nil
	}
	v := fresh()
	return v, true, j.append(name, v)
}

func (j *journal) put(name string, value []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if old, ok := j.vals[name]; ok && !bytes.Equal(old, value) {
		defer j.rewrite() //nolint:errcheck // the old value lingers until the next deletion
	}
	return j.append(name, value)
}

func (j *journal) append(name string, value []byte) error {
	if j.f == nil {
		return os.ErrClosed
	}
	b, err := j.encode(name, value)
	if err != nil {
		return err
	}
	end, err := j.f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	_, err = j.f.Write(b)
	if err = errors.Join(err, j.f.Sync()); err != nil {
		return errors.Join(err, j.f.Truncate(end))
	}
	j.vals[name] = bytes.Clone(value)
	return nil
}

// remove deletes a name for good.
func (j *journal) remove(name string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, ok := j.vals[name]; !ok {
		return nil
	}
	old := j.vals[name]
	delete(j.vals, name)
	if err := j.rewrite(); err != nil {
		j.vals[name] = old
		return err
	}
	return nil
}

// rewrite writes the present values to a new file, puts it in the old one's
// place, and overwrites the old one.
func (j *journal) rewrite() error {
	if j.f == nil {
		return os.ErrClosed
	}
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(j.vals)) {
		one, err := j.encode(name, j.vals[name])
		if err != nil {
			return err
		}
		b = append(b, one...)
	}
	if err := writeFile(j.path, b); err != nil {
		return err
	}
	old := j.f
	f, err := os.OpenFile(j.path, os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	j.f = f
	size, err := old.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = old.WriteAt(make([]byte, size), 0)
	}
	return errors.Join(err, old.Sync(), old.Close())
}

// names are the names with a prefix, in order, without it.
func (j *journal) names(prefix string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []string
	for name := range j.vals {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			out = append(out, rest)
		}
	}
	slices.Sort(out)
	return out
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.f == nil {
		return nil
	}
	err := j.f.Close()
	j.f = nil
	return err
}
