package main

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// wire joins network namespaces of the kernel's, each of which has one TUN
// device, with a network that loses and delays packets and can be cut: the
// test passes them on itself, so that this works where the kernel has no netem.
type wire struct {
	places []*place
	busy   sync.WaitGroup

	mu    sync.Mutex // guards all below
	rand  *rand.Rand
	loss  float64
	delay time.Duration
	cut   map[int]bool // places that nothing comes to or from
}

// place is a namespace. Its thread, on which programs are started, stays in it.
type place struct {
	tun *os.File
	run chan func()
}

// newWire makes n places with the addresses 10.77.0.1 and so on; the test is
// skipped where that is not allowed.
func newWire(t *testing.T, n int, seed uint64) *wire {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil || os.Getuid() != 0 {
		t.Skip("it takes root and iproute2 to make network namespaces")
	}
	w := &wire{rand: rand.New(rand.NewPCG(seed, 1)), cut: map[int]bool{}}
	for i := range n {
		p := &place{run: make(chan func())}
		made := make(chan error)
		go p.serve(i, made)
		if err := <-made; err != nil {
			t.Skipf("no network namespace with a TUN device: %v", err)
		}
		t.Cleanup(func() { close(p.run) })
		w.places = append(w.places, p)
	}
	for i := range w.places {
		w.busy.Go(func() { w.carry(i) })
	}
	t.Cleanup(func() {
		for _, p := range w.places {
			p.tun.Close()
		}
		w.busy.Wait()
	})
	return w
}

// serve keeps a thread in a namespace of its own, and runs functions on it.
func (p *place) serve(i int, made chan<- error) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err == nil {
		p.tun, err = openTUN()
	}
	for _, line := range [][]string{
		{"link", "set", "lo", "up"},
		{"addr", "add", placeAddr(i) + "/24", "dev", "tun0"},
		{"link", "set", "tun0", "mtu", "9000", "up"},
	} {
		if err == nil {
			err = exec.Command("ip", line...).Run()
		}
	}
	made <- err
	for f := range p.run {
		f()
	}
}

func placeAddr(i int) string { return "10.77.0." + strconv.Itoa(i+1) }

func openTUN() (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq("tun0")
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "tun0"), nil
}

// in runs f on the thread of a place.
func (w *wire) in(i int, f func() error) error {
	done := make(chan error)
	w.places[i].run <- func() { done <- f() }
	return <-done
}

// set changes how the network is. Only one place is cut off at a time; -1: none.
func (w *wire) set(loss float64, delay time.Duration, cut int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loss, w.delay, w.cut = loss, delay, map[int]bool{cut: true}
}

// fate says whether a packet arrives, and when.
func (w *wire) fate(from, to int) (time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut[from] || w.cut[to] || w.rand.Float64() < w.loss {
		return 0, false
	}
	return w.delay, true
}

// carry passes on what a place sends.
func (w *wire) carry(from int) {
	buf := make([]byte, 1<<16)
	for {
		n, err := w.places[from].tun.Read(buf)
		if err != nil {
			return
		}
		if n < 20 || buf[0]>>4 != 4 { // IPv6 looks for routers
			continue
		}
		to := int(buf[19]) - 1
		if to < 0 || to >= len(w.places) {
			continue
		}
		delay, ok := w.fate(from, to)
		if !ok {
			continue
		}
		packet := append([]byte(nil), buf[:n]...)
		time.AfterFunc(delay, func() { w.places[to].tun.Write(packet) })
	}
}
