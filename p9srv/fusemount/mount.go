package fusemount

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"bazil/p9srv"
	"bazil/p9srv/client"
)

// Options say what is mounted and how. Only Dial must be set.
type Options struct {
	// Dial connects to the server: at first, and after a lost connection.
	Dial func(ctx context.Context) (net.Conn, error)

	Aname      string        // the tree to attach; "": the server's root
	Uname      string        // who attaches; "": the name of the process's user
	ReadOnly   bool          // nothing can be changed through the mount
	AllowOther bool          // other users may use the mount too, as the files' modes allow
	Msize      uint32        // largest 9P message asked for, in bytes; 0: 1 MiB of data
	FSName     string        // what df and mount show as the source; "": "bazil"
	Patience   time.Duration // how long requests wait for a server that went away; 0: 30 s
	Log        *slog.Logger  // nil: slog.Default()

	// Events, if set, is called with every new connection, and the function
	// it returns for as long as that lasts: it waits for changes, of which
	// the first to be told are those after Events returned. While events
	// come, the kernel keeps attributes, names and pages for long. nil, or a
	// failure of it: the server is asked every time.
	Events func(ctx context.Context, c *client.Conn) (Next, error)
}

// Next waits for changes of the tree. inos are the QID.Paths of files whose
// data or attributes changed and of directories whose entries changed; all:
// any may have changed. None: somebody waits until everything is dealt with
// that was told before. Next is called again when it is. ErrStopping is no end.
type Next = func(ctx context.Context) (inos []uint64, all bool, err error)

// Mounted is a tree that is mounted.
type Mounted struct {
	dir    string
	bridge *bridge
	server *fuse.Server
	stop   context.CancelFunc // ends what works in the background
	work   sync.WaitGroup
	done   chan struct{} // closed when all is over
}

const (
	fsType  = "bazil" // the kernel says fuse.bazil
	maxData = 1 << 20 // most bytes of data in one request

	maxBackground = 64 // requests for reading ahead and writing back at once
	readAheadKiB  = 1024
)

// Mount mounts a tree at dir and returns when it can be used; ctx is for that
// only. Errors say what is wrong with dir, with the server or with FUSE on
// this machine.
func Mount(ctx context.Context, dir string, o Options) (*Mounted, error) {
	dir, err := mountPoint(dir)
	if err != nil {
		return nil, err
	}
	if err = checkFUSE(o); err != nil {
		return nil, fmt.Errorf("mounting on %s: %w", dir, err)
	}
	m := &Mounted{dir: dir, done: make(chan struct{})}
	if err = m.connect(ctx, o); err != nil {
		return nil, fmt.Errorf("mounting on %s: %w", dir, err)
	}
	if err = m.mount(o); err != nil {
		m.bridge.link.close()
		return nil, fmt.Errorf("mounting on %s: %w", dir, err)
	}
	if err = m.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("mounting on %s: %w", dir, err), m.Close())
	}
	return m, nil
}

// connect makes the bridge and its first session.
func (m *Mounted) connect(ctx context.Context, o Options) error {
	l := newLink(o)
	s, err := l.connect(ctx)
	if err != nil {
		return err
	}
	l.set(s)
	m.bridge = newBridge(l, l.log)
	if o.Events != nil {
		m.bridge.events = newWatcher(m.bridge, o.Events)
	}
	m.bridge.inodes.setRoot(s.root.QID())
	return nil
}

func newLink(o Options) *link {
	l := &link{dial: o.Dial, aname: o.Aname, uname: o.Uname, uid: uint32(os.Getuid()),
		msize: o.Msize, patience: o.Patience, log: o.Log}
	if l.uname == "" {
		l.uname = userName()
	}
	if l.msize == 0 {
		l.msize = maxData + 4096
	}
	if l.patience == 0 {
		l.patience = 30 * time.Second
	}
	if l.log == nil {
		l.log = slog.Default()
	}
	return l
}

// userName is the process's user, by number if it has no name.
func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
}

// mount tells the kernel; requests are not answered yet.
func (m *Mounted) mount(o Options) error {
	msize := int(m.bridge.link.session().conn.Msize())
	data := min((msize-p9srv.WriteHeader-1)&^4095, maxData)
	opts := &fuse.MountOptions{
		Name:          fsType,
		FsName:        o.FSName,
		AllowOther:    o.AllowOther,
		Options:       []string{"default_permissions"},
		DirectMount:   os.Geteuid() == 0,
		MaxWrite:      data,
		MaxReadAhead:  data,
		MaxBackground: maxBackground,
		EnableLocks:   true,
		DisableSplice: true,
		// Without events the kernel would ask again for what it got by
		// READDIRPLUS.
		DisableReadDirPlus:   o.Events == nil,
		EnableSymlinkCaching: o.Events != nil,
		ExtraCapabilities: fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_HANDLE_KILLPRIV_V2 | fuse.CAP_READDIRPLUS_AUTO |
			fuse.CAP_ASYNC_DIO,
		Logger: slog.NewLogLogger(m.bridge.log.Handler(), slog.LevelDebug),
	}
	if opts.FsName == "" {
		opts.FsName = fsType
	}
	if o.ReadOnly {
		opts.Options = append(opts.Options, "ro")
	}
	server, err := fuse.NewServer(m.bridge, m.dir, opts)
	if err != nil {
		if isStale(m.dir) {
			e := unmount(m.dir, true) // it got as far as that
			err = errors.Join(err, e)
		}
		return fmt.Errorf("FUSE: %w", err)
	}
	m.server = server
	return nil
}

// start answers requests until the tree is unmounted. Events come when the
// kernel has the root's attributes and not before: an invalidation makes it
// throw away those that are on their way, and until it has any, nobody but root
// may do anything in the tree.
func (m *Mounted) start() error {
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	b := m.bridge
	m.work.Go(func() { b.link.run(ctx, b.restore) })
	m.work.Go(func() { b.runSettle(ctx) })
	rooted := make(chan struct{})
	if w := b.events; w != nil {
		var k notifier = m.server
		w.kernel.Store(&k)
		m.work.Go(func() {
			select {
			case <-rooted:
				w.run(ctx)
			case <-ctx.Done():
			}
		})
		m.work.Go(func() { w.runCompare(ctx) })
	}
	go m.serve()
	if err := unix.Stat(m.dir, new(unix.Stat_t)); err != nil {
		return fmt.Errorf("the mount does not answer: %w", err)
	}
	close(rooted)
	if err := m.server.WaitMount(); err != nil {
		return fmt.Errorf("FUSE: %w", err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(m.dir, &st); err != nil {
		return fmt.Errorf("the mount does not answer: %w", err)
	}
	m.readAhead()
	return nil
}

// serve is the life of the mount.
func (m *Mounted) serve() {
	defer close(m.done)
	m.server.Serve()
	m.stop()
	m.bridge.ops.cancelAll()
	m.bridge.ops.watchers.Wait()
	m.work.Wait()
	m.bridge.link.close()
}

// readAhead lets the kernel read ahead more than its 128 KiB, where we may
// say so.
func (m *Mounted) readAhead() {
	var st unix.Stat_t
	if unix.Stat(m.dir, &st) != nil {
		return
	}
	file := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(st.Dev), unix.Minor(st.Dev))
	if err := os.WriteFile(file, []byte(strconv.Itoa(readAheadKiB)), 0); err != nil {
		m.bridge.log.Debug("fusemount: reading ahead stays as it is", "err", err)
	}
}

// Wait returns when the tree is not mounted any more and all is cleaned up.
func (m *Mounted) Wait() error {
	<-m.done
	return nil
}

// Dir is where the tree is mounted, as an absolute path.
func (m *Mounted) Dir() string { return m.dir }

// Unmount takes the mount away and cleans up. It fails, with everything as
// before, while files in it are in use.
func (m *Mounted) Unmount() error {
	if m.over() {
		return nil
	}
	if err := unmount(m.dir, false); err != nil {
		return err
	}
	m.bridge.ops.cancelAll()
	return m.Wait()
}

// Close unmounts in any case. Where files are still in use, the mount
// vanishes from sight and they get errors from then on: at once if the
// process is root's, else when the process ends.
func (m *Mounted) Close() error {
	if m.over() {
		return nil
	}
	err := unmount(m.dir, false)
	if errors.Is(err, syscall.EBUSY) {
		err = unmount(m.dir, true)
	}
	m.bridge.ops.cancelAll()
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 && !m.overSoon() {
		return fmt.Errorf("%s is unmounted, but programs still use files in it", m.dir)
	}
	return m.Wait()
}

func (m *Mounted) over() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

// overSoon waits a moment for the end.
func (m *Mounted) overSoon() bool {
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-m.done:
		return true
	case <-t.C:
		return false
	}
}

// mountPoint is dir as an absolute path, checked.
func mountPoint(dir string) (string, error) {
	dir, err := resolve(dir)
	if err != nil {
		return "", err
	}
	st, err := os.Stat(dir)
	switch {
	case isStale(dir):
		return "", fmt.Errorf("%s is a stale mount: its server process is gone; unmount it first (bazil volume unmount %s, or fusermount3 -u %s)", dir, dir, dir)
	case err != nil:
		return "", fmt.Errorf("mount point: %w", err)
	case !st.IsDir():
		return "", fmt.Errorf("mount point: %s is not a directory", dir)
	case unix.Access(dir, unix.W_OK) != nil:
		return "", fmt.Errorf("mount point: FUSE lets users mount only on directories that they may write to, which %s is not", dir)
	}
	return dir, nil
}

// resolve makes dir absolute and follows the symlinks before its last name,
// which may be a stale mount.
func resolve(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("mount point: %w", err)
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		return real, nil
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", fmt.Errorf("mount point: %w", err)
	}
	return filepath.Join(parent, filepath.Base(abs)), nil
}
