package segment

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

const (
	lockName    = "LOCK"
	storeName   = "STORE"
	segDir      = "seg"
	nextName    = "next.tmp"
	ballastName = "ballast"
)

// identity is the content of STORE.
type identity struct {
	Format  int       `json:"format"`
	LogID   string    `json:"logId"` // 32 hexadecimal digits
	Created time.Time `json:"created"`
}

func (i identity) id() (id [16]byte, err error) {
	b, err := hex.DecodeString(i.LogID)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("log id %q is not 32 hexadecimal digits", i.LogID)
	}
	return [16]byte(b), nil
}

func newIdentity(now time.Time) identity {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return identity{Format: formatVersion, LogID: hex.EncodeToString(id[:]), Created: now.UTC()}
}

// readIdentity reads STORE. A store that was never there, or never finished, is
// fs.ErrNotExist.
func readIdentity(files vfs.FS, dir string) (id [16]byte, err error) {
	b, err := vfs.ReadFile(files, path.Join(dir, storeName))
	if errors.Is(err, fs.ErrNotExist) {
		return id, cmp.Or(orphaned(files, dir), err)
	}
	if err != nil {
		return id, err
	}
	var i identity
	if err := json.Unmarshal(b, &i); err != nil {
		return id, &Damage{File: storeName, What: "is not JSON: " + err.Error(), FirstPosition: 1}
	}
	if i.Format != formatVersion {
		return id, fmt.Errorf("store %s has format %d, this build knows %d: use a build that knows it", dir, i.Format, formatVersion)
	}
	if id, err = i.id(); err != nil {
		return id, &Damage{File: storeName, What: err.Error(), FirstPosition: 1}
	}
	return id, nil
}

// orphaned is the damage of a log whose STORE is lost, nil when there is no log.
// STORE comes last: what has only an empty segment never had an event.
func orphaned(files vfs.FS, dir string) error {
	names, err := listSegments(files, dir)
	if err != nil || len(names) == 0 {
		return err
	}
	if len(names) == 1 && names[0] == segmentName(0) {
		f, err := files.Open(path.Join(dir, segDir, names[0]))
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // opened for reading
		if empty, err := zeroFrom(f, headerBytes); err != nil || empty {
			return err
		}
	}
	return &Damage{File: storeName, What: "is missing beside the segments of a log; no event is lost with it", FirstPosition: 1}
}

// zeroFrom says whether nothing but zeros is in f from off on.
func zeroFrom(f vfs.File, off int64) (bool, error) {
	size, err := f.Size()
	b := make([]byte, 128<<10)
	for err == nil && off < size {
		part := b[:min(int64(len(b)), size-off)]
		n, e := f.ReadAt(part, off)
		if n < len(part) {
			err = e
		}
		if !isZero(part[:n]) {
			return false, nil
		}
		off += int64(len(part))
	}
	return err == nil, err
}

func segmentName(first es.Position) string { return fmt.Sprintf("%020d%s", uint64(first), suffix) }

// listSegments returns the names of the segments in order.
func listSegments(files vfs.FS, dir string) (names []string, err error) {
	all, err := files.ReadDir(path.Join(dir, segDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, n := range all {
		digits, ok := strings.CutSuffix(n, suffix)
		if !ok {
			continue
		}
		if _, err := strconv.ParseUint(digits, 10, 64); err != nil || len(digits) != 20 {
			return nil, &Damage{File: path.Join(segDir, n), What: "is not the name of a segment", FirstPosition: 1}
		}
		names = append(names, n)
	}
	return names, nil
}

// openSegment opens a segment and reads its header.
func openSegment(files vfs.FS, dir, name string, write bool) (*file, error) {
	open := files.Open
	if write {
		open = files.OpenWrite
	}
	f, err := open(path.Join(dir, segDir, name))
	if err != nil {
		return nil, err
	}
	s := &file{File: f, name: path.Join(segDir, name)}
	if s.size, err = f.Size(); err == nil {
		err = s.readHeader()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

func (s *file) readHeader() error {
	b := make([]byte, min(s.size, headerBytes))
	if n, err := s.ReadAt(b, 0); err != nil && n < len(b) {
		return fmt.Errorf("%s %w: %w", s.name, errRead, err)
	}
	h, err := decodeHeader(b)
	if err == nil && s.name != path.Join(segDir, segmentName(h.First)) {
		err = fmt.Errorf("begins at position %d and has the wrong name", h.First)
	}
	if err != nil {
		return &Damage{File: s.name, What: err.Error(), FirstPosition: 1}
	}
	s.header = h
	return nil
}

// newSalt makes the frames of a file recognisable as its own.
func newSalt() (salt [16]byte) {
	_, _ = rand.Read(salt[:]) // never fails
	return salt
}

const fillStep = 4 << 20

// fill creates a file of zeros and syncs it. Its space is then its own: no
// append can meet a full disk, nor pay for the file's growth.
func fill(files vfs.FS, name string, size int64) (vfs.File, error) {
	f, err := files.Create(name)
	if err != nil {
		return nil, err
	}
	if z, ok := f.(vfs.Zeroer); !ok || z.Zero(size) != nil {
		err = writeZeros(f, size)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare %s of %d bytes: %w", name, size, err), f.Close(), files.Remove(name))
	}
	return f, nil
}

func writeZeros(f vfs.File, size int64) (err error) {
	zeros := make([]byte, min(size, 128<<10)) // stays in the cache
	for off := int64(0); off < size && err == nil; off += int64(len(zeros)) {
		_, err = f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off)
		if err == nil && off%fillStep == 0 {
			err = f.SyncData() // in small steps, so that appends need not wait for a long one
		}
	}
	return err
}

// publish gives a prepared file its header and its name.
func publish(files vfs.FS, dir string, f vfs.File, size int64, h header) (*file, error) {
	name := segmentName(h.First)
	_, err := f.WriteAt(h.encode(), 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = files.Rename(path.Join(dir, segDir, nextName), path.Join(dir, segDir, name))
	}
	if err == nil {
		err = files.SyncDir(path.Join(dir, segDir))
	}
	if err != nil {
		return nil, fmt.Errorf("begin segment %s: %w", name, err)
	}
	return &file{File: f, header: h, name: path.Join(segDir, name), size: size}, nil
}
