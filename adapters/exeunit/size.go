package exeunit

import (
	"io/fs"
	"path/filepath"
)

// EntryBytes is what a file or directory counts beside its bytes.
const EntryBytes = 4096

// DirSize is what a directory holds: the lengths of its files and a block for
// each entry.
func DirSize(dir string) (bytes int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it went away meanwhile
		}
		bytes += EntryBytes
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			bytes += info.Size()
		}
		return nil
	})
	return bytes - EntryBytes
}
