package vol

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"go.etcd.io/bbolt"
)

// AutoPrefix begins the names of the snapshots that a schedule makes, and
// removes again; no other snapshot has such a name.
const AutoPrefix = "auto-"

// CheckSnapshotName tells whether a snapshot may be called that by a user,
// and says why not. The errors are EINVAL and ENAMETOOLONG.
func CheckSnapshotName(name string) error {
	why := ""
	switch {
	case len(name) > nameMax:
		return fmt.Errorf("snapshot name of %d bytes is too long: take at most %d: %w", len(name), nameMax, syscall.ENAMETOOLONG)
	case name == "":
		why = "is empty"
	case name == "." || name == "..":
		why = "has a meaning as a path"
	case strings.Contains(name, "/"):
		why = "has a slash in it"
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		why = "has a control character or a byte that is no text in it"
	case strings.HasPrefix(name, AutoPrefix):
		why = "is one of those that a schedule gives (" + AutoPrefix + "...)"
	default:
		return nil
	}
	return fmt.Errorf("snapshot name %q %s: %w", name, why, syscall.EINVAL)
}

// RenameSnapshot gives a snapshot another name. ENOENT, EEXIST (another has
// the new name), EINVAL, ENAMETOOLONG.
func (v *Volume) RenameSnapshot(ctx context.Context, name, newName string) error {
	if err := checkName(newName); err != nil {
		return err
	}
	return v.editSnapshots(ctx, func(b *bbolt.Bucket) error { return renameSnapshot(b, name, newName) })
}

// RenameSnapshotNode is RenameSnapshot for that with the root directory root,
// whatever it is called now.
func (v *Volume) RenameSnapshotNode(ctx context.Context, root *SnapNode, newName string) error {
	if err := checkName(newName); err != nil {
		return err
	}
	return v.editSnapshots(ctx, func(b *bbolt.Bucket) error {
		name, err := nameOfSnapshot(b, root)
		if err != nil {
			return err
		}
		return renameSnapshot(b, name, newName)
	})
}

func renameSnapshot(b *bbolt.Bucket, name, newName string) error {
	record, err := getSummed(b, []byte(name))
	switch {
	case err != nil:
		return fmt.Errorf("snapshot %s: %w", name, err)
	case record == nil:
		return syscall.ENOENT
	case name == newName:
		return nil
	case b.Get([]byte(newName)) != nil:
		return syscall.EEXIST
	}
	record = append([]byte(nil), record...) // the bucket only lends it
	if err := b.Delete([]byte(name)); err != nil {
		return err
	}
	return putSummed(b, []byte(newName), record)
}

// SnapshotName is what the snapshot with the root directory root is called
// now. ENOENT.
func (v *Volume) SnapshotName(root *SnapNode) (name string, err error) {
	err = v.db.View(func(tx *bbolt.Tx) error {
		name, err = nameOfSnapshot(tx.Bucket(bucketSnapshots), root)
		return err
	})
	return name, err
}

// nameOfSnapshot finds a snapshot by its chunk, which no two snapshots share.
func nameOfSnapshot(b *bbolt.Bucket, root *SnapNode) (found string, err error) {
	err = eachSummed(b, func(name, value []byte) error {
		s, err := decodeSnapshotInfo(string(name), value)
		if err == nil && s.Pointer.ID == root.t.id {
			found = s.Name
		}
		return err
	})
	if err == nil && found == "" {
		err = syscall.ENOENT
	}
	return found, err
}

// SnapshotInfo returns what is recorded of a snapshot. ENOENT.
func (v *Volume) SnapshotInfo(ctx context.Context, name string) (SnapshotInfo, error) {
	return v.snapshotInfo(name)
}
