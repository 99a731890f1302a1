package main

import (
	"net"
	"os"
)

// notifyReady tells a service manager that started us that we are ready.
func notifyReady() {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer c.Close() //nolint:errcheck // said or not said
	_, _ = c.Write([]byte("READY=1"))
}
