package vol

import (
	"context"
	"fmt"
	"syscall"

	"go.etcd.io/bbolt"

	"bazil/merge"
	"bazil/store"
)

// SnapshotInfo is a snapshot of a volume.
type SnapshotInfo struct {
	Name    string
	Created int64         // Unix nanoseconds
	Files   int64         // without directories
	Bytes   int64         // sizes of the files, holes included
	Pointer store.Pointer // with the sharing key and the chunks, all it takes to read it
}

// Snapshot makes a read-only copy of the tree as it is at this moment, as
// chunks. Directories that did not change since another snapshot cost
// nothing. Of a name in conflict it has what the name shows. EEXIST, EINVAL,
// ENAMETOOLONG.
func (v *Volume) Snapshot(ctx context.Context, name string) (SnapshotInfo, error) {
	if err := checkName(name); err != nil {
		return SnapshotInfo{}, err
	}
	if err := lock(ctx, v.snapshotting); err != nil {
		return SnapshotInfo{}, err
	}
	defer unlock(v.snapshotting)
	if _, err := v.snapshotInfo(name); err == nil {
		return SnapshotInfo{}, syscall.EEXIST
	} else if err != syscall.ENOENT {
		return SnapshotInfo{}, err
	}
	defer v.o.Chunks.Hold()()
	return v.takeSnapshot(ctx, name)
}

// Freeze returns the tree as it is at this moment, as Snapshot makes it, but
// remembers it only until release is called.
func (v *Volume) Freeze(ctx context.Context) (root *SnapNode, release func(), err error) {
	if err := lock(ctx, v.snapshotting); err != nil {
		return nil, nil, err
	}
	defer unlock(v.snapshotting)
	release = v.o.Chunks.Hold()
	info, err := v.takeSnapshot(ctx, "")
	if err == nil {
		root, err = v.OpenSnapshotAt(ctx, info.Pointer)
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	return root, release, nil
}

// takeSnapshot makes a snapshot and records it if it has a name. The caller
// has snapshotting and a Hold.
func (v *Volume) takeSnapshot(ctx context.Context, name string) (SnapshotInfo, error) {
	if err := v.Sync(ctx); err != nil {
		return SnapshotInfo{}, err
	}
	v.noteStale()
	defer v.stale.end()
	info, made, err := v.buildSnapshot(ctx, name)
	if err == nil {
		err = v.o.Chunks.Sync(ctx)
	}
	if err == nil {
		err = v.saveSnapshot(&info, made)
	}
	if err != nil {
		return SnapshotInfo{}, fmt.Errorf("snapshot %s: %w", name, err)
	}
	return info, nil
}

// buildSnapshot stores the chunks of a snapshot. made are the trees of the
// directories that had none.
func (v *Volume) buildSnapshot(ctx context.Context, name string) (info SnapshotInfo, made map[uint64]snapTree, err error) {
	info = SnapshotInfo{Name: name, Created: now()}
	err = v.db.View(func(tx *bbolt.Tx) error {
		b := &snapBuilder{v: v, ctx: ctx, tx: tx, made: make(map[uint64]snapTree)}
		made = b.made
		rec, err := readRecord(tx, rootDir, "")
		if err != nil {
			return err
		}
		var t snapTree
		root := snapRoot{volume: v.id, created: info.Created}
		if root.root, err = b.entry("root", rec, &t); err != nil {
			return err
		}
		root.files, root.bytes = t.files, t.bytes
		info.Files, info.Bytes = t.files, t.bytes
		info.Pointer, err = b.seal(store.ChunkSnapshot, appendSnapRoot(nil, &root))
		return err
	})
	return info, made, err
}

// saveSnapshot records a snapshot that has a name, and the trees of those
// directories that did not change meanwhile.
func (v *Volume) saveSnapshot(info *SnapshotInfo, made map[uint64]snapTree) error {
	return v.db.Update(func(tx *bbolt.Tx) error {
		var changes []change
		for num, t := range made {
			if !v.stale.has(num) {
				changes = append(changes, change{numKey(num, ""), appendSnapTree(nil, &t)})
			}
		}
		err := writeBucket(tx.Bucket(bucketTrees), changes)
		if err != nil || info.Name == "" {
			return err
		}
		return putSummed(tx.Bucket(bucketSnapshots), []byte(info.Name), appendSnapshotInfo(nil, info))
	})
}

const snapshotInfoVersion = 1

func appendSnapshotInfo(b []byte, s *SnapshotInfo) []byte {
	e := encoder{b: b}
	e.byte(snapshotInfoVersion)
	e.fixed(uint64(s.Created))
	e.int(s.Files)
	e.int(s.Bytes)
	return s.Pointer.Append(e.b)
}

func decodeSnapshotInfo(name string, b []byte) (SnapshotInfo, error) {
	d := decoder{b: b}
	if v := d.byte(); v != snapshotInfoVersion && d.err == nil {
		return SnapshotInfo{}, unknownVersion("snapshot "+name+": record", v, snapshotInfoVersion)
	}
	s := SnapshotInfo{Name: name, Created: int64(d.fixed()), Files: d.int(), Bytes: d.int(), Pointer: d.pointer()}
	if err := d.end(); err != nil {
		return SnapshotInfo{}, fmt.Errorf("snapshot %s: %w", name, damaged(err))
	}
	return s, nil
}

// snapshotInfo returns the record of a snapshot, or ENOENT.
func (v *Volume) snapshotInfo(name string) (s SnapshotInfo, err error) {
	err = v.db.View(func(tx *bbolt.Tx) error {
		b, err := getSummed(tx.Bucket(bucketSnapshots), []byte(name))
		if err != nil {
			return fmt.Errorf("snapshot %s: %w", name, err)
		}
		if b == nil {
			return syscall.ENOENT
		}
		s, err = decodeSnapshotInfo(name, b)
		return err
	})
	return s, err
}

// Snapshots returns all snapshots, sorted by name.
func (v *Volume) Snapshots(ctx context.Context) (out []SnapshotInfo, err error) {
	err = v.db.View(func(tx *bbolt.Tx) error {
		return eachSummed(tx.Bucket(bucketSnapshots), func(name, b []byte) error {
			s, err := decodeSnapshotInfo(string(name), b)
			out = append(out, s)
			return err
		})
	})
	if err != nil {
		return nil, v.damage(err)
	}
	return out, nil
}

// RemoveSnapshot forgets a snapshot; its chunks go with the next collection
// unless something else needs them. ENOENT.
func (v *Volume) RemoveSnapshot(ctx context.Context, name string) error {
	return v.editSnapshots(ctx, func(b *bbolt.Bucket) error { return removeSnapshot(b, name) })
}

// RemoveSnapshotNode is RemoveSnapshot for that with the root directory root,
// whatever it is called now.
func (v *Volume) RemoveSnapshotNode(ctx context.Context, root *SnapNode) error {
	return v.editSnapshots(ctx, func(b *bbolt.Bucket) error {
		name, err := nameOfSnapshot(b, root)
		if err != nil {
			return err
		}
		return removeSnapshot(b, name)
	})
}

// editSnapshots changes the records of snapshots.
func (v *Volume) editSnapshots(ctx context.Context, edit func(b *bbolt.Bucket) error) error {
	if err := lock(ctx, v.snapshotting); err != nil {
		return err
	}
	defer unlock(v.snapshotting)
	return v.db.Update(func(tx *bbolt.Tx) error { return edit(tx.Bucket(bucketSnapshots)) })
}

func removeSnapshot(b *bbolt.Bucket, name string) error {
	if b.Get([]byte(name)) == nil {
		return syscall.ENOENT
	}
	return b.Delete([]byte(name))
}

// OpenSnapshot returns the root directory of a snapshot. ENOENT.
func (v *Volume) OpenSnapshot(ctx context.Context, name string) (*SnapNode, error) {
	s, err := v.snapshotInfo(name)
	if err != nil {
		return nil, err
	}
	return v.OpenSnapshotAt(ctx, s.Pointer)
}

// OpenSnapshotAt returns the root directory of the snapshot that p leads to,
// of this volume or of another under the same sharing key.
func (v *Volume) OpenSnapshotAt(ctx context.Context, p store.Pointer) (*SnapNode, error) {
	plain, err := v.env.reader.Read(ctx, p, store.ChunkSnapshot)
	if err != nil {
		return nil, ioError("read snapshot", p.ID, err)
	}
	r, err := decodeSnapRoot(plain)
	if err != nil {
		return nil, fmt.Errorf("snapshot %v: %w: %w", p.ID, syscall.EIO, err)
	}
	t := &snapReader{env: v.env, id: p.ID}
	return &SnapNode{t: t, x: r.root, kind: merge.KindDir}, nil
}
