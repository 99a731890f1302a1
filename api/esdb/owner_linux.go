package esdb

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// sameUser says whether the socket at the other end of a connection over
// loopback belongs to the user that this process runs as.
func sameUser(theirs, ours net.Addr) bool {
	them, ok1 := theirs.(*net.TCPAddr)
	us, ok2 := ours.(*net.TCPAddr)
	if !ok1 || !ok2 || !them.IP.IsLoopback() || !us.IP.IsLoopback() {
		return false
	}
	table := "/proc/net/tcp6"
	if them.IP.To4() != nil {
		table = "/proc/net/tcp"
	}
	uid, ok := socketOwner(table, kernelAddr(them), kernelAddr(us))
	return ok && uid == os.Geteuid()
}

// established is how the kernel writes that a connection is open. One that its
// process has left belongs to nobody, which reads as root.
const established = "01"

// socketOwner finds the user of the open socket with these ends.
func socketOwner(table, local, remote string) (uid int, ok bool) {
	f, err := os.Open(table)
	if err != nil {
		return 0, false
	}
	defer f.Close() //nolint:errcheck // it was for reading
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 8 || fields[1] != local || fields[2] != remote || fields[3] != established {
			continue
		}
		uid, err = strconv.Atoi(fields[7])
		return uid, err == nil
	}
	return 0, false
}

// kernelAddr is an address as the kernel prints it: words of four bytes in the
// machine's order.
func kernelAddr(a *net.TCPAddr) string {
	ip := a.IP.To4()
	if ip == nil {
		ip = a.IP.To16()
	}
	var b strings.Builder
	for ; len(ip) >= 4; ip = ip[4:] {
		fmt.Fprintf(&b, "%08X", binary.NativeEndian.Uint32(ip))
	}
	fmt.Fprintf(&b, ":%04X", a.Port)
	return b.String()
}
