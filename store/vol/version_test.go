package vol

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"bazil/merge"
	"bazil/store"
)

// encodings are one of each kind of record and chunk of a volume, and what
// reads it. The first byte of each is its version.
var encodings = []struct {
	name   string // as the error calls it
	whole  []byte
	decode func(b []byte) error
}{
	{"state", appendState(nil, &state{replica: 5, n: 6}), func(b []byte) error { _, err := decodeState(b); return err }},
	{"record", appendRecord(nil, sampleRecord()), func(b []byte) error { _, err := decodeRecord(b); return err }},
	{"record", appendRecord(nil, deviceRecord()), func(b []byte) error { _, err := decodeHead(b); return err }},
	{"directory record", appendDirRecord(nil, samplePlace()), func(b []byte) error { _, err := decodeDirRecord(b); return err }},
	{"wanted content", appendWant(nil, &want{ino: 9, dir: 3, name: "n", body: "\x01\x02x"}), func(b []byte) error { _, err := decodeWant(7, b); return err }},
	{"snapshot monday: record", appendSnapshotInfo(nil, &SnapshotInfo{}), func(b []byte) error { _, err := decodeSnapshotInfo("monday", b); return err }},
	{"tree", appendSnapTree(nil, &snapTree{}), func(b []byte) error { _, err := decodeSnapTree(b); return err }},
	{"tree chunk", snapHead(nil, 0), func(b []byte) error { _, err := decodeSnapNode(b); return err }},
	{"snapshot chunk", appendSnapRoot(nil, &snapRoot{root: snapEntry{kind: merge.KindDir}}), func(b []byte) error { _, err := decodeSnapRoot(b); return err }},
	{"extent chunk", []byte{extentVersion, 0, 0}, func(b []byte) error { _, err := decodeExtentNode(b, 0, 0, true); return err }},
	{"file body", []byte(bodyInfo{form: formInline, size: 3, inline: "abc"}.encode()), func(b []byte) error { _, err := Body(b).parse(); return err }},
}

// TestUnknownVersions: each record and chunk of a version that is not known is
// refused, and the error says what it is and which version it has.
func TestUnknownVersions(t *testing.T) {
	for _, e := range encodings {
		if err := e.decode(e.whole); err != nil && strings.Contains(err.Error(), "version") {
			t.Errorf("%s of the present version: %v", e.name, err)
		}
		for _, version := range []byte{0, 77, 255} {
			b := append([]byte{version}, e.whole[1:]...)
			err := e.decode(b)
			want := e.name + " of version " + strconv.Itoa(int(version)) + ", known is "
			if !errors.Is(err, ErrVersion) || errors.Is(err, ErrBody) || !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("%q of version %d: %v", e.name, version, err)
			}
		}
	}
}

// TestVolumeOfTomorrow opens a volume whose format is not known yet: it is
// refused by its version, and its file stays as it is.
func TestVolumeOfTomorrow(t *testing.T) {
	d := newDisk(t)
	v := d.open()
	writeFile(t, v.Root(), "f", "x")
	ok(t, v.Close())
	ok(t, changeFile(d.path, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketMeta).Put(keyFormat, []byte{0, 0, 0, 4})
	}))
	before := must[[]byte](t)(os.ReadFile(d.path))
	if _, err := Open(d.path, d.options()); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "version 00000004") {
		t.Errorf("opened: %v", err)
	}
	if string(must[[]byte](t)(os.ReadFile(d.path))) != string(before) {
		t.Error("its file has changed")
	}
}

// TestRecordOfTomorrow has one record of an unknown version in a volume: its
// name fails and says why, others go on, and nothing writes over it.
func TestRecordOfTomorrow(t *testing.T) {
	d := newDisk(t)
	v := d.open()
	writeFile(t, v.Root(), "new", "x")
	writeFile(t, v.Root(), "old", "y")
	ok(t, v.Close())
	var kept []byte
	ok(t, changeFile(d.path, func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketNames)
		key := numKey(rootDir, "new")
		value := append([]byte{77}, must[[]byte](t)(getSummed(b, key))[1:]...)
		kept = value
		return putSummed(b, key, value)
	}))
	v = d.open()
	if _, err := v.Root().Lookup(ctx, "new"); !strings.Contains(fmt.Sprint(err), `"new"`) || !errors.Is(err, ErrVersion) || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "record of version 77, known is 1") {
		t.Errorf("looked up: %v", err)
	}
	if got := readFile(t, v.Root(), "old"); got != "y" {
		t.Errorf("the other reads as %q", got)
	}
	if _, err := v.Root().Create(ctx, "new", New{Kind: merge.KindFile}); err == nil {
		t.Error("it was written over")
	}
	writeFile(t, v.Root(), "more", "z")
	ok(t, v.Close())
	ok(t, changeFile(d.path, func(tx *bbolt.Tx) error {
		if got := must[[]byte](t)(getSummed(tx.Bucket(bucketNames), numKey(rootDir, "new"))); string(got) != string(kept) {
			t.Errorf("it became %x", got)
		}
		return nil
	}))
}

// TestBodyOfTomorrow reads a file whose body, or whose extent chunk, is of an
// unknown version: the error names what it is, and its version.
func TestBodyOfTomorrow(t *testing.T) {
	env := testEnv(t, 0)
	leaf := encodeExtentLeaf(nil, []extent{{off: 0, n: 100, ptr: testPointer(1)}})
	leaf[0] = 77
	p, _, err := env.seal(ctx, store.ChunkExtents, plaintext{bytes: leaf}, nil)
	ok(t, err)
	for want, body := range map[string]Body{
		"file body of version 77, known is 1":    "\x4d\x02abc",
		"extent chunk of version 77, known is 1": bodyInfo{form: formExtents, size: 1 << 20, allocated: 100, ptr: p}.encode(),
	} {
		_, err := newContent(env, body).ReadAt(ctx, make([]byte, 1), 0)
		if !errors.Is(err, ErrVersion) || !errors.Is(err, syscall.EIO) || errors.Is(err, ErrBody) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestVolumeWithoutSums opens a volume of version 2, whose values have no
// checksums: all is there, and has them from then on.
func TestVolumeWithoutSums(t *testing.T) {
	d, want := flipVolume(t)
	ok(t, changeFile(d.path, func(tx *bbolt.Tx) error {
		for _, name := range allBuckets {
			if err := unsum(tx.Bucket(name)); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keyFormat, []byte{0, 0, 0, formatNoSums})
	}))
	if faults := checkFlip(t, d, must[[]byte](t)(os.ReadFile(d.path))); len(faults) == 0 || !strings.Contains(faults[0].Error(), "version 00000002; a server that opens it") {
		t.Errorf("a check says: %v", faults)
	}
	v := d.open()
	if diff := want.differs(must[files](t)(readTree(v.Root()))); len(diff) > 0 {
		t.Errorf("%q differ", diff)
	}
	if diff := want.differs(must[files](t)(readSnapshot(v, "s"))); len(diff) > 0 {
		t.Errorf("in the snapshot %q differ", diff)
	}
	ok(t, v.Close())
	if faults := checkFlip(t, d, must[[]byte](t)(os.ReadFile(d.path))); len(faults) > 0 {
		t.Errorf("a check finds %v", faults)
	}
}

// unsum takes the checksums of a bucket's values away.
func unsum(b *bbolt.Bucket) error {
	plain := map[string][]byte{}
	err := b.ForEach(func(k, v []byte) error {
		if string(k) != string(keyFormat) {
			plain[string(k)] = append([]byte{}, v[:len(v)-sumLen]...)
		}
		return nil
	})
	for k, v := range plain {
		err = errors.Join(err, b.Put([]byte(k), v))
	}
	return err
}

// changeFile changes the file of a volume that nobody has open.
func changeFile(path string, change func(tx *bbolt.Tx) error) error {
	db, err := store.OpenBolt(path, nil)
	if err != nil {
		return err
	}
	return errors.Join(db.Update(change), db.Close())
}
