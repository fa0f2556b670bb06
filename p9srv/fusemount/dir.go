package fusemount

import (
	"context"
	"strings"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"bazil/p9srv"
	"bazil/p9srv/client"
)

// plusAtOnce is how many entries are looked up at once.
const plusAtOnce = 32

// maxName is the longest name the kernel takes in a directory.
const maxName = 1024

// OpenDir is opendir(3).
func (b *bridge) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return b.onNode(cancel, &in.InHeader, func(ctx context.Context, s *session, n *inode, fid *client.Fid) error {
		f, err := fid.Walk(ctx)
		if err != nil {
			return err
		}
		if err = f.Open(ctx, syscall.O_RDONLY|syscall.O_DIRECTORY); err != nil {
			b.clunk(f)
			return err
		}
		h := b.newHandle(s, n, f, syscall.O_RDONLY|syscall.O_DIRECTORY)
		out.Fh = b.handles.add(h)
		return nil
	})
}

// ReadDir is getdents(2).
func (b *bridge) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return b.onHandle(cancel, &in.InHeader, in.Fh, func(ctx context.Context, _ *session, h *handle, fid *client.Fid) error {
		if err := h.take(ctx); err != nil {
			return err
		}
		defer h.give()
		if err := h.list.seek(ctx, fid, in.Offset); err != nil {
			return err
		}
		for h.list.more() {
			e := h.list.batch[h.list.at]
			if goodName(e.Name) && !out.AddDirEntry(dirEntry(e)) {
				break
			}
			h.list.at++
		}
		return nil
	})
}

// goodName says whether the kernel takes a name in a directory; it refuses
// the whole listing for one that it does not.
func goodName(name string) bool {
	return name != "" && len(name) <= maxName && !strings.ContainsAny(name, "/\x00")
}

func dirEntry(e p9srv.Dirent) fuse.DirEntry {
	return fuse.DirEntry{Name: e.Name, Ino: e.QID.Path, Mode: uint32(e.Type) << 12, Off: e.Offset}
}

// ReadDirPlus is getdents(2) with a lookup of every entry, which the kernel
// asks for when it expects a stat of them.
func (b *bridge) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return b.onHandle(cancel, &in.InHeader, in.Fh, func(ctx context.Context, s *session, h *handle, fid *client.Fid) error {
		if err := h.take(ctx); err != nil {
			return err
		}
		defer h.give()
		if err := h.list.seek(ctx, fid, in.Offset); err != nil {
			return err
		}
		var slots []plusEntry
		for h.list.more() {
			e := h.list.batch[h.list.at]
			if goodName(e.Name) {
				slot := out.AddDirLookupEntry(dirEntry(e))
				if slot == nil {
					break
				}
				slots = append(slots, plusEntry{e.Name, slot})
			}
			h.list.at++
		}
		b.lookupAll(ctx, s, h.n, slots)
		return nil
	})
}

// plusEntry is one entry of an answer to READDIRPLUS.
type plusEntry struct {
	name string
	out  *fuse.EntryOut
}

// lookupAll looks entries up. One that cannot be stays without attributes,
// and the kernel asks for it when it needs it.
func (b *bridge) lookupAll(ctx context.Context, s *session, dir *inode, slots []plusEntry) {
	d, err := b.hold(ctx, s, dir)
	if err != nil {
		return
	}
	defer b.letGo(dir)
	next := make(chan plusEntry)
	var under sync.WaitGroup
	for range min(plusAtOnce, len(slots)) {
		under.Go(func() {
			for e := range next {
				b.lookupPlus(ctx, s, dir, d, e)
			}
		})
	}
	for _, e := range slots {
		if e.name != "." && e.name != ".." {
			next <- e
		}
	}
	close(next)
	under.Wait()
}

func (b *bridge) lookupPlus(ctx context.Context, s *session, dir *inode, d *client.Fid, e plusEntry) {
	epoch := b.epoch(dir)
	fid, err := d.Walk(ctx, e.name)
	if err != nil {
		return
	}
	if _, err = b.answerEntry(ctx, s, dir, e.name, fid, epoch, e.out); err != nil {
		*e.out = fuse.EntryOut{}
	}
}

// ReleaseDir is closedir(3).
func (b *bridge) ReleaseDir(in *fuse.ReleaseIn) {
	if h := b.handles.remove(in.Fh); h != nil {
		h.close()
	}
}

// FsyncDir is fsync(2) of a directory.
func (b *bridge) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return b.Fsync(cancel, in)
}
