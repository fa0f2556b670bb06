package noiseconn

import (
	"net"
	"syscall"
	"time"
)

// errReset is a TCP reset: the other side closed with our bytes unread.
const errReset = syscall.ECONNRESET

// keepAlive notices a silent peer that is gone within about 90 seconds.
func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 15 * time.Second, Count: 4}
}
