package vfs

// Op is a call that changes a file system.
type Op string

// The calls that [Faulty] asks about.
const (
	OpCreate   Op = "create"
	OpWrite    Op = "write"
	OpSync     Op = "sync" // Sync and SyncData
	OpTruncate Op = "truncate"
	OpRename   Op = "rename"
	OpRemove   Op = "remove"
	OpSyncDir  Op = "syncdir"
)

// Faulty is a file system that asks Fail before every change. An error is
// returned to the caller instead of doing it; a failed write does half of it.
// Fail may be called by several goroutines.
type Faulty struct {
	FS
	Fail func(op Op, name string) error
}

type faultyFile struct {
	File
	torn File // for writes of which only half is done
	name string
	fail func(op Op, name string) error
}

func (f *Faulty) wrap(file File, name string, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: file, torn: file, name: name, fail: f.Fail}, nil
}

// OpenWrite implements [FS].
func (f *Faulty) OpenWrite(name string) (File, error) {
	file, err := f.FS.OpenWrite(name)
	return f.wrap(file, name, err)
}

// OpenDirect implements [Director].
func (f *Faulty) OpenDirect(name string) (File, error) {
	file, err := openDirect(f.FS, name)
	if err != nil {
		return nil, err
	}
	torn, err := f.FS.OpenWrite(name)
	return &faultyFile{File: file, torn: torn, name: name, fail: f.Fail}, err
}

// Create implements [FS].
func (f *Faulty) Create(name string) (File, error) {
	if err := f.Fail(OpCreate, name); err != nil {
		return nil, err
	}
	file, err := f.FS.Create(name)
	return f.wrap(file, name, err)
}

// Rename implements [FS].
func (f *Faulty) Rename(oldname, newname string) error {
	if err := f.Fail(OpRename, newname); err != nil {
		return err
	}
	return f.FS.Rename(oldname, newname)
}

// Remove implements [FS].
func (f *Faulty) Remove(name string) error {
	if err := f.Fail(OpRemove, name); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

// SyncDir implements [FS].
func (f *Faulty) SyncDir(dir string) error {
	if err := f.Fail(OpSyncDir, dir); err != nil {
		return err
	}
	return f.FS.SyncDir(dir)
}

func (f *faultyFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.fail(OpWrite, f.name); err != nil {
		n, _ := f.torn.WriteAt(b[:len(b)/2], off)
		return n, err
	}
	return f.File.WriteAt(b, off)
}

func (f *faultyFile) SyncData() error {
	if err := f.fail(OpSync, f.name); err != nil {
		return err
	}
	return f.File.SyncData()
}

func (f *faultyFile) Sync() error {
	if err := f.fail(OpSync, f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.fail(OpTruncate, f.name); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

// Forgetful is a file system that leaves out the syncs that it is told to and
// reports success: what a program does that forgot them.
type Forgetful struct {
	FS
	Forget func(op Op, name string) bool
}

type forgetfulFile struct {
	File
	forget func() bool
}

func (f *Forgetful) wrap(file File, name string, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &forgetfulFile{File: file, forget: func() bool { return f.Forget(OpSync, name) }}, nil
}

// OpenWrite implements [FS].
func (f *Forgetful) OpenWrite(name string) (File, error) {
	file, err := f.FS.OpenWrite(name)
	return f.wrap(file, name, err)
}

// OpenDirect implements [Director].
func (f *Forgetful) OpenDirect(name string) (File, error) {
	file, err := openDirect(f.FS, name)
	return f.wrap(file, name, err)
}

// Create implements [FS].
func (f *Forgetful) Create(name string) (File, error) {
	file, err := f.FS.Create(name)
	return f.wrap(file, name, err)
}

// SyncDir implements [FS].
func (f *Forgetful) SyncDir(dir string) error {
	if f.Forget(OpSyncDir, dir) {
		return nil
	}
	return f.FS.SyncDir(dir)
}

func (f *forgetfulFile) SyncData() error {
	if f.forget() {
		return nil
	}
	return f.File.SyncData()
}

func (f *forgetfulFile) Sync() error {
	if f.forget() {
		return nil
	}
	return f.File.Sync()
}
