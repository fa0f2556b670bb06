package export

import (
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"
	"time"

	"bazil/p9srv"
	"bazil/store/vol"
)

// serverUID and serverGID own what nobody else is known to own.
var (
	serverUID = uint32(os.Getuid())
	serverGID = uint32(os.Getgid())
	started   = time.Now().UnixNano()
)

// view is the tree as one attach sees it: what the export shows, and who is
// looking. All nodes of the attach share it.
type view struct {
	root  *Root
	spec  Spec
	who   p9srv.User
	super bool     // the client's user 0, who may do everything
	uid   uint32   // as files here know it
	gids  []uint32 // that uid has here
	top   uint64   // inode number of the attached directory of a volume; 0: above volumes
}

func newView(r *Root, s Spec, who p9srv.User) *view {
	v := &view{root: r, spec: s, who: who}
	uid := who.UID
	if uid == p9srv.NoUID {
		uid = uidOf(who.Name)
	}
	v.super = uid == 0
	v.uid, _ = v.ids(uid, 0)
	if !v.super {
		v.gids = groupsOf(v.uid)
	}
	return v
}

// uidOf is the number of a user's name; a name that nobody has here is taken
// for the server's own user, the only one who can reach its socket.
func uidOf(name string) uint32 {
	if u, err := user.Lookup(name); err == nil {
		if n, err := strconv.ParseUint(u.Uid, 10, 32); err == nil {
			return uint32(n)
		}
	}
	return serverUID
}

func groupsOf(uid uint32) []uint32 {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return nil
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil
	}
	var gids []uint32
	for _, id := range ids {
		if n, err := strconv.ParseUint(id, 10, 32); err == nil {
			gids = append(gids, uint32(n))
		}
	}
	return gids
}

// ctl returns the ctl directory, or nil where the view has none.
func (v *view) ctl() p9srv.Node {
	if v.spec.NoCtl || v.spec.ReadOnly || v.root.Ctl == nil {
		return nil
	}
	return v.root.Ctl(v.who, func() p9srv.Node { return rootNode{v} })
}

// ids translates between the numbers that files have here and those that the
// export's clients know them by, both ways: the server's own and the owner's
// change places, so that two users are never one.
func (v *view) ids(uid, gid uint32) (uint32, uint32) {
	o := v.spec.Owner
	if o == nil {
		return uid, gid
	}
	return swap(uid, serverUID, o.UID), swap(gid, serverGID, o.GID)
}

func swap(id, a, b uint32) uint32 {
	switch id {
	case a:
		return b
	case b:
		return a
	}
	return id
}

// Permission bits as access(2) asks for them.
const (
	mayExec  = 1
	mayWrite = 2
	mayRead  = 4
)

// may checks the mode of a file against what the user wants of it: EACCES.
func (v *view) may(a vol.Attr, want uint32) error {
	if v.super {
		return nil
	}
	bits := a.Mode
	switch {
	case v.uid == a.UID:
		bits >>= 6
	case v.inGroup(a.GID):
		bits >>= 3
	}
	if bits&want != want {
		return syscall.EACCES
	}
	return nil
}

// gid is the group of what the user makes where the client names none.
func (v *view) gid() uint32 {
	if len(v.gids) > 0 {
		return v.gids[0]
	}
	return serverGID
}

func (v *view) inGroup(gid uint32) bool { return slices.Contains(v.gids, gid) }

// strangerTo says whether the user is known here and not in a group. Of a user
// whom only the client knows, the client knows the groups.
func (v *view) strangerTo(gid uint32) bool {
	return !v.super && len(v.gids) > 0 && !v.inGroup(gid)
}

// owns says whether the user may change a file's mode and times: EPERM.
func (v *view) owns(a vol.Attr) error {
	if v.super || v.uid == a.UID {
		return nil
	}
	return syscall.EPERM
}

// writable is EROFS on a read-only export.
func (v *view) writable() error {
	if v.spec.ReadOnly {
		return syscall.EROFS
	}
	return nil
}

// statfs gives the figures of the filesystem below, with the volume's files.
func (v *view) statfs(files uint64) (p9srv.Statfs, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(v.root.Dir, &s); err != nil {
		return p9srv.Statfs{}, err
	}
	return p9srv.Statfs{
		Type:    0x01021997, // V9FS_MAGIC
		BSize:   uint32(s.Bsize),
		Blocks:  s.Blocks,
		BFree:   s.Bfree,
		BAvail:  s.Bavail,
		Files:   files + s.Ffree,
		FFree:   s.Ffree,
		NameLen: 255,
	}, nil
}

// writes says whether open(2) flags ask for writing.
func writes(flags uint32) bool {
	return flags&syscall.O_ACCMODE != syscall.O_RDONLY || flags&syscall.O_TRUNC != 0
}

func reads(flags uint32) bool {
	return flags&syscall.O_ACCMODE != syscall.O_WRONLY
}
