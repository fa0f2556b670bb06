package vol

import (
	"reflect"
	"testing"

	"bazil/merge"
)

func sampleRecord() *record {
	d1, d2, d3 := merge.Dot{Replica: 3, N: 9}, merge.Dot{Replica: 1 << 63, N: 1}, merge.Dot{Replica: 1 << 63, N: 4}
	return &record{
		Entry: merge.Entry{
			Ctx: merge.Context{{Replica: 7, N: 12}},
			Versions: []merge.Version{
				{Dot: d1, Kind: merge.KindFile, Content: "\x01\x02hello", Size: 5, MTime: -3, MStamp: merge.Stamp{Time: 77, Dot: d1}},
				{Dot: d2, Kind: merge.KindSymlink, Content: "to", Size: 2, MTime: 1 << 62, MStamp: merge.Stamp{Time: -1 << 63, Dot: d3}},
			},
			Attrs: []merge.Attr{{
				Stamp: merge.Stamp{Time: 5, Dot: d2}, Dots: []merge.Dot{d2}, Mode: 0o4755, UID: 1000, GID: 1<<32 - 1,
				Xattrs: map[string][]byte{"user.a": {}, "user.b": {1, 2, 3}},
			}},
		},
		Ino: 12, Sub: 1 << 40, Shown: d2, Change: 99,
		ATime: 1, MTime: 1<<63 - 1, CTime: -1 << 63, BTime: 4,
	}
}

func deviceRecord() *record {
	return &record{Ino: 4, Device: true, Block: true, Rdev: 0x801, Own: merge.Attr{Mode: 0o660, UID: 4}, CTime: 5}
}

func samplePlace() *dirRecord {
	c := func(n uint64) merge.Context { return merge.Context{{Replica: 2, N: n}, {Replica: 9, N: 1}} }
	return &dirRecord{
		Dir:    merge.Dir{Ctx: c(5), Max: c(8), Gone: c(2), Whole: nil},
		Parent: 4, Name: "name", Live: 3, Dirs: 1, Records: 5, Rows: 6, Half: merge.Context{{Replica: 3, N: 4}},
	}
}

// TestRecordOfEqualVersions: servers that made one version of equal ones wrote
// all of its dots.
func TestRecordOfEqualVersions(t *testing.T) {
	d1, d2, d3 := merge.Dot{Replica: 3, N: 9}, merge.Dot{Replica: 3, N: 11}, merge.Dot{Replica: 4, N: 1}
	version := func(d merge.Dot, to string) merge.Version {
		return merge.Version{Dot: d, Kind: merge.KindSymlink, Content: to, Size: int64(len(to)), MStamp: merge.Stamp{Time: 7, Dot: d3}}
	}
	var e encoder
	united := func(to string, dots ...merge.Dot) {
		v := version(dots[0], to)
		e.dots(dots)
		e.byte(byte(v.Kind))
		e.string(v.Content)
		e.int(v.Size)
		e.time(v.MTime)
		e.stamp(v.MStamp)
	}
	e.name(d1, d2, d3)
	e.table()
	e.dots(nil)
	e.uint(2)
	united("here", d1, d3)
	united("there", d2)
	e.uint(0)
	d := decoder{b: e.b}
	d.table()
	got := d.entry()
	want := []merge.Version{version(d1, "here"), version(d2, "there"), version(d3, "here")}
	if err := d.end(); err != nil || !reflect.DeepEqual(got.Versions, want) {
		t.Fatalf("%+v %v", got, err)
	}
	if err := checkEntry(&got); err != nil {
		t.Fatal(err)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(appendRecord(nil, sampleRecord()))
	f.Add(appendRecord(nil, deviceRecord()))
	f.Add(appendRecord(nil, newRoot()))
	f.Add(appendRecord(nil, &record{Sub: 5, Entry: merge.Entry{Ctx: merge.Context{{Replica: 1, N: 1}}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(b)
		if err != nil {
			return
		}
		again, err := decodeRecord(appendRecord(nil, r))
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v became %+v, %v", r, again, err)
		}
		h, err := decodeHead(b)
		if err != nil || h.kind != r.kind() || h.ino != r.Ino || h.change != r.Change {
			t.Fatalf("head %+v of %+v, %v", h, r, err)
		}
	})
}

func FuzzDirRecord(f *testing.F) {
	f.Add(appendDirRecord(nil, samplePlace()))
	f.Add(appendDirRecord(nil, &dirRecord{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeDirRecord(b)
		if err != nil {
			return
		}
		if again, err := decodeDirRecord(appendDirRecord(nil, r)); err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v became %+v, %v", r, again, err)
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add(appendState(nil, &state{replica: 5, n: 6, ino: 7, dir: 8, change: 9, want: 10, figures: figures{1, 2, -3, 4}}))
	f.Add(appendState(nil, &state{replica: 5, ino: 7, dir: 8, moment: moment{1 << 60, 3}, left: map[uint64]uint64{9: 2, 300: 3}}))
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x00\x05\x06\x07\x08\x09\x0a\x02\x04\x05\x08")) // of a version that knew no log
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err != nil {
			return
		}
		if again, err := decodeState(appendState(nil, &s)); err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%+v became %+v, %v", s, again, err)
		}
	})
}

func FuzzWant(f *testing.F) {
	f.Add(appendWant(nil, &want{ino: 9, dir: 3, name: "n", body: "\x01\x02x"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := decodeWant(7, b)
		if err != nil {
			return
		}
		if again, err := decodeWant(7, appendWant(nil, &w)); err != nil || again != w {
			t.Fatalf("%+v became %+v, %v", w, again, err)
		}
	})
}

// TestCodec checks what the fuzz tests begin with: that it decodes, to what it
// was made of.
func TestCodec(t *testing.T) {
	for _, r := range []*record{sampleRecord(), deviceRecord(), newRoot(), {}} {
		got, err := decodeRecord(appendRecord(nil, r))
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v became %+v, %v", r, got, err)
		}
	}
	got, err := decodeDirRecord(appendDirRecord(nil, samplePlace()))
	if err != nil || !reflect.DeepEqual(got, samplePlace()) {
		t.Errorf("%+v became %+v, %v", samplePlace(), got, err)
	}
}

// TestCutShort: no beginning of an encoding is taken for a whole.
func TestCutShort(t *testing.T) {
	for _, b := range [][]byte{appendRecord(nil, sampleRecord()), appendRecord(nil, deviceRecord())} {
		for n := range b {
			if _, err := decodeRecord(b[:n]); err == nil {
				t.Errorf("%d of %d bytes decode", n, len(b))
			}
		}
	}
}
