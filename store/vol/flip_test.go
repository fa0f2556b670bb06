package vol

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"bazil/merge"
	"bazil/store"
)

var flips = flag.Int("flips", 100, "bits to flip in the file of a volume, one at a time")

// flipVolume makes a closed volume with files of all kinds of bodies, and
// returns what is in it.
func flipVolume(t *testing.T) (d *disk, want files) {
	d = newDisk(t)
	v := d.open()
	in := mkdir(t, v.Root(), "in")
	for i := range 120 {
		c := string(textBytes(uint64(i), 1+i*37))
		switch { // inline, one chunk, and extents, of which a few will do
		case i%30 == 0:
			c = string(randomBytes(uint64(i), i*1200))
		case i%3 == 0:
			c = string(randomBytes(uint64(i), i*100))
		}
		writeFile(t, []*Node{v.Root(), in}[i%2], fmt.Sprint("file", i), c)
	}
	ok(t, v.Sync(ctx))
	must[SnapshotInfo](t)(v.Snapshot(ctx, "s"))
	want = must[files](t)(readTree(v.Root()))
	ok(t, v.Close())
	return d, want
}

// TestFlips flips bits of a volume's file. What is read is right, or fails, or
// says that a name is not there; marking for a collection, which reads
// everything, fails where anything counts that was changed; and a check tells
// of every flip in a key or a value, and of all that reading tells of.
func TestFlips(t *testing.T) {
	d, want := flipVolume(t)
	whole := must[[]byte](t)(os.ReadFile(d.path))
	v := d.open()
	marked := must[map[store.ID]bool](t)(markOf(v))
	ok(t, v.Close())
	parts := partsOf(t, whole)
	r := rand.New(rand.NewPCG(1, 1))
	tried, read, checked := map[string]int{}, map[string]int{}, map[string]int{}
	var pages []int
	for page := 0; page < len(whole); page += boltPage {
		if !slices.Equal(whole[page:page+boltPage], make([]byte, boltPage)) {
			pages = append(pages, page)
		}
	}
	for range *flips {
		bit := 8*pages[r.IntN(len(pages))] + r.IntN(8*boltPage)
		b := slices.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		part := parts[bit/8]
		tried[part]++
		told, why := tryFlip(t, d, b, want, marked)
		if why != "" {
			t.Errorf("bit %d, %s: %s", bit, part, why)
		}
		faults := checkFlip(t, d, b)
		if told {
			read[part]++
		}
		if len(faults) > 0 {
			checked[part]++
		} else if told || part == "data" {
			t.Errorf("bit %d, %s: a check finds nothing", bit, part)
		}
	}
	for part, n := range tried {
		t.Logf("of %d flips in %s reading finds %d, a check %d", n, part, read[part], checked[part])
	}
	if tried["data"] < *flips/5 {
		t.Error("hardly any data was hit")
	}
}

// partsOf tells what each byte of a volume's file is: of a meta page, of the
// free list, of the head or the table of a page, of a bucket's head, which has
// a number that nothing uses, data, which is keys and values, or unused.
func partsOf(t *testing.T, whole []byte) []string {
	path := filepath.Join(t.TempDir(), "volume")
	ok(t, os.WriteFile(path, whole, 0o600))
	parts := make([]string, len(whole))
	for i := range parts {
		parts[i] = "unused"
	}
	fill := func(part string, from, n int) {
		for i := range n {
			parts[from+i] = part
		}
	}
	db := must[*store.Bolt](t)(store.OpenBoltToRead(path))
	defer db.Close()
	ok(t, db.View(func(tx *bbolt.Tx) error {
		for id := 0; ; id++ {
			info, err := tx.Page(id)
			if info == nil || err != nil {
				return err
			}
			at := id * boltPage
			id += info.OverflowCount
			switch info.Type {
			case "free":
			case "meta":
				fill("a meta page", at, 80)
			case "freelist":
				fill("the free list", at, 16+8*info.Count)
			default:
				fill("the table of a page", at, 16*(1+info.Count))
				for i := range info.Count {
					from := at + 16*(1+i)
					e := whole[from:]
					var pos, size int
					if info.Type == "leaf" {
						pos, size = int(le.Uint32(e[4:])), int(le.Uint32(e[8:])+le.Uint32(e[12:]))
					} else {
						pos, size = int(le.Uint32(e)), int(le.Uint32(e[4:]))
					}
					part := "data"
					if info.Type == "leaf" && e[0]&1 != 0 {
						part = "a bucket's head"
					}
					fill(part, from+pos, size)
				}
			}
		}
	}))
	return parts
}

var le = binary.LittleEndian

// checkFlip is what a check finds in a volume's file with these bytes.
func checkFlip(t *testing.T, d *disk, b []byte) (faults []error) {
	path := filepath.Join(t.TempDir(), "volume")
	ok(t, os.WriteFile(path, b, 0o600))
	_, err := CheckFile(ctx, path, d.chunks, d.sealer, false, func(err error) { faults = append(faults, err) })
	if err != nil {
		faults = append(faults, err)
	}
	return faults
}

// tryFlip opens a volume's file with these bytes. told says that the damage
// was found, why what was served that is not right.
func tryFlip(t *testing.T, d *disk, b []byte, want files, marked map[store.ID]bool) (told bool, why string) {
	path := filepath.Join(t.TempDir(), "volume")
	ok(t, os.WriteFile(path, b, 0o600))
	var log bytes.Buffer
	o := d.options()
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	v, err := Open(path, o)
	if err != nil {
		return true, ""
	}
	defer v.Close()
	if log.Len() > 0 { // a commit group may be lost
		return true, ""
	}
	for _, read := range []func(*Volume) (files, error){
		func(v *Volume) (files, error) { return readTree(v.Root()) },
		func(v *Volume) (files, error) { return readSnapshot(v, "s") },
	} {
		got, err := read(v)
		if err != nil {
			told = true
			continue
		}
		if diff := want.differs(got); len(diff) > 0 {
			return told, fmt.Sprintf("differs in %q and says nothing", diff)
		}
	}
	got, err := markOf(v)
	if err != nil {
		return true, ""
	}
	for id := range marked {
		if !got[id] {
			return told, "a collection would free what is needed"
		}
	}
	return told, ""
}

func markOf(v *Volume) (map[store.ID]bool, error) {
	ids := map[store.ID]bool{}
	return ids, v.MarkChunks(ctx, func(id store.ID) { ids[id] = true })
}

// TestDamagedRecord: one damaged record fails what needs it, by name and with
// EIO, and nothing else.
func TestDamagedRecord(t *testing.T) {
	d, want := flipVolume(t)
	whole := must[[]byte](t)(os.ReadFile(d.path))
	name, at := damageIn(t, whole, want)
	whole[at] ^= 4
	ok(t, os.WriteFile(d.path, whole, 0o600))
	v := d.open()
	for n := range maps.Keys(want) {
		dir, base := v.Root(), n
		if len(n) > 3 && n[:3] == "in/" {
			dir, base = must[*Node](t)(v.Root().Lookup(ctx, "in")), n[3:]
		}
		_, err := dir.Lookup(context.Background(), base)
		if n == name && !errors.Is(err, syscall.EIO) || n != name && err != nil {
			t.Errorf("%s: %v", n, err)
		}
	}
	if _, err := v.Root().Create(ctx, "new", New{Kind: merge.KindFile}); err != nil {
		t.Error(err)
	}
}

// damageIn finds a file whose bytes stand once in the volume's file, and where.
func damageIn(t *testing.T, whole []byte, want files) (string, int) {
	for name, c := range want {
		if len(c) < 200 || len(c) > inlineMax {
			continue
		}
		if i := indexOnce(whole, []byte(c)); i > 0 {
			return name, i + len(c)/2
		}
	}
	t.Fatal("no file stands in the volume's file as it is")
	return "", 0
}

func indexOnce(b, part []byte) int {
	first := -1
	for i := 0; i+len(part) <= len(b); i++ {
		if b[i] == part[0] && string(b[i:i+len(part)]) == string(part) {
			if first >= 0 {
				return -1
			}
			first = i
		}
	}
	return first
}
