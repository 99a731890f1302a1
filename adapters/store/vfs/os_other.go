//go:build !linux

package vfs

// SyncData makes the content survive.
func (f osFile) SyncData() error { return f.Sync() }
