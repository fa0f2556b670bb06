package fusemount

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Unmount takes the FUSE mount at dir away, whichever process made it, also a
// stale one whose process is gone. Errors: dir is not a FUSE mount; it is in
// use (syscall.EBUSY); it is another user's.
func Unmount(dir string) error {
	dir, err := resolve(dir)
	if err != nil {
		return err
	}
	kind, _, err := MountedAt(dir)
	switch {
	case err != nil:
		return fmt.Errorf("unmounting %s: %w", dir, err)
	case kind == "":
		return fmt.Errorf("%s is not a mount point", dir)
	case kind != "fuse" && !strings.HasPrefix(kind, "fuse."):
		return fmt.Errorf("%s is a mount of type %s, not one of bazil", dir, kind)
	}
	stale := isStale(dir)
	err = unmount(dir, false)
	if stale && errors.Is(err, syscall.EBUSY) {
		err = unmount(dir, true) // whoever uses it gets nothing from it any more
	}
	return err
}

// isStale says whether the process behind the mount at dir is gone. stat(2)
// may still be answered by the kernel, from what it keeps; statfs(2) is not.
func isStale(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == syscall.ENOTCONN
}

// unmount takes the mount at dir away; lazily: even if it is in use.
func unmount(dir string, lazily bool) error {
	if os.Geteuid() != 0 {
		return fusermount(dir, lazily)
	}
	flags := unix.UMOUNT_NOFOLLOW
	if lazily {
		flags |= unix.MNT_DETACH | unix.MNT_FORCE
	}
	return explain(dir, unix.Unmount(dir, flags))
}

// fusermount unmounts for a user who is not root.
func fusermount(dir string, lazily bool) error {
	bin, err := fusermountPath()
	if err != nil {
		return err
	}
	arg := "-u"
	if lazily {
		arg = "-uz"
	}
	var said bytes.Buffer
	cmd := exec.Command(bin, arg, "--", dir)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stderr = &said
	if err = cmd.Run(); err == nil {
		return nil
	}
	if strings.Contains(said.String(), "busy") {
		return explain(dir, syscall.EBUSY)
	}
	return fmt.Errorf("unmounting %s: %s", dir, strings.TrimSpace(said.String()))
}

// fusermountPath finds the helper that may mount and unmount for users.
func fusermountPath() (string, error) {
	for _, name := range []string{"fusermount3", "fusermount"} {
		if bin, err := exec.LookPath(name); err == nil {
			return bin, nil
		}
		if bin, err := exec.LookPath("/bin/" + name); err == nil {
			return bin, nil
		}
	}
	return "", errors.New("fusermount3 is not installed (the package is called fuse3)")
}

// explain is err of an unmount, with what to do.
func explain(dir string, err error) error {
	switch err {
	case nil:
		return nil
	case syscall.EBUSY:
		return fmt.Errorf("%s is in use: close the files in it and leave it with cd (fuser -vm %s shows who): %w", dir, dir, err)
	case syscall.EINVAL:
		return fmt.Errorf("%s is not a mount point", dir)
	}
	return fmt.Errorf("unmounting %s: %w", dir, err)
}

// MountedAt is the type of the filesystem mounted at dir, an absolute path
// without symlinks, and what it is mounted from; "" if there is none. A mount
// that does not answer is not asked.
func MountedAt(dir string) (kind, source string, err error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	return findMount(f, dir)
}

// findMount looks dir up in a table as proc_pid_mountinfo(5) has it: field 5
// is the mount point, type and source follow a lone "-". The last mount is on
// top.
func findMount(table io.Reader, dir string) (kind, source string, err error) {
	lines := bufio.NewScanner(table)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		place, types, _ := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(place)
		if len(fields) < 5 || unescape(fields[4]) != dir {
			continue
		}
		kind, source, _ = strings.Cut(types, " ")
		source, _, _ = strings.Cut(source, " ")
		source = unescape(source)
	}
	return kind, source, lines.Err()
}

// unescape undoes the octal escapes of blanks and backslashes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// checkFUSE says what is missing on this machine before anything is tried.
func checkFUSE(o Options) error {
	if _, err := os.Stat("/dev/fuse"); errors.Is(err, os.ErrNotExist) {
		return errors.New("/dev/fuse is missing: load the kernel module (modprobe fuse), or give the container the device")
	}
	if os.Geteuid() == 0 {
		return nil
	}
	if _, err := fusermountPath(); err != nil {
		return err
	}
	if err := unix.Access("/dev/fuse", unix.R_OK|unix.W_OK); err != nil {
		return fmt.Errorf("/dev/fuse: %w: only root may mount here; give users the device with chmod 666 /dev/fuse", err)
	}
	if conf, err := os.ReadFile("/etc/fuse.conf"); o.AllowOther && (err != nil || !allowsOther(string(conf))) {
		return errors.New("allow_other needs a line user_allow_other in /etc/fuse.conf")
	}
	return nil
}

// allowsOther says whether a fuse.conf lets users mount with allow_other.
func allowsOther(conf string) bool {
	for line := range strings.Lines(conf) {
		if strings.TrimSpace(line) == "user_allow_other" {
			return true
		}
	}
	return false
}
