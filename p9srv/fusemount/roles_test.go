package fusemount

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

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
	srv := &p9srv.Server{Tree: &diskTree{dir: args[0]}}
	return srv.Serve(context.Background(), l)
}

// mountRole mounts the server at the socket args[0] on args[1].
func mountRole(args []string) error {
	var d net.Dialer
	m, err := Mount(context.Background(), args[1], Options{Dial: func(ctx context.Context) (net.Conn, error) {
		return d.DialContext(ctx, "unix", args[0])
	}})
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
// shared mapping, and compares with what read(2) says. (In a process of its
// own: a page fault holds up the garbage collector of the process that must
// answer it.)
func mmapRole(args []string) error {
	f, err := os.OpenFile(args[0], os.O_RDWR, 0)
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
