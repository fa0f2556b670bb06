package peer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"bazil/p9srv"
	"bazil/store/vol"
)

// LocalStorage is the backend every device has: its own chunks.
const LocalStorage = "local"

// Client asks one other device. It connects when it is first needed, and
// again when a connection was lost. Its methods may be called by many
// goroutines at once; all end with their ctx, and with an error that says in
// the other device's words why something was refused (ErrDenied, ErrAbsent).
type Client struct {
	control *link   // small questions: they must not wait behind content
	bulk    []*link // content; the first width of them are used
	least   int     // of width

	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex    // guards all below, and wg.Go against Close
	load   []int         // questions in flight of each of bulk
	freed  chan struct{} // closed and replaced when one of them is over
	closed bool
	wg     sync.WaitGroup // of fetches
}

// Options are a Client's settings; zero values work.
type Options struct {
	// Bulk is how many connections carry content at least, beside the one for
	// everything else; more of them do where a round trip is long. Zero: 2.
	Bulk int
}

// The kernel lets a few MiB of a connection be under way, so that a long round
// trip takes more connections to fill: one for every perLinkTrip.
const (
	maxBulk     = 12
	perLinkTrip = 8 * time.Millisecond
)

// New returns a Client that connects with dial.
func New(dial Dialer, o Options) *Client {
	if o.Bulk <= 0 {
		o.Bulk = 2
	}
	c := &Client{control: newLink(dial, readSize), least: o.Bulk}
	for range max(o.Bulk, maxBulk) {
		c.bulk = append(c.bulk, newLink(dial, bulkRead))
	}
	c.load = make([]int, len(c.bulk))
	c.freed = make(chan struct{})
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Close ends the connections and all calls, and waits for its goroutines.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.control.close()
	for _, l := range c.bulk {
		l.close()
	}
	c.wg.Wait()
	return nil
}

// spawn runs fn in a goroutine that Close waits for; false: it is too late.
func (c *Client) spawn(fn func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.wg.Go(fn)
	}
	return !c.closed
}

// takeBulk waits for the connection for the next question for content: the first
// that has little to do, so that few of them are made where few are needed.
// The caller calls done when the question is answered.
func (c *Client) takeBulk(ctx context.Context) (l *link, done func(), err error) {
	for {
		l, done, freed := c.tryBulk()
		if l != nil {
			return l, done, nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// tryBulk is takeBulk, but for waiting: freed is closed when it may be tried
// again.
func (c *Client) tryBulk() (l *link, done func(), freed <-chan struct{}) {
	width := c.width()
	c.mu.Lock()
	defer c.mu.Unlock()
	best := 0
	for i := 1; i < width && c.load[best] >= perLink; i++ {
		if c.load[i] < c.load[best] {
			best = i
		}
	}
	if c.load[best] >= perLink {
		return nil, nil, c.freed
	}
	c.load[best]++
	return c.bulk[best], func() { c.doneBulk(best) }, nil
}

// doneBulk ends a question to one of bulk.
func (c *Client) doneBulk(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.load[i]--
	close(c.freed)
	c.freed = make(chan struct{})
}

// width is how many connections carry content.
func (c *Client) width() int {
	s, _ := c.control.working()
	if s == nil {
		return c.least
	}
	return min(max(c.least, int(s.trip/perLinkTrip)), len(c.bulk))
}

// Connect makes sure that the other device answers.
func (c *Client) Connect(ctx context.Context) error {
	_, _, err := c.control.session(ctx)
	return err
}

// Prepare begins to connect for content where the other device is far, so that
// who is about to ask for some does not wait for that as well. What fails is
// tried again by who asks.
func (c *Client) Prepare() {
	c.spawn(func() {
		s, _, err := c.control.session(c.ctx)
		if err != nil || s.trip < farTrip {
			return
		}
		var wg sync.WaitGroup
		for _, l := range c.bulk[:c.width()] {
			wg.Go(func() { l.session(c.ctx) })
		}
		wg.Wait()
	})
}

// Volumes lists the volumes that the other device lets this one see.
func (c *Client) Volumes(ctx context.Context) ([]string, error) { return c.list(ctx, "volumes") }

// Backends lists the storage that the other device lets this one use.
func (c *Client) Backends(ctx context.Context) ([]string, error) { return c.list(ctx, "storage") }

func (c *Client) list(ctx context.Context, dir string) ([]string, error) {
	s, _, err := c.control.session(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	err = s.await(ctx, func() (err error) {
		names, err = s.list(ctx, dir)
		return err
	})
	if err == nil {
		return names, nil
	}
	return nil, describe(err, "listing the peer's "+dir)
}

// maxListed is how many entries of a directory of volumes or backends are
// taken.
const maxListed = 1 << 16

func (s *session) list(ctx context.Context, dir string) (names []string, err error) {
	fid, err := s.root.Walk(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer fid.Clunk(context.WithoutCancel(ctx))
	if err := fid.Open(ctx, syscall.O_RDONLY); err != nil {
		return nil, err
	}
	total := 0
	for off := uint64(0); ; {
		list, err := fid.ReadDir(ctx, off, readSize)
		if err != nil || len(list) == 0 {
			return names, err
		}
		if total += len(list); total > maxListed {
			return nil, lied(errors.New("a listing without end"))
		}
		for _, e := range list {
			names = appendListed(names, e)
		}
		off = list[len(list)-1].Offset
	}
}

// appendListed adds an entry's name if it can be one.
func appendListed(names []string, e p9srv.Dirent) []string {
	if !validName(e.Name) || e.Name == ".." { // "." is no valid name
		return names
	}
	return append(names, e.Name)
}

// VolumeInfo asks what the other device's volume of that name is.
func (c *Client) VolumeInfo(ctx context.Context, name string) (vol.Info, error) {
	return c.Volume(name).Info(ctx)
}

// single asks for one record of kind want and gives its body to parse.
func (l *link) single(ctx context.Context, q question, want kind, parse func(body []byte) error) error {
	n := 0
	err := l.ask(ctx, q, func(k kind, body []byte) error {
		if n++; k != want || n > 1 {
			return unexpected(k)
		}
		if err := parse(body); err != nil {
			return lied(err)
		}
		return nil
	})
	if err == nil && n == 0 {
		err = lied(fmt.Errorf("an answer without a record of kind %q", byte(want)))
	}
	return err
}
