package export

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bazil/p9srv"
)

// Errors of a Manager's calls.
var (
	ErrExists   = errors.New("there is an export of that name")
	ErrNotFound = errors.New("no such export")
)

// Manager runs exports: each a listener with the connections it took. One
// can be added or removed without disturbing the others.
type Manager struct {
	Root  *Root
	Log   *slog.Logger
	Msize uint32 // largest message on TCP; 0: the server's default

	locks p9srv.LockTable // record locks hold across all exports

	mu      sync.Mutex          // guards exports and closed
	exports map[string]*running // nil: about to listen
	closed  bool
}

// running is one export at work.
type running struct {
	spec   Spec
	l      net.Listener
	server *p9srv.Server
	cancel context.CancelFunc
	done   chan struct{}
	conns  atomic.Int64
	log    *slog.Logger
}

// Status is what there is to say of a running export.
type Status struct {
	Spec  Spec
	Addr  net.Addr // where it listens
	Conns int      // connections now
}

// LocalMsize is the largest message where both sides share a machine.
const LocalMsize = 16 << 20

// Add starts an export. The error is ErrExists, what is wrong with the spec,
// or why it cannot listen; then nothing is left of it.
func (m *Manager) Add(s Spec) error {
	if err := m.reserve(s.Name); err != nil {
		return fmt.Errorf("export %s: %w", s.Name, err)
	}
	l, err := s.listen()
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil && m.closed {
		l.Close()
		err = net.ErrClosed
	}
	if err != nil {
		delete(m.exports, s.Name)
		return fmt.Errorf("export %s: %w", s.Name, err)
	}
	m.exports[s.Name] = m.start(s, l)
	return nil
}

// reserve takes the name of an export that is about to listen.
func (m *Manager) reserve(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return net.ErrClosed
	}
	if _, ok := m.exports[name]; ok {
		return ErrExists
	}
	if m.exports == nil {
		m.exports = make(map[string]*running)
	}
	m.exports[name] = nil
	return nil
}

func (m *Manager) start(s Spec, l net.Listener) *running {
	msize := m.Msize
	if !strings.HasPrefix(s.Dial, "tcp!") {
		msize = LocalMsize
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{
		spec:   s,
		l:      l,
		server: &p9srv.Server{Tree: m.Root.Limit(s), MaxMsize: msize, Locks: &m.locks, Log: m.Log},
		cancel: cancel,
		done:   make(chan struct{}),
		log:    m.Log,
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	go r.run(ctx)
	return r
}

// run accepts until the listener is closed, then waits for its connections.
func (r *running) run(ctx context.Context) {
	defer close(r.done)
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		c, err := r.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			r.log.Warn("accept", "export", r.spec.Name, "err", err)
			if !temporary(ctx) {
				return
			}
			continue
		}
		if r.conns.Add(1) > int64(r.limit()) {
			r.log.Warn("connection refused: too many", "export", r.spec.Name, "limit", r.limit())
			c.Close()
			r.conns.Add(-1)
			continue
		}
		conns.Go(func() {
			defer r.conns.Add(-1)
			if err := r.server.ServeConn(ctx, c); err != nil && ctx.Err() == nil {
				r.log.Info("connection ended", "export", r.spec.Name, "err", err)
			}
		})
	}
}

func (r *running) limit() int {
	if r.spec.MaxConns > 0 {
		return r.spec.MaxConns
	}
	return DefaultMaxConns
}

// stop ends the export and waits until its connections are over or ctx is.
func (r *running) stop(ctx context.Context) {
	r.l.Close()
	r.cancel()
	select {
	case <-r.done:
	case <-ctx.Done():
	}
}

// Remove ends an export and its connections; ErrNotFound if there is none. It
// waits for them until ctx ends: that of a request which came through the
// export itself ends with its connection.
func (m *Manager) Remove(ctx context.Context, name string) error {
	m.mu.Lock()
	r := m.exports[name]
	if r != nil {
		delete(m.exports, name)
	}
	m.mu.Unlock()
	if r == nil {
		return fmt.Errorf("export %s: %w", name, ErrNotFound)
	}
	r.stop(ctx)
	return nil
}

// List tells of the running exports, by name.
func (m *Manager) List() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Status
	for _, r := range m.exports {
		if r == nil {
			continue
		}
		all = append(all, Status{Spec: r.spec, Addr: r.l.Addr(), Conns: int(r.conns.Load())})
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Spec.Name, b.Spec.Name) })
	return all
}

// Close ends all exports and waits for them.
func (m *Manager) Close() error {
	m.mu.Lock()
	m.closed = true
	all := m.exports
	m.exports = nil
	m.mu.Unlock()
	var wg sync.WaitGroup
	for _, r := range all {
		if r != nil {
			wg.Go(func() { r.stop(context.Background()) })
		}
	}
	wg.Wait()
	return nil
}

// temporary waits a little after an accept failed, for descriptors to come
// free, and is false once the export ends.
func temporary(ctx context.Context) bool {
	t := time.NewTimer(100 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
