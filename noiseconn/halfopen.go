package noiseconn

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

// halfOpen holds the connections whose handshake is not finished.
type halfOpen struct {
	max int

	mu     sync.Mutex // guards all below
	conns  []waiting  // oldest first
	closed bool
}

type waiting struct {
	conn net.Conn
	from netip.Prefix
}

// add takes c in. If there are max already, the oldest of the address that has
// most of them is closed for it.
func (h *halfOpen) add(c net.Conn) bool {
	from := network(c.RemoteAddr())
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	if len(h.conns) >= h.max {
		i := h.victim(from)
		h.conns[i].conn.Close()
		h.conns = slices.Delete(h.conns, i, i+1)
	}
	h.conns = append(h.conns, waiting{c, from})
	return true
}

// victim returns the oldest connection of the network that has most of them,
// the newcomer from the network extra counted in.
func (h *halfOpen) victim(extra netip.Prefix) int {
	count := map[netip.Prefix]int{extra: 1}
	for _, w := range h.conns {
		count[w.from]++
	}
	best := 0
	for i, w := range h.conns {
		if count[w.from] > count[h.conns[best].from] {
			best = i
		}
	}
	return best
}

// remove takes c out and says whether it was still in.
func (h *halfOpen) remove(c net.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.conns, func(w waiting) bool { return w.conn == c })
	if i < 0 {
		return false
	}
	h.conns = slices.Delete(h.conns, i, i+1)
	return true
}

// closeAll closes the connections and takes in no more.
func (h *halfOpen) closeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, w := range h.conns {
		w.conn.Close()
	}
	h.conns = nil
}

// network returns what one host can easily have many addresses of: the
// address itself, in IPv6 its /64. Other kinds of addresses are one network.
func network(a net.Addr) netip.Prefix {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := t.AddrPort().Addr().Unmap()
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits) // an address without bits is one network too
	return p
}
