package vfs

import "path"

// Files are whole files of a file system, for those who do not write in places.
type Files struct{ FS }

// ReadFile returns the whole content of a file.
func (f Files) ReadFile(name string) ([]byte, error) { return ReadFile(f.FS, name) }

// Replace writes a file so that it is there whole or not at all, and survives.
func (f Files) Replace(name string, content []byte) error {
	return WriteFile(f.FS, path.Dir(name), path.Base(name), content)
}

// Put writes a file that may be lost, or be another after a power loss: nothing
// is synced. Directories are made.
func (f Files) Put(name string, content []byte) error {
	if err := f.MkdirAll(path.Dir(name)); err != nil {
		return err
	}
	out, err := f.Create(name + ".tmp")
	if err != nil {
		return err
	}
	_, err = out.WriteAt(content, 0)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = f.Rename(name+".tmp", name)
	}
	return err
}

// Sweep removes a directory of files as far as it can.
func (f Files) Sweep(dir string) {
	names, err := f.ReadDir(dir)
	if err != nil {
		return
	}
	for _, n := range names {
		_ = f.Remove(path.Join(dir, n)) // what stays is no harm
	}
	_ = f.Remove(dir) // as above
}
