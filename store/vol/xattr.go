package vol

import (
	"context"
	"maps"
	"slices"
	"strings"
	"syscall"

	"bazil/merge"
)

// The bounds of extended attributes, as Linux has them, and one on all of a
// file's together.
const (
	xattrNameMax  = 255
	xattrValueMax = 64 << 10
	xattrTotalMax = 1 << 20
)

// The flags of SetXattr, as setxattr(2) has them.
const (
	XattrCreate  = 1
	XattrReplace = 2
)

// GetXattr returns the value of an extended attribute: ENODATA if there is
// none of that name. The value must not be changed.
func (n *Node) GetXattr(name string) ([]byte, error) {
	xs, err := n.xattrs()
	if err != nil {
		return nil, err
	}
	value, ok := xs[name]
	if !ok || name == flagsName {
		return nil, syscall.ENODATA
	}
	return value, nil
}

// ListXattr returns the names of all extended attributes, sorted.
func (n *Node) ListXattr() ([]string, error) {
	xs, err := n.xattrs()
	if err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(xs))
	return slices.DeleteFunc(names, func(name string) bool { return name == flagsName }), nil
}

// xattrs returns a map that is not changed any more.
func (n *Node) xattrs() (map[string][]byte, error) {
	n.v.mu.Lock()
	defer n.v.unlock()
	in, err := n.inode()
	if err != nil {
		return nil, err
	}
	return in.rec().attr().Xattrs, nil
}

// SetXattr sets an extended attribute of the user namespace. Errors:
// EOPNOTSUPP (another namespace), EEXIST and ENODATA by flags, ERANGE (name
// too long), E2BIG (value too large), ENOSPC (too much for one file).
func (n *Node) SetXattr(ctx context.Context, name string, value []byte, flags uint32) error {
	switch {
	case !strings.HasPrefix(name, "user.") || strings.ContainsRune(name, 0):
		return syscall.EOPNOTSUPP
	case len(name) > xattrNameMax || name == "user.":
		return syscall.ERANGE
	case len(value) > xattrValueMax:
		return syscall.E2BIG
	}
	return n.changeXattrs(ctx, func(xs map[string][]byte) error {
		_, there := xs[name]
		if there && flags&XattrCreate != 0 {
			return syscall.EEXIST
		}
		if !there && flags&XattrReplace != 0 {
			return syscall.ENODATA
		}
		if !there && len(xs) >= merge.MaxXattrs {
			return syscall.ENOSPC
		}
		xs[name] = append([]byte{}, value...)
		total := 0
		for k, x := range xs {
			total += len(k) + len(x)
		}
		if total > xattrTotalMax {
			return syscall.ENOSPC
		}
		return nil
	})
}

// RemoveXattr removes an extended attribute: ENODATA if there is none.
func (n *Node) RemoveXattr(ctx context.Context, name string) error {
	return n.changeXattrs(ctx, func(xs map[string][]byte) error {
		if _, ok := xs[name]; !ok || name == flagsName {
			return syscall.ENODATA
		}
		delete(xs, name)
		return nil
	})
}

func (n *Node) changeXattrs(ctx context.Context, change func(map[string][]byte) error) error {
	v := n.v
	if err := v.begin(ctx); err != nil {
		return err
	}
	defer v.unlock()
	in, err := n.inode()
	if err != nil {
		return err
	}
	a := in.rec().attr()
	xs := maps.Clone(a.Xattrs)
	if xs == nil {
		xs = make(map[string][]byte)
	}
	if err := change(xs); err != nil {
		return err
	}
	a.Mode, a.UID, a.GID = settings(in.rec())
	a.Xattrs = xs
	if in.kind == merge.KindSymlink {
		return syscall.EPERM
	}
	v.putAttr(in, in.at.rec.clone(), a)
	return nil
}
