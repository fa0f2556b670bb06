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
	if err := lock(ctx, v.snapshotting); err != nil {
		return err
	}
	defer unlock(v.snapshotting)
	return v.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketSnapshots)
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
	})
}

// SnapshotInfo returns what is recorded of a snapshot. ENOENT.
func (v *Volume) SnapshotInfo(ctx context.Context, name string) (SnapshotInfo, error) {
	return v.snapshotInfo(name)
}
