package esdb

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestTheOwnerOfASocketIsRead(t *testing.T) {
	t.Parallel()
	table := filepath.Join(t.TempDir(), "tcp")
	text := `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 10 1 0000000000000000 100 0 0 10 0
   1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1234        0 11 1 0000000000000000 20 4 30 10 -1
   2: 0100007F:C352 0100007F:1F90 06 00000000:00000000 03:00000D5D 00000000     0        0 0 3 0000000000000000
`
	if err := os.WriteFile(table, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if uid, ok := socketOwner(table, "0100007F:C350", "0100007F:1F90"); !ok || uid != 1234 {
		t.Errorf("owner %d, %v", uid, ok)
	}
	if _, ok := socketOwner(table, "0100007F:C351", "0100007F:1F90"); ok {
		t.Error("a socket that is not there has an owner")
	}
	if uid, ok := socketOwner(table, "0100007F:C352", "0100007F:1F90"); ok { // whoever left it was not root
		t.Errorf("a connection that nobody has belongs to %d", uid)
	}
	if _, ok := socketOwner(table+"x", "", ""); ok {
		t.Error("a table that is not there has sockets")
	}
}

func TestOnlyLoopbackIsKnownByItsUser(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Logf("%s: %v", addr, err) // a machine without IPv6
			continue
		}
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if !sameUser(c.LocalAddr(), c.RemoteAddr()) {
			t.Errorf("%s: this process is not of its own user", addr)
		}
		if sameUser(c.RemoteAddr(), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}) {
			t.Errorf("%s: a connection that is not there is ours", addr)
		}
		_, _ = c.Close(), l.Close()
	}
	if sameUser(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2}) || sameUser(&net.UnixAddr{}, &net.UnixAddr{}) {
		t.Error("somebody from elsewhere is of our user")
	}
}
