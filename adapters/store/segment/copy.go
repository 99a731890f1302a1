package segment

import (
	"archive/tar"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/emet-node/emet/adapters/store/vfs"
)

// Copy is a copy of a log that a repair may take frames from.
type Copy struct {
	LogID    [16]byte
	segments []*file
	tar      *os.File
}

// OpenCopy opens a backup (a directory or a tar file), or a copy of a store
// directory. It fails with [ErrNoBackup] when it is neither.
func OpenCopy(source string) (*Copy, error) {
	info, err := os.Stat(source)
	if err != nil {
		return nil, err
	}
	c := &Copy{}
	if info.IsDir() {
		err = c.openDir(source)
	} else {
		err = c.openTar(source)
	}
	if err == nil && len(c.segments) == 0 {
		err = fmt.Errorf("%w: %s has no segment that can be read", ErrNoBackup, source)
	}
	for _, s := range c.segments {
		if err == nil && s.LogID != c.segments[0].LogID {
			err = fmt.Errorf("%w: %s has segments of several logs", ErrNoBackup, source)
		}
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.LogID = c.segments[0].LogID
	return c, nil
}

func (c *Copy) openDir(source string) error {
	names, err := listSegments(vfs.OS{}, source)
	if err != nil {
		return err
	}
	for _, n := range names {
		s, err := openSegment(vfs.OS{}, source, n, false)
		var d *Damage
		if errors.As(err, &d) {
			continue // what is whole may be enough
		}
		if err != nil {
			return err
		}
		c.segments = append(c.segments, s)
	}
	return nil
}

func (c *Copy) openTar(source string) (err error) {
	if c.tar, err = os.Open(source); err != nil {
		return err
	}
	t := tar.NewReader(c.tar)
	for {
		head, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: read %s: %w", ErrNoBackup, source, err)
		}
		if path.Dir(head.Name) != segDir || !strings.HasSuffix(head.Name, suffix) {
			continue
		}
		at, err := c.tar.Seek(0, io.SeekCurrent) // the reader holds nothing back
		if err != nil {
			return err
		}
		s := &file{File: inTar{io.NewSectionReader(c.tar, at, head.Size)}, name: head.Name, size: head.Size}
		if err := s.readHeader(); err == nil {
			c.segments = append(c.segments, s)
		}
	}
}

// inTar is a file in a tar file, for reading.
type inTar struct{ *io.SectionReader }

var errReadOnly = errors.New("a file in a tar file is for reading")

func (inTar) WriteAt([]byte, int64) (int, error) { return 0, errReadOnly }
func (inTar) SyncData() error                    { return errReadOnly }
func (inTar) Sync() error                        { return errReadOnly }
func (inTar) Truncate(int64) error               { return errReadOnly }
func (inTar) Close() error                       { return nil }
func (f inTar) Size() (int64, error)             { return f.SectionReader.Size(), nil }

// Close closes the copy.
func (c *Copy) Close() error {
	if c == nil {
		return nil
	}
	var errs []error
	for _, s := range c.segments {
		errs = append(errs, s.Close())
	}
	if c.tar != nil {
		errs = append(errs, c.tar.Close())
	}
	return errors.Join(errs...)
}

// of checks that a copy is one of a log.
func (c *Copy) of(logID [16]byte) error {
	if c != nil && c.LogID != logID {
		return fmt.Errorf("the copy is of log %s, the damaged one is %s: only its own copies say what it said", hex.EncodeToString(c.LogID[:]), hex.EncodeToString(logID[:]))
	}
	return nil
}
