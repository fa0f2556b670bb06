package noiseconn

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// unackedLimit is how long sent data may stay unacknowledged.
const unackedLimit = 2 * time.Minute

// bound sets unackedLimit on a TCP connection. A failure leaves the kernel's
// own limit, which is longer.
func bound(c net.Conn) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unackedLimit.Milliseconds()))
	})
}
