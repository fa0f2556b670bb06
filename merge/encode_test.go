package merge

import (
	"bytes"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func genDot(t *rapid.T) Dot {
	return Dot{ReplicaID(rapid.Uint64Range(1, 6).Draw(t, "replica")), rapid.Uint64Range(1, 1<<40).Draw(t, "n")}
}

func genDots(t *rapid.T) []Dot {
	dots := rapid.SliceOfNDistinct(rapid.Custom(genDot), 1, 4, rapid.ID[Dot]).Draw(t, "dots")
	slices.SortFunc(dots, Dot.Compare)
	return dots
}

func genContext(t *rapid.T) Context {
	var c Context
	return c.WithAll(rapid.SliceOfN(rapid.Custom(genDot), 0, 6).Draw(t, "context"))
}

func genStamp(t *rapid.T) Stamp { return Stamp{rapid.Int64().Draw(t, "time"), genDot(t)} }

func genEntry(t *rapid.T) Entry {
	e := Entry{Ctx: genContext(t)}
	for range rapid.IntRange(0, 3).Draw(t, "versions") {
		v := Version{Dots: genDots(t), Kind: Kind(rapid.IntRange(1, 6).Draw(t, "kind")), MTime: rapid.Int64().Draw(t, "mtime"), MStamp: genStamp(t)}
		if v.Kind != KindDir {
			v.Content, v.Size = rapid.String().Draw(t, "content"), rapid.Int64Min(0).Draw(t, "size")
		}
		if !slices.ContainsFunc(e.Versions, func(o Version) bool { return o.holdsAny(v.Dots) }) {
			e.Versions = append(e.Versions, v)
		}
	}
	sortVersions(e.Versions)
	for range rapid.IntRange(0, 2).Draw(t, "attrs") {
		e.Attrs = append(e.Attrs, Attr{
			Stamp: genStamp(t), Dots: genDots(t), Mode: rapid.Uint32Max(0o7777).Draw(t, "mode"),
			UID: rapid.Uint32().Draw(t, "uid"), GID: rapid.Uint32().Draw(t, "gid"),
			Xattrs: rapid.MapOfN(rapid.StringN(1, 8, 64), rapid.SliceOfN(rapid.Byte(), 1, 9), 0, 3).Draw(t, "xattrs"),
		})
	}
	slices.SortFunc(e.Attrs, func(a, b Attr) int { return b.Stamp.Compare(a.Stamp) })
	e.Attrs = slices.CompactFunc(e.Attrs, func(a, b Attr) bool { return a.Stamp == b.Stamp })
	return e
}

// same compares entries as they are after decoding, where nothing is empty
// but not nil.
func same(a, b Entry) bool {
	return reflect.DeepEqual(normal(a), normal(b))
}

func normal(e Entry) Entry {
	e.Attrs = slices.Clone(e.Attrs)
	for i := range e.Attrs {
		if len(e.Attrs[i].Xattrs) == 0 {
			e.Attrs[i].Xattrs = nil
		}
	}
	if len(e.Attrs) == 0 {
		e.Attrs = nil
	}
	return e
}

func TestEntryEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := genEntry(t)
		b := AppendEntry(nil, e)
		got, rest, err := DecodeEntry(append(b, "rest"...))
		if err != nil || string(rest) != "rest" || !same(got, e) {
			t.Fatalf("%+v\n%+v\n%q %v", e, got, rest, err)
		}
		if again := AppendEntry(nil, got); !bytes.Equal(again, b) {
			t.Fatalf("%x\n%x", b, again)
		}
	})
}

func TestDirEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Dir{genContext(t), genContext(t), genContext(t), genContext(t)}
		got, rest, err := DecodeDir(append(AppendDir(nil, d), 'x'))
		if err != nil || string(rest) != "x" || !reflect.DeepEqual(got, d) {
			t.Fatalf("%+v\n%+v\n%q %v", d, got, rest, err)
		}
	})
}

// TestEntrySize: a million names are encoded, most like this one.
func TestEntrySize(t *testing.T) {
	h := &holder{id: 1<<63 + 12345, n: 1 << 20}
	h.write("", nil)
	h.Versions[0].MTime, h.Versions[0].MStamp.Time = 1.7e18, 1.7e18+5e6
	h.Attrs[0].Stamp.Time = h.Versions[0].MStamp.Time
	if b := AppendEntry(nil, h.Entry); len(b) > 64 {
		t.Fatalf("%d bytes for an entry without content", len(b))
	}
}

func FuzzDecodeEntry(f *testing.F) {
	h := &holder{id: 9}
	h.write("content", nil)
	h.chmod(0o600, 5)
	f.Add(AppendEntry(nil, h.Entry))
	h.remove()
	f.Add(AppendEntry(nil, h.Entry))
	f.Add([]byte{1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, _, err := DecodeEntry(b)
		if err != nil {
			return
		}
		got, rest, err := DecodeEntry(AppendEntry(nil, e))
		if err != nil || len(rest) > 0 || !same(got, e) {
			t.Fatalf("%+v\n%+v\n%v", e, got, err)
		}
		Join(e, e.Ctx, got, nil)
		e.Settle()
	})
}

func FuzzDecodeDir(f *testing.F) {
	f.Add(AppendDir(nil, Dir{Ctx: Context{{1, 2}, {3, 4}}, Max: Context{{9, 9}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, _, err := DecodeDir(b)
		if err != nil {
			return
		}
		got, rest, err := DecodeDir(AppendDir(nil, d))
		if err != nil || len(rest) > 0 || !reflect.DeepEqual(got, d) {
			t.Fatalf("%+v\n%+v\n%v", d, got, err)
		}
	})
}
