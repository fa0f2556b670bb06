package main

import (
	"context"
	"encoding/xml"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"bazil/p9srv/client"
	"bazil/p9srv/export"
)

// recipe runs a script of README.md for a device, changed by pairs of old and
// new words that a test must have its own of.
func (d *device) recipe(t *testing.T, script string, change ...string) {
	t.Helper()
	for i := 0; i < len(change); i += 2 {
		if !strings.Contains(script, change[i]) {
			t.Fatalf("README.md has no %q in\n%s", change[i], script)
		}
	}
	cmd := exec.Command("bash", "-euc", strings.NewReplacer(change...).Replace(script))
	cmd.Env = append(os.Environ(), "DIR="+d.dir, "BAZIL_DATA_DIR="+d.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s%s", err, script, out)
	}
}

// need skips a test where a program is missing, but never under CI.
func need(t *testing.T, program, where string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v: %s has it", err, where)
		}
		t.Skipf("%v: %s has it", err, where)
	}
}

// TestInGuestReadmeMounts mounts one volume in all the ways that want the
// guest's kernel, and looks at a file of one mount through the next.
func TestInGuestReadmeMounts(t *testing.T) {
	inGuest(t)
	d := newDevice(t)
	d.run(t, "volume", "create", "files")
	folder := func(name string) string {
		dir := filepath.Join("/mnt", name)
		must(t, os.MkdirAll(dir, 0o755))
		t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
		return dir
	}
	mounts := []string{folder("files"), folder("tcp"), folder("fstab"), folder("docker"), folder("vsock")}
	for _, block := range readme(t, "guest") {
		d.recipe(t, block)
	}
	table := filepath.Join(t.TempDir(), "fstab")
	must(t, os.WriteFile(table, []byte(readme(t, "fstab")[0]), 0o644))
	d.recipe(t, "mount --fstab "+table+" /mnt/fstab") // the guest's /etc is the host's
	dockerMounts(t, readme(t, "docker")[0], "/mnt/docker")
	d.recipe(t, readme(t, "vsock")[0], "vsock!2!", "vsock!1!") // CID 1 is the machine itself
	for i, dir := range mounts {
		if got := mountType(t, dir); got != v9fsType {
			t.Errorf("at %s there is a %s", dir, got)
		}
		must(t, os.WriteFile(filepath.Join(dir, "f"), []byte("by "+dir), 0o644))
		wantFile(t, filepath.Join(mounts[(i+1)%len(mounts)], "f"), "by "+dir)
	}
	for _, dir := range mounts {
		d.run(t, "unmount", dir)
	}
}

// dockerMounts does what a container engine's local driver does for a volume
// that was made by that line: mount(2) with those three options.
func dockerMounts(t *testing.T, line, dir string) {
	t.Helper()
	opts := make(map[string]string)
	for _, m := range regexp.MustCompile(`--opt (\w+)=(\S+)`).FindAllStringSubmatch(line, -1) {
		opts[m[1]] = m[2]
	}
	must(t, syscall.Mount(opts["device"], dir, opts["type"], 0, opts["o"]))
}

func TestReadmeFUSE(t *testing.T) {
	needFUSE(t)
	d := newDevice(t)
	d.run(t, "volume", "create", "files")
	dir := filepath.Join(t.TempDir(), "files")
	must(t, os.Mkdir(dir, 0o755))
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	d.recipe(t, readme(t, "fuse")[0], "~/files", dir)
	if got := mountType(t, dir); got != fuseType {
		t.Errorf("there is a %s", got)
	}
	d.run(t, "unmount", dir)
}

// TestReadmeUnits has systemd check the units and the server run under what
// they say: with the socket as descriptor 3.
func TestReadmeUnits(t *testing.T) {
	need(t, "systemd-analyze", "the package systemd")
	home, units := t.TempDir(), t.TempDir()
	bazil, err := exec.LookPath("bazil")
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(home, "go/bin"), 0o755))
	must(t, os.Symlink(bazil, filepath.Join(home, "go/bin/bazil")))
	verify := []string{"--user", "verify", "--man=no"}
	for _, kind := range []string{"service", "socket"} {
		unit := filepath.Join(units, "bazil."+kind)
		must(t, os.WriteFile(unit, []byte(readme(t, kind)[0]), 0o644))
		verify = append(verify, unit)
	}
	check := exec.Command("systemd-analyze", verify...)
	check.Env = append(os.Environ(), "HOME="+home, "XDG_RUNTIME_DIR="+home)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("systemd-analyze: %v\n%s", err, out)
	}

	listen := regexp.MustCompile(`ListenStream=(\S+):\d+\n`).FindStringSubmatch(readme(t, "socket")[0])
	l, err := net.Listen("tcp", listen[1]+":0")
	must(t, err)
	defer l.Close()
	passed, err := l.(*net.TCPListener).File()
	must(t, err)
	defer passed.Close()
	d := &device{dir: filepath.Join(t.TempDir(), "data"), files: []*os.File{passed}}
	d.run(t, "create")
	for again := range 2 { // the second time the export is there from the start
		d.start(t)
		if again == 0 {
			d.run(t, "volume", "create", "files")
			d.run(t, "export", "add", "activated", "fd!3", "volume=files")
		}
		talk(t, "tcp!127.0.0.1!"+l.Addr().String()[len(listen[1])+1:], 0)
		must(t, d.kill(syscall.SIGTERM))
	}
}

// talk writes a file over 9P at a dial string as user uid, reads it back and
// sees that it is that user's.
func talk(t *testing.T, dial string, uid uint32) {
	t.Helper()
	ctx := context.Background()
	nc, err := export.Dial(ctx, dial)
	must(t, err)
	c, err := client.New(ctx, nc, client.Options{})
	must(t, err)
	defer c.Close()
	root, err := c.Attach(ctx, "", "", uid)
	must(t, err)
	must(t, put(root, "hello", []byte("over 9P")))
	got, err := get(root, "hello", 7)
	must(t, err)
	if string(got) != "over 9P" {
		t.Fatalf("at %s a file reads %q", dial, got)
	}
	f, err := root.Walk(ctx, "hello")
	must(t, err)
	a, err := f.Attr(ctx)
	must(t, err)
	must(t, f.Remove(ctx))
	if a.UID != uid {
		t.Errorf("at %s a file of user %d is of %d", dial, uid, a.UID)
	}
}

// TestReadmeFirecracker dials the socket as a virtual machine monitor does
// when its guest dials vsock.
func TestReadmeFirecracker(t *testing.T) {
	d := newDevice(t)
	d.run(t, "volume", "create", "files")
	dir := t.TempDir()
	d.recipe(t, readme(t, "firecracker")[0], "/run/vm", dir)
	// The volume is the server's user's, whom the guest knows as 1000.
	talk(t, "unix!"+filepath.Join(dir, "v.sock")+"_5640", 1000)
}

// filesystem is libvirt's element of that name.
type filesystem struct {
	Type       string `xml:"type,attr"`
	AccessMode string `xml:"accessmode,attr"`
	Multidevs  string `xml:"multidevs,attr"`
	Source     struct {
		Dir string `xml:"dir,attr"`
	} `xml:"source"`
	Target struct {
		Dir string `xml:"dir,attr"`
	} `xml:"target"`
}

// TestReadmeLibvirt has libvirt check the element in a domain, and compares it
// with QEMU's words for the same.
func TestReadmeLibvirt(t *testing.T) {
	element := readme(t, "libvirt")[0]
	var fs filesystem
	must(t, xml.Unmarshal([]byte(element), &fs))
	if fs.Type != "mount" || fs.AccessMode != "passthrough" {
		t.Errorf("%+v is not what security_model=none is", fs)
	}
	want := "-virtfs local,path=" + fs.Source.Dir + ",mount_tag=" + fs.Target.Dir + ",security_model=none,multidevs=" + fs.Multidevs
	if !strings.Contains(readme(t, "qemu")[0], want) {
		t.Errorf("QEMU's line is not %s", want)
	}
	need(t, "virt-xml-validate", "the package libvirt-clients")
	domain := filepath.Join(t.TempDir(), "domain.xml")
	must(t, os.WriteFile(domain, []byte("<domain type='kvm'><name>vm</name><memory>1</memory><os><type>hvm</type></os><devices>"+
		element+"</devices></domain>"), 0o644))
	if out, err := exec.Command("virt-xml-validate", domain, "domain").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
