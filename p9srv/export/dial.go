package export

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/mdlayher/vsock"
)

// Dial connects to a server at a dial string as a client writes it: unix!/path,
// tcp!host!port or vsock!cid!port. A virtual machine's host is cid 2.
func Dial(ctx context.Context, dial string) (net.Conn, error) {
	network, rest, _ := strings.Cut(dial, "!")
	switch network {
	case "unix":
		if strings.HasPrefix(rest, "/") {
			return DialUnix(ctx, rest)
		}
		return nil, fmt.Errorf("dial string %q: the socket's path must begin with a slash", dial)
	case "tcp":
		host, port, ok := strings.Cut(rest, "!")
		if _, err := strconv.ParseUint(port, 10, 16); !ok || err != nil {
			return nil, fmt.Errorf("dial string %q: want tcp!HOST!PORT, the port a number", dial)
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	case "vsock":
		return dialVsock(dial, rest)
	}
	return nil, fmt.Errorf("dial string %q: want unix!/PATH, tcp!HOST!PORT or vsock!CID!PORT", dial)
}

// dialVsock needs no context: the kernel tries for two seconds.
func dialVsock(dial, rest string) (net.Conn, error) {
	c, p, ok := strings.Cut(rest, "!")
	cid, err1 := strconv.ParseUint(c, 10, 32)
	port, err2 := strconv.ParseUint(p, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return nil, fmt.Errorf("dial string %q: want vsock!CID!PORT in numbers", dial)
	}
	conn, err := vsock.Dial(uint32(cid), uint32(port), nil)
	if err != nil {
		return nil, err // it names what it dialled
	}
	return conn, nil
}
