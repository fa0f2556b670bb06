package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// v9fsMsize is the largest message that v9fs takes over a socket.
const v9fsMsize = 1 << 20

// v9fsPossible says why v9fs cannot mount that tree here.
func v9fsPossible(aname string) error {
	if os.Geteuid() != 0 {
		return errors.New("only root mounts with v9fs; the FUSE bridge is for all")
	}
	if strings.Contains(aname, ",") {
		return fmt.Errorf("v9fs cannot mount %q: its options are separated by commas", aname)
	}
	if !haveV9fs() {
		return errors.New("this kernel has no v9fs (modprobe 9p does not bring it)")
	}
	return nil
}

// haveV9fs tells whether the kernel has v9fs and its socket transport, and
// has it load them if it can.
func haveV9fs() bool {
	if !hasFilesystem(v9fsType) {
		exec.Command("modprobe", v9fsType).Run()
	}
	return hasFilesystem(v9fsType)
}

func hasFilesystem(name string) bool {
	table, err := os.ReadFile("/proc/filesystems")
	return err == nil && strings.Contains(string(table), "\t"+name+"\n")
}

// mountV9fs has the kernel mount the tree over a connection that we make: the
// socket's path may be too long for the kernel's own trans=unix.
func (f *mountFlags) mountV9fs(g *Globals, aname, dir string) error {
	conn, err := g.dial(g.ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	flags, options := f.v9fsOptions(aname)
	var failed error
	err = raw.Control(func(fd uintptr) {
		data := fmt.Sprintf("trans=fd,rfdno=%d,wfdno=%d,%s", fd, fd, options)
		failed = unix.Mount(ourName, dir, v9fsType, flags, data)
	})
	if failed != nil {
		return fmt.Errorf("mount on %s with v9fs: %w", dir, failed)
	}
	return err
}

// v9fsOptions are the flags and the data of mount(2).
func (f *mountFlags) v9fsOptions(aname string) (uintptr, string) {
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	data := []string{"version=9p2000.L", "access=client", fmt.Sprintf("msize=%d", v9fsMsize), "aname=" + aname}
	// Without a cache v9fs has no shared mappings, which SQLite's WAL wants;
	// this one holds nothing but mapped pages.
	if !slices.ContainsFunc(f.Option, func(o string) bool { return strings.HasPrefix(o, "cache=") }) {
		data = append(data, "cache=mmap")
	}
	if u, err := user.Current(); err == nil {
		data = append(data, "uname="+u.Username)
	}
	if f.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	for _, o := range f.Option {
		switch o {
		case "suid":
			flags &^= unix.MS_NOSUID
		case "dev":
			flags &^= unix.MS_NODEV
		case "noexec":
			flags |= unix.MS_NOEXEC
		case "noatime":
			flags |= unix.MS_NOATIME
		case "ro":
			flags |= unix.MS_RDONLY
		case "allow_other", nonempty: // v9fs does not know otherwise
		default:
			data = append(data, o)
		}
	}
	return flags, strings.Join(data, ",")
}
