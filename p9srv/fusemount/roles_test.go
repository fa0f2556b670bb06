package fusemount

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"bazil/p9srv"
)

// serveRole serves the folder args[0] on the socket args[1].
func serveRole(args []string) error {
	os.Remove(args[1])
	l, err := net.Listen("unix", args[1])
	if err != nil {
		return err
	}
	ready()
	srv := &p9srv.Server{Tree: newDiskTree(args[0])}
	return srv.Serve(context.Background(), l)
}

// mountRole mounts the server at the socket args[0] on args[1].
func mountRole(args []string) error {
	m, err := Mount(context.Background(), args[1], Options{Dial: dialer(args[0])})
	if err != nil {
		return err
	}
	ready()
	untilInputEnds()
	return m.Unmount()
}

// readRole reads the file args[0] once and says what it got.
func readRole(args []string) error {
	fd, err := unix.Open(args[0], unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	ready()
	b := make([]byte, 4096)
	n, err := unix.Read(fd, b)
	fmt.Printf("%q %v\n", b[:max(n, 0)], err)
	return nil
}

// lockRole locks a file and holds the lock: FILE HOW START LENGTH, HOW is
// read, write or flock.
func lockRole(args []string) error {
	fd, err := unix.Open(args[0], unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	fmt.Println("open")
	if args[1] == "flock" {
		err = unix.Flock(fd, unix.LOCK_EX)
	} else {
		err = unix.FcntlFlock(uintptr(fd), unix.F_SETLKW, flockOf(args))
	}
	if err != nil {
		return err
	}
	ready()
	untilInputEnds()
	return nil
}

func flockOf(args []string) *unix.Flock_t {
	l := &unix.Flock_t{Type: unix.F_RDLCK}
	if args[1] == "write" {
		l.Type = unix.F_WRLCK
	}
	l.Start, _ = strconv.ParseInt(args[2], 10, 64)
	l.Len, _ = strconv.ParseInt(args[3], 10, 64)
	return l
}

// mmapRole turns the letters of the file args[0] to upper case through a
// shared mapping, and compares with what read(2) says. With args[1] it maps
// descriptor 3. (In a process of its own: a page fault holds up the garbage
// collector of the process that must answer it.)
func mmapRole(args []string) error {
	f, err := os.NewFile(3, args[0]), error(nil)
	if len(args) == 1 {
		f, err = os.OpenFile(args[0], os.O_RDWR, 0)
	}
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	want := strings.ToUpper(string(m))
	copy(m, want)
	if got, err := os.ReadFile(args[0]); err != nil || string(got) != want {
		return fmt.Errorf("read(2) does not see the mapping: %v", err)
	}
	if err := unix.Msync(m, unix.MS_SYNC); err != nil {
		return err
	}
	ready()
	untilInputEnds()
	return unix.Munmap(m)
}

// statRole stats args[0] while SIGUSR1 comes, which it catches.
func statRole(args []string) error {
	got := make(chan os.Signal, 1)
	signal.Notify(got, unix.SIGUSR1)
	runtime.LockOSThread()
	fmt.Println(unix.Gettid())
	var st unix.Stat_t
	err := unix.Stat(args[0], &st) // package unix does not try again after EINTR
	if err != nil {
		return err
	}
	<-got
	ready()
	return nil
}

// userRole goes to a mount namespace where every user may open /dev/fuse, as
// is usual, and works there as a plain user: args are a socket, a mount point
// and a folder for the device.
func userRole(args []string) error {
	dev := filepath.Join(args[2], "fuse")
	err := errors.Join(unix.Mknod(dev, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 229))), os.Chmod(dev, 0o666))
	if err != nil {
		return err
	}
	c := exec.Command("/proc/self/exe", args...)
	c.Env = append(os.Environ(), role+"=namespace")
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	return c.Run()
}

// namespaceRole is userRole in its namespace.
func namespaceRole(args []string) error {
	if err := unix.Mount(filepath.Join(args[2], "fuse"), "/dev/fuse", "", unix.MS_BIND, ""); err != nil {
		return err
	}
	c := exec.Command("/proc/self/exe", args...)
	c.Env = append(os.Environ(), role+"=session")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	return c.Run()
}

// sessionRole is what the plain user does.
func sessionRole(args []string) error {
	o := Options{Dial: dialer(args[0]), AllowOther: true}
	conf, _ := os.ReadFile("/etc/fuse.conf")
	if allowsOther(string(conf)) {
		o.Dial = func(context.Context) (net.Conn, error) { return nil, errors.New("user_allow_other is there") }
	}
	if _, err := Mount(context.Background(), args[1], o); err == nil || !strings.Contains(err.Error(), "user_allow_other") {
		return fmt.Errorf("allow_other without leave: %v", err)
	}
	o = Options{Dial: dialer(args[0])}
	m, err := Mount(context.Background(), args[1], o)
	if err != nil {
		return err
	}
	f, err := os.Open(args[1])
	if err != nil {
		return err
	}
	if err = m.Unmount(); !errors.Is(err, syscall.EBUSY) {
		return fmt.Errorf("unmounting in use: %v", err)
	}
	f.Close()
	if err = makeRole(args[1:]); err == nil {
		err = os.Chdir("/")
	}
	return errors.Join(err, m.Unmount())
}

func dialer(sock string) func(ctx context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", sock)
	}
}
