package peer

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"bazil/merge"
	"bazil/noiseconn"
	"bazil/store"
	"bazil/store/vol"
)

func byteString(n int) cbor.ByteString { return cbor.ByteString(strings.Repeat("x", n)) }

// sampleDir has something of everything.
func sampleDir() vol.DirState {
	dots := []merge.Dot{{Replica: 3, N: 4}, {Replica: 8, N: 1}}
	st := merge.Stamp{Time: 99, Dot: dots[0]}
	view := merge.View{Ctx: dots, Max: dots, Gone: dots[:1]}
	e := merge.Entry{
		Ctx:      dots[:1],
		Versions: []merge.Version{{Dot: dots[0], Kind: merge.KindFile, Content: "abc", Size: 3, MTime: -1, MStamp: st}},
		Attrs:    []merge.Attr{{Stamp: st, Dots: dots, Mode: 0o644, Xattrs: map[string][]byte{"user.a": {1}, "user.b": nil}}},
	}
	return vol.DirState{Dir: 5, View: view, Root: e, Entries: []vol.NamedEntry{
		{Name: "a", Entry: e}, {Name: "b", Entry: e, Sub: 6, SubView: view}, {Name: "c", Last: view.Max},
	}}
}

// body is what stands behind a record's head.
func body(f *testing.F, b []byte, err error) []byte {
	if err != nil {
		f.Fatal(err)
	}
	return b[recordHead:]
}

func FuzzHead(f *testing.F) {
	d := sampleDir()
	b, err := appendHead(nil, &d)
	f.Add(body(f, b, err))
	f.Fuzz(func(t *testing.T, in []byte) {
		d, more, err := parseHead(in)
		if err != nil {
			return
		}
		if more {
			d.To = "z"
		}
		again, err := appendHead(nil, &d)
		if err != nil {
			t.Fatal(err)
		}
		d.To = ""
		if e, m, err := parseHead(again[recordHead:]); err != nil || m != more || !reflect.DeepEqual(d, e) {
			t.Fatalf("%+v became %+v, %v", d, e, err)
		}
	})
}

func FuzzNames(f *testing.F) {
	d := sampleDir()
	b, _, err := appendNames(nil, d.Entries)
	f.Add(body(f, b, err))
	f.Fuzz(func(t *testing.T, in []byte) {
		var d, e vol.DirState
		if err := parseNames(in, &d); err != nil {
			return
		}
		for names := d.Entries; len(names) > 0; {
			again, n, err := appendNames(nil, names)
			if err != nil {
				t.Fatal(err)
			}
			if err := parseNames(again[recordHead:], &e); err != nil {
				t.Fatal(err)
			}
			names = names[n:]
		}
		if a, b := fmt.Sprintf("%+v", d), fmt.Sprintf("%+v", e); a != b {
			t.Fatalf("%s became %s", a, b)
		}
	})
}

func FuzzQuestions(f *testing.F) {
	b, _ := appendDirs(nil, []vol.DirRequest{{}, {Dir: 9, Known: merge.Context{{Replica: 1, N: 1}}}})
	f.Add(b)
	b, _ = appendIDs(nil, []store.ID{{1}, {2}})
	f.Add(b)
	b, _ = wire.appendItem(nil, eventBody{1, 2})
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		if reqs, err := parseDirs(in); err == nil {
			b, err := appendDirs(nil, reqs)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := parseDirs(b); err != nil || fmt.Sprint(again) != fmt.Sprint(reqs) {
				t.Fatalf("%v became %v, %v", reqs, again, err)
			}
		}
		if ids, err := parseIDs(in); err == nil {
			b, err := appendIDs(nil, ids)
			if again, _ := parseIDs(b); err != nil || !slices.Equal(again, ids) {
				t.Fatal("other IDs")
			}
		}
		var e eventBody
		wire.decode("event", in, &e)
		parseInfo(in)
		parseFailure(in)
	})
}

// A stream of records gives the same whatever pieces it comes in.
func FuzzSplitter(f *testing.F) {
	f.Add(whole(countTo(3000)), 7)
	f.Add([]byte{'c', 0, 0, 0, 0, 'z', 0, 0, 0, 0}, 1)
	f.Add([]byte{'c', 0, 0x40, 0, 1}, 1)
	f.Fuzz(func(t *testing.T, in []byte, step int) {
		a, aErr := splitAll(in, len(in)+1)
		b, bErr := splitAll(in, max(step&0xfff, 1))
		if !bytes.Equal(a, b) || aErr != bErr {
			t.Errorf("%q, %v; in pieces %q, %v", a, aErr, b, bErr)
		}
	})
}

func splitAll(in []byte, step int) (out []byte, failed bool) {
	var s splitter
	for {
		k, body, ok, err := s.next()
		switch {
		case err != nil:
			return out, true
		case ok:
			out = append(append(append(out, byte(k)), body...), '|')
		case len(in) == 0:
			return out, false
		default:
			n := min(step, len(in))
			s.feed(in[:n])
			in = in[n:]
		}
	}
}

func FuzzReplicas(f *testing.F) {
	b, err := appendReplicas(nil, []ReplicaKey{{1, noiseconn.PublicKey{1}}, {2, noiseconn.PublicKey{2}}})
	f.Add(body(f, b, err))
	f.Fuzz(func(t *testing.T, in []byte) {
		list, err := parseReplicas(in)
		if err != nil {
			return
		}
		again, err := appendReplicas(nil, list)
		if err != nil {
			t.Fatal(err)
		}
		if l, err := parseReplicas(again[recordHead:]); err != nil || !slices.Equal(l, list) {
			t.Fatalf("%v became %v, %v", list, l, err)
		}
	})
}
