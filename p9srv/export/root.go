package export

import (
	"context"
	"slices"
	"strings"
	"syscall"

	"bazil/p9srv"
	"bazil/store/vol"
)

// Volumes is where a Root finds what it serves.
type Volumes interface {
	// Volume returns the volume of that name and its number, which no other
	// volume of this device has or had: it keeps inode numbers apart.
	Volume(name string) (v *vol.Volume, number uint16, ok bool)
	VolumeNames() []string
}

// Root is the tree that a device serves: a directory with ctl and the volumes.
type Root struct {
	Volumes Volumes
	// Ctl returns the ctl directory for a user, given how to find the
	// directory above it; nil: there is none.
	Ctl func(who p9srv.User, parent func() p9srv.Node) p9srv.Node
	// Dir is a folder on the filesystem that holds the data, for statfs.
	Dir string
}

// Attach serves everything: aname "" or "/" is the root, "ctl" the ctl
// directory, "VOLUME" or "VOLUME/sub/dir" that directory.
func (r *Root) Attach(ctx context.Context, who p9srv.User, aname string) (p9srv.Node, error) {
	return r.Limit(Spec{}).Attach(ctx, who, aname)
}

// Limit returns the part of the tree that an export shows. Where it shows one
// volume, or a directory of one, anames are paths below that.
func (r *Root) Limit(s Spec) p9srv.Tree { return limit{r, s} }

type limit struct {
	root *Root
	spec Spec
}

func (l limit) Attach(ctx context.Context, who p9srv.User, aname string) (p9srv.Node, error) {
	v := newView(l.root, l.spec, who)
	path := strings.Split(l.spec.Volume+"/"+aname, "/")
	path = slices.DeleteFunc(path, func(s string) bool { return s == "" })
	var n p9srv.Node = rootNode{v}
	for _, name := range path {
		if name == "." || name == ".." {
			n.Release()
			return nil, &p9srv.Error{Errno: syscall.EINVAL, Text: "an aname has no . or .."}
		}
		next, err := n.Walk(ctx, name)
		n.Release()
		if err != nil {
			return nil, err
		}
		n = next
	}
	if top, ok := n.(*volNode); ok {
		v.top = top.n.Ino()
	}
	return n, nil
}

// rootPath is the root's QID path. Paths below 1<<volShift are the root's and
// the ctl tree's.
const rootPath = 1

// rootNode is the root directory as one view shows it.
type rootNode struct{ v *view }

const ctlName = "ctl"

func (n rootNode) QID() p9srv.QID {
	return p9srv.QID{Type: p9srv.QTDir, Path: rootPath}
}

func (n rootNode) Attr(context.Context) (p9srv.Attr, error) {
	uid, gid := n.v.ids(serverUID, serverGID)
	return p9srv.Attr{Mode: syscall.S_IFDIR | 0o555, UID: uid, GID: gid, NLink: 2, MTime: started, CTime: started, ATime: started, BTime: started}, nil
}

func (n rootNode) Walk(ctx context.Context, name string) (p9srv.Node, error) {
	switch name {
	case "..":
		return n, nil
	case ctlName:
		if ctl := n.v.ctl(); ctl != nil {
			return ctl, nil
		}
		return nil, syscall.ENOENT
	}
	v, number, ok := n.v.root.Volumes.Volume(name)
	if !ok {
		return nil, syscall.ENOENT
	}
	return newVolNode(n.v, v, number, v.Root()), nil
}

func (n rootNode) Open(_ context.Context, flags uint32) (p9srv.File, error) {
	if writes(flags) {
		return nil, syscall.EISDIR
	}
	return &rootDir{readOnlyDir: readOnlyDir{}, n: n}, nil
}

func (n rootNode) Release() {}

func (n rootNode) Statfs(context.Context) (p9srv.Statfs, error) { return n.v.statfs(0) }

// rootDir is the root opened.
type rootDir struct {
	readOnlyDir
	n       rootNode
	entries []p9srv.Dirent
}

func (d *rootDir) ReadDir(ctx context.Context, off uint64, yield func(p9srv.Dirent) bool) error {
	if off == 0 || d.entries == nil {
		d.entries = d.n.entries(ctx)
	}
	for i := off; i < uint64(len(d.entries)); i++ {
		if !yield(d.entries[i]) {
			break
		}
	}
	return nil
}

func (n rootNode) entries(ctx context.Context) []p9srv.Dirent {
	names := n.v.root.Volumes.VolumeNames()
	slices.Sort(names)
	if n.v.ctl() != nil {
		names = append([]string{ctlName}, names...)
	}
	all := make([]p9srv.Dirent, 0, len(names))
	for _, name := range names {
		c, err := n.Walk(ctx, name)
		if err != nil {
			continue
		}
		all = append(all, p9srv.Dirent{QID: c.QID(), Offset: uint64(len(all) + 1), Type: syscall.DT_DIR, Name: name})
		c.Release()
	}
	return all
}

// readOnlyDir is the file part of an opened directory: there is none.
type readOnlyDir struct{}

func (readOnlyDir) ReadAt(context.Context, []byte, int64) (int, error)  { return 0, syscall.EISDIR }
func (readOnlyDir) WriteAt(context.Context, []byte, int64) (int, error) { return 0, syscall.EISDIR }
func (readOnlyDir) Sync(context.Context, bool) error                    { return nil }
func (readOnlyDir) Close() error                                        { return nil }
