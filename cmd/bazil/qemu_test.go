package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// vmLimit bounds the life of a virtual machine under software emulation,
// which takes a few seconds where nothing else runs.
const vmLimit = 3 * time.Minute

// kernelTree is a folder with a Linux kernel in boot and its modules in
// lib/modules: $BAZIL_KERNEL, or the machine's own.
func kernelTree(t *testing.T) (vmlinuz, modules string) {
	t.Helper()
	root := os.Getenv("BAZIL_KERNEL")
	images, _ := filepath.Glob(filepath.Join(root, "/boot/vmlinuz-*"))
	for _, image := range images {
		_, release, _ := strings.Cut(filepath.Base(image), "-")
		modules := filepath.Join(root, "/lib/modules", release, "kernel")
		if _, err := os.Stat(filepath.Join(modules, "net/9p/9pnet_virtio.ko")); err == nil {
			return image, modules
		}
	}
	const what = "no kernel with 9P for QEMU: unpack a linux-image package of Debian and name the folder in BAZIL_KERNEL"
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
	return "", ""
}

// vmModules are what the virtual machine needs to mount a 9P tree, in order.
var vmModules = strings.Fields(`drivers/virtio/virtio_ring drivers/virtio/virtio drivers/virtio/virtio_pci_modern_dev
	drivers/virtio/virtio_pci_legacy_dev drivers/virtio/virtio_pci fs/netfs/netfs fs/fscache/fscache
	net/9p/9pnet net/9p/9pnet_virtio fs/9p/9p`)

// vmInit mounts as README.md says and works there. What it prints last is
// QEMU's console's last line.
const vmInit = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
for m in MODULES; do insmod /$m.ko; done
(
	set -e
	MOUNT
	cd /mnt
	test "$(cat from-host)" = 'hello, guest'
	echo 'hello, host' > from-guest
	mkdir -p a/b; mv from-guest a/b/renamed
	ln -s a/b/renamed link; cat link
	dd if=/dev/urandom of=large bs=64k count=16 2>/dev/null
	md5sum large > large.md5
	md5sum -c large.md5
	rm from-host
	sync
)
echo "VM-EXIT $?"
poweroff -f
`

// TestReadmeQEMU gives a mounted volume to a virtual machine by virtio.
func TestReadmeQEMU(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a virtual machine")
	}
	needFUSE(t)
	for _, p := range [][2]string{{"qemu-system-x86_64", "qemu-system-x86"}, {"cpio", "cpio"}, {"busybox", "busybox-static"}} {
		need(t, p[0], "the package "+p[1])
	}
	vmlinuz, modules := kernelTree(t)
	d := newDevice(t)
	dir := d.mount(t, "files", "--fuse")
	must(t, os.WriteFile(filepath.Join(dir, "from-host"), []byte("hello, guest\n"), 0o644))

	host, mount, _ := strings.Cut(readme(t, "qemu")[0], "\n")
	program, virtfs, _ := strings.Cut(host, " ... ")
	args := strings.Fields("-accel tcg -m 512 -nographic -no-reboot -nic none -kernel " + vmlinuz + " -initrd " + initramfs(t, modules, mount))
	args = append(args, "-append", "console=ttyS0 quiet panic=-1 rdinit=/init")
	args = append(args, strings.Fields(strings.Replace(virtfs, "path=/srv/files,", "path="+dir+",", 1))...)
	ctx, cancel := context.WithTimeout(context.Background(), vmLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "VM-EXIT 0") {
		t.Fatalf("%v\n%s", err, out)
	}
	wantFile(t, filepath.Join(dir, "a/b/renamed"), "hello, host\n")
	shell(t, dir, "md5sum -c large.md5; test ! -e from-host; test $(readlink link) = a/b/renamed")
}

// initramfs makes the root of the virtual machine: busybox, modules, init.
func initramfs(t *testing.T, modules, mount string) string {
	t.Helper()
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "bin"), 0o755))
	must(t, os.Mkdir(filepath.Join(root, "mnt"), 0o755))
	must(t, os.Mkdir(filepath.Join(root, "dev"), 0o755))
	busybox, err := exec.LookPath("busybox")
	must(t, err)
	files := map[string]string{busybox: "bin/busybox"}
	var names []string
	for _, m := range vmModules {
		names = append(names, filepath.Base(m))
		files[filepath.Join(modules, m+".ko")] = filepath.Base(m) + ".ko"
	}
	for from, to := range files {
		b, err := os.ReadFile(from)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(root, to), b, 0o755))
	}
	init := strings.NewReplacer("MODULES", strings.Join(names, " "), "MOUNT", strings.TrimSpace(mount)).Replace(vmInit)
	must(t, os.WriteFile(filepath.Join(root, "init"), []byte(init), 0o755))
	shell(t, root, "find . | cpio -o -H newc --quiet > $OUT/initrd; mv $OUT/initrd "+root+".cpio")
	return root + ".cpio"
}
