package fusemount

import (
	"context"
	"log/slog"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"bazil/p9srv/client"
)

// maxIdleFids is how many fids the server keeps for files that no request
// and no open file needs.
const maxIdleFids = 8192

// bridge answers the kernel's requests over a link. What it does not have
// answers ENOSYS: the kernel then does it another way (LSEEK, COPY_FILE_RANGE,
// ACCESS, TMPFILE) or says that it is not supported.
//
// Its mutexes are leaves: none is held while another is taken, while the
// server is asked, or while the kernel is told of an invalidation.
type bridge struct {
	fuse.RawFileSystem

	ops     ops
	link    *link
	inodes  *table
	handles *handles
	locks   *lockBook
	events  *watcher          // nil: nothing may be cached
	noWait  context.Context   // ended
	due     map[*inode]uint64 // files whose version is to be asked for, and their moves; inodes.mu guards it
	more    chan struct{}     // holds one token when something is due
	log     *slog.Logger
}

var _ fuse.RawFileSystem = (*bridge)(nil)

func newBridge(l *link, log *slog.Logger) *bridge {
	b := &bridge{
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		ops:           ops{stop: make(chan struct{})},
		link:          l,
		handles:       newHandles(),
		locks:         newLockBook(),
		log:           log,
		due:           make(map[*inode]uint64),
		more:          make(chan struct{}, 1),
	}
	b.inodes = newTable(maxIdleFids, b.clunk)
	var cancel context.CancelFunc
	b.noWait, cancel = context.WithCancel(context.Background())
	cancel()
	return b
}

// String names the filesystem's type.
func (b *bridge) String() string { return "bazil" }

// keepFor is how long the kernel may keep what it is told.
func (b *bridge) keepFor() time.Duration {
	if b.events == nil || !b.events.live() {
		return 0
	}
	return eventsKeep
}

// onNode runs fn for the node of a request, with its fid.
func (b *bridge) onNode(cancel <-chan struct{}, in *fuse.InHeader,
	fn func(ctx context.Context, s *session, n *inode, fid *client.Fid) error) fuse.Status {
	n := b.inodes.get(in.NodeId)
	if n == nil {
		return fuse.Status(syscall.ESTALE)
	}
	o := b.ops.begin(cancel, in.Pid, brief)
	defer o.end()
	return status(b.link.call(o, func(s *session) error {
		fid, err := b.hold(o, s, n)
		if err != nil {
			return err
		}
		defer b.letGo(n)
		return fn(o, s, n, fid)
	}))
}

// onHandle runs fn for the open file of a request.
func (b *bridge) onHandle(cancel <-chan struct{}, in *fuse.InHeader, fh uint64,
	fn func(ctx context.Context, s *session, h *handle, fid *client.Fid) error) fuse.Status {
	h := b.handles.get(fh)
	if h == nil {
		return fuse.EBADF
	}
	w := brief
	if h.stream {
		w = long
	}
	o := b.ops.begin(cancel, in.Pid, w)
	defer o.end()
	return status(b.link.call(o, func(s *session) error {
		fid, err := h.use(o, s)
		if err != nil {
			return err
		}
		for {
			err = fn(o, s, h, fid)
			now := h.now.Load()
			if err == nil || now.sess != s || now.fid == fid {
				return err
			}
			fid = now.fid // the other was clunked meanwhile
		}
	}))
}
