package transfer

import (
	"context"
	"crypto/sha3"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// MaxImage bounds the size of an image of the WASM runtime.
const MaxImage = 256 << 20

// Ref is a reference to content by its hash: hash:sha3:<hex>:<url>.
type Ref struct {
	Alg    string
	Digest []byte
	URL    string
}

// ErrRef says that a text is no hash reference.
var ErrRef = errors.New("want hash:sha3:<hex digest>:<url>")

// ErrHash says that content is not what its reference promised.
var ErrHash = errors.New("Incorrect hash provided or downloaded image is corrupted") //nolint:staticcheck // clients know this text

var refForm = regexp.MustCompile(`(?i)^hash:(?://)?([^:]+):(?:0x)?([a-f0-9]+):(.+)$`)

// ParseRef reads a hash reference. Digests of SHA3-224, 256, 384 and 512 are
// told apart by their length when they are checked.
func ParseRef(s string) (Ref, error) {
	m := refForm.FindStringSubmatch(s)
	if m == nil {
		return Ref{}, fmt.Errorf("image reference %q: %w", s, ErrRef)
	}
	digest, err := hex.DecodeString(m[2])
	if err != nil {
		return Ref{}, fmt.Errorf("image reference %q: %w: odd number of digits", s, ErrRef)
	}
	return Ref{Alg: strings.ToLower(m[1]), Digest: digest, URL: m[3]}, nil
}

func (r Ref) hash() (hash.Hash, error) {
	if r.Alg != "sha3" {
		return nil, fmt.Errorf("hash algorithm %q is not known, only sha3", r.Alg)
	}
	switch len(r.Digest) {
	case 28:
		return sha3.New224(), nil
	case 32:
		return sha3.New256(), nil
	case 48:
		return sha3.New384(), nil
	case 64:
		return sha3.New512(), nil
	}
	return nil, fmt.Errorf("a SHA3 digest of %d bytes; want 28, 32, 48 or 64", len(r.Digest))
}

// verify passes r on and fails at its end when the digest is another.
func (r Ref) verify(from io.Reader) io.Reader {
	sum, err := r.hash()
	return &verifier{from, sum, r, err}
}

type verifier struct {
	r   io.Reader
	sum hash.Hash
	ref Ref
	err error
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n, err := v.r.Read(p)
	v.sum.Write(p[:n])
	if errors.Is(err, io.EOF) {
		if got := v.sum.Sum(nil); !strings.EqualFold(hex.EncodeToString(got), hex.EncodeToString(v.ref.Digest)) {
			v.err = fmt.Errorf("%w: calculated hash %x differs from the expected one %x", ErrHash, got, v.ref.Digest)
			return 0, v.err
		}
	}
	return n, err
}

// Cache keeps images by their digest, verified, in files that nobody writes.
type Cache struct {
	Dir      string
	mu       sync.Mutex
	verified map[string]bool // in this process
}

// Image gives the file of an image and downloads it when it is not there. A
// file is verified at its first use in a process; one that has changed on
// disk is thrown away and fetched anew.
func (c *Cache) Image(ctx context.Context, m *Mover, image string, report Progress) (path string, fromCache bool, err error) {
	ref, err := ParseRef(image)
	if err != nil {
		return "", false, err
	}
	if _, err := ref.hash(); err != nil {
		return "", false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	name := fmt.Sprintf("sha3_%x", ref.Digest)
	path = filepath.Join(c.Dir, name)
	if c.verified[name] || c.good(ref, path) {
		c.trust(name)
		return path, true, nil
	}
	if err := c.fetch(ctx, m, ref, path, report); err != nil {
		return "", false, err
	}
	c.trust(name)
	return path, false, nil
}

func (c *Cache) trust(name string) {
	if c.verified == nil {
		c.verified = map[string]bool{}
	}
	c.verified[name] = true
}

func (c *Cache) good(ref Ref, path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = io.Copy(io.Discard, ref.verify(f))
	return err == nil
}

// fetch downloads into a file of its own and gives it its name when it is
// proved to be the right one.
func (c *Cache) fetch(ctx context.Context, m *Mover, ref Ref, path string, report Progress) error {
	tmp := filepath.Join(c.Dir, "tmp")
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(tmp, "")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if s := scheme(ref.URL); s != "http" && s != "https" && s != "gftp" {
		return fmt.Errorf("an image cannot come from %s; want http, https or gftp", s)
	}
	to := *m
	to.Volumes = []Volume{{Path: "/image", Dir: dir}}
	to.Room = func() int64 { return MaxImage }
	from := fmt.Sprintf("hash:sha3:%x:%s", ref.Digest, ref.URL)
	if _, err := to.Copy(ctx, from, "container:/image/file", report); err != nil {
		return err
	}
	file := filepath.Join(dir, "file")
	if err := os.Chmod(file, 0o400); err != nil {
		return err
	}
	return os.Rename(file, path)
}
