package wasm

import (
	"fmt"
	"testing"

	esys "github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/experimental/sysfs"
)

// Files that are deleted while they are open take room, and give it back when
// they are closed.
func TestDeletedFilesCountWhileTheyAreOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const limit = 256 << 10
	f := &guarded{FS: sysfs.DirFS(dir), quota: &quota{limit: limit, dirs: []string{dir}}, g: &Guest{}}
	fill := func() (files []esys.File, bytes int) {
		for i := range 1000 {
			file, e := f.OpenFile(fmt.Sprint(i), esys.O_CREAT|esys.O_RDWR, 0o600)
			if e != 0 {
				return files, bytes
			}
			files = append(files, file)
			n, e := file.Write(make([]byte, 16<<10))
			bytes += n
			if e != 0 {
				return files, bytes
			}
			if e := f.Unlink(fmt.Sprint(i)); e != 0 {
				t.Fatal(e)
			}
		}
		return files, bytes
	}
	for range 3 {
		files, bytes := fill()
		if bytes < limit/2 || bytes > limit {
			t.Errorf("%d bytes are on disk, the limit is %d", bytes, limit)
		}
		for _, file := range files {
			if e := file.Close(); e != 0 {
				t.Fatal(e)
			}
		}
		_ = f.Unlink(fmt.Sprint(len(files) - 1))
	}
}
