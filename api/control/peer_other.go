//go:build !linux

package control

import (
	"io/fs"
	"net"
	"os"
)

// peerUID trusts the mode of the socket, which only its owner may open.
func peerUID(*net.UnixConn) (int, error) { return os.Getuid(), nil }

func ownerOf(fs.FileInfo) (uid int, known bool) { return 0, false }
