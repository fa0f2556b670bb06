#!/bin/sh
# The first process of the user-mode Linux guest. Its root is the host's own
# filesystem; all that the tests write goes to memory.
export PATH=$GUEST_GOROOT/bin:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin HOME=/mnt TMPDIR=/mnt/tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
ln -s /proc/self/fd /dev/fd
mount -t tmpfs -o size=1600M mnt /mnt
mkdir /mnt/tmp
modules=$(echo /usr/lib/uml/modules/*/kernel)
for m in fs/netfs/netfs fs/fscache/fscache net/9p/9pnet net/9p/9pnet_fd fs/9p/9p \
	net/vmw_vsock/vsock net/vmw_vsock/vmw_vsock_virtio_transport_common net/vmw_vsock/vsock_loopback \
	fs/fuse/fuse; do
	busybox insmod "$modules/$m.ko"
done
busybox ip link set lo up
cp "$GUEST_BINARY" /mnt/guest.test
cd "$GUEST_DIR"
# Go preempts by signals. One that comes during getdents64(2) ends that early, and
# v9fs then goes on there with what is left of the answer, wherever one seeks. So
# the tests do without; what they start does not.
BAZIL_GUEST=1 GODEBUG=asyncpreemptoff=1 /mnt/guest.test -test.v -test.run "$GUEST_RUN" -test.timeout "$GUEST_LIMIT" -full="$GUEST_FULL"
echo "GUEST-EXIT $?"
busybox poweroff -f
