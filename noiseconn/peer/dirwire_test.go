package peer

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"bazil/merge"
	"bazil/store/vol"
)

// The generators make what a replica can have.

func genDots(t *rapid.T, least, most int) []merge.Dot {
	n := rapid.IntRange(least, most).Draw(t, "dots")
	seen := map[merge.Dot]bool{}
	for len(seen) < n {
		seen[merge.Dot{Replica: merge.ReplicaID(rapid.Uint64Range(1, 1<<63).Draw(t, "replica")), N: rapid.Uint64Min(1).Draw(t, "n")}] = true
	}
	var dots []merge.Dot
	for d := range seen {
		dots = append(dots, d)
	}
	slices.SortFunc(dots, merge.Dot.Compare)
	return dots
}

func genContext(t *rapid.T) merge.Context {
	var c merge.Context
	for _, d := range genDots(t, 0, 5) {
		c = c.With(d)
	}
	return c
}

func genView(t *rapid.T) merge.View {
	v := merge.View{Ctx: genContext(t), Max: genContext(t)}
	for i := range v.Max {
		if rapid.Bool().Draw(t, "gone") {
			v.Gone = v.Gone.With(v.Max[i])
		}
	}
	return v
}

func genStamp(t *rapid.T) merge.Stamp {
	return merge.Stamp{Time: rapid.Int64().Draw(t, "time"), Dot: genDots(t, 1, 1)[0]}
}

func genEntry(t *rapid.T) merge.Entry {
	e := merge.Entry{Ctx: genContext(t)}
	for range rapid.IntRange(0, 3).Draw(t, "versions") {
		v := merge.Version{
			Dot: genDots(t, 1, 1)[0], Kind: merge.Kind(rapid.IntRange(1, 6).Draw(t, "kind")),
			Size: rapid.Int64Min(0).Draw(t, "size"), MTime: rapid.Int64().Draw(t, "mtime"), MStamp: genStamp(t),
		}
		if v.Kind == merge.KindDir {
			v.Size = 0
		} else {
			v.Content = string(rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "content"))
		}
		if !slices.ContainsFunc(e.Versions, func(o merge.Version) bool { return o.Dot == v.Dot }) {
			e.Versions = append(e.Versions, v)
		}
	}
	slices.SortFunc(e.Versions, func(a, b merge.Version) int { return a.Dot.Compare(b.Dot) })
	for range rapid.IntRange(0, 2).Draw(t, "attrs") {
		e.Attrs = append(e.Attrs, genAttr(t))
	}
	slices.SortFunc(e.Attrs, func(a, b merge.Attr) int { return b.Stamp.Compare(a.Stamp) })
	e.Attrs = slices.CompactFunc(e.Attrs, func(a, b merge.Attr) bool { return a.Stamp == b.Stamp })
	return e
}

func genAttr(t *rapid.T) merge.Attr {
	a := merge.Attr{
		Stamp: genStamp(t), Dots: genDots(t, 1, 2), Mode: rapid.Uint32Range(0, 0o7777).Draw(t, "mode"),
		UID: rapid.Uint32().Draw(t, "uid"), GID: rapid.Uint32().Draw(t, "gid"),
	}
	for range rapid.IntRange(0, 2).Draw(t, "xattrs") {
		if a.Xattrs == nil {
			a.Xattrs = map[string][]byte{}
		}
		name := rapid.StringMatching(`user\.[a-z\xff]{1,5}`).Draw(t, "xattr")
		a.Xattrs[name] = rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "value")
	}
	return a
}

func genDir(t *rapid.T) vol.DirState {
	d := vol.DirState{Dir: rapid.Uint64().Draw(t, "dir"), Partial: rapid.Bool().Draw(t, "partial"), View: genView(t)}
	if d.Same = rapid.Bool().Draw(t, "same"); d.Same {
		return d
	}
	if rapid.Bool().Draw(t, "root") {
		d.Root = genEntry(t)
	}
	names := rapid.SliceOfNDistinct(rapid.StringOfN(rapid.Rune(), 1, 20, 255), 0, 6, rapid.ID[string]).Draw(t, "names")
	slices.Sort(names)
	for _, name := range names {
		if !validName(name) || name == ".." {
			continue
		}
		n := vol.NamedEntry{Name: name, Entry: genEntry(t)}
		if n.Sub = rapid.Uint64Range(0, 3).Draw(t, "sub"); n.Sub != 0 {
			n.SubView = genView(t)
		}
		n.Last = d.View.Max
		d.Entries = append(d.Entries, n)
	}
	return d
}

// genPieces is a directory, perhaps in two pieces of which the second is of
// another moment.
func genPieces(t *rapid.T) []vol.DirState {
	d := genDir(t)
	if d.Same || d.Partial || len(d.Entries) == 0 || rapid.Bool().Draw(t, "whole") {
		return []vol.DirState{d}
	}
	n := rapid.IntRange(1, len(d.Entries)).Draw(t, "first")
	second := vol.DirState{Dir: d.Dir, After: d.Entries[n-1].Name, View: genView(t), Entries: d.Entries[n:]}
	if d.Entries, d.To = d.Entries[:n], second.After; len(second.Entries) == 0 {
		second.Entries = nil
	}
	return []vol.DirState{d, second}
}

// send is the whole way of directories through records.
func send(dirs []vol.DirState) (out []vol.DirState, err error) {
	var wireBytes []byte
	var reqs []vol.DirRequest
	for i := range dirs {
		if wireBytes, err = appendHead(wireBytes, &dirs[i]); err != nil {
			return nil, err
		}
		for names := dirs[i].Entries; len(names) > 0; {
			var n int
			if wireBytes, n, err = appendNames(wireBytes, names); err != nil {
				return nil, err
			}
			names = names[n:]
		}
		if dirs[i].After == "" {
			reqs = append(reqs, vol.DirRequest{Dir: dirs[i].Dir})
		}
	}
	ended := 0
	in := &incoming{reqs: reqs, at: -1, ctx: context.Background(), large: make(chan struct{}, 1), got: func(i int, d vol.DirState) error {
		if i != ended {
			return fmt.Errorf("directory %d in place of %d", i, ended)
		}
		if d.To == "" {
			ended++
		}
		out = append(out, d)
		return nil
	}}
	var s splitter
	s.feed(wireBytes)
	for {
		k, body, ok, err := s.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			return out, in.end()
		}
		if err := in.record(k, slices.Clone(body)); err != nil {
			return nil, err
		}
	}
}

func TestDirectoriesComeAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var dirs []vol.DirState
		for range rapid.IntRange(1, 2).Draw(t, "dirs") {
			dirs = append(dirs, genPieces(t)...)
		}
		got, err := send(dirs)
		if err != nil {
			t.Fatal(err)
		}
		for i := range dirs {
			if a, b := printed(dirs[i]), printed(got[i]); a != b {
				t.Fatalf("sent\n%s\ngot\n%s", a, b)
			}
		}
	})
}

// What is added to these types must be added to the wire: a receiver that took
// a partial listing for a full one would delete files.
func TestEveryFieldIsSent(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{vol.DirState{}, "Dir After To Same View Root Partial Entries"}, // After and To by where pieces end
		{vol.NamedEntry{}, "Name Entry Sub SubView Last"},
		{vol.DirRequest{}, "Dir Known After"}, // pieces follow each other without being asked for
		{vol.Info{}, "ID Replica"},
		{merge.View{}, "Ctx Max Gone"},
		{merge.Entry{}, "Versions Ctx Attrs"},
		{merge.Version{}, "Dot Kind Content Size MTime MStamp"},
		{merge.Attr{}, "Stamp Dots Mode UID GID Xattrs"},
		{merge.Stamp{}, "Time Dot"},
		{merge.Dot{}, "Replica N"},
	} {
		var names []string
		for f := range reflect.TypeOf(c.v).Fields() {
			names = append(names, f.Name)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%T has the fields %s; the wire carries %s", c.v, got, c.want)
		}
	}
}

// printed makes nil and empty slices the same.
func printed(d vol.DirState) string { return fmt.Sprintf("%+v", d) }

func TestLargeDirectoriesGoInPieces(t *testing.T) {
	d := vol.DirState{Dir: 7}
	for i := range 4000 {
		n := vol.NamedEntry{Name: fmt.Sprintf("%08d", i)}
		n.Versions = []merge.Version{{Dot: merge.Dot{Replica: 5, N: uint64(i + 1)}, Kind: merge.KindFile,
			Content: strings.Repeat("x", i%4096), MStamp: merge.Stamp{Dot: merge.Dot{Replica: 5, N: 1}}}}
		d.Entries = append(d.Entries, n)
	}
	got, err := send([]vol.DirState{d})
	if err != nil || !reflect.DeepEqual(got[0].Entries, d.Entries) {
		t.Error(err)
	}
	wireBytes, n, err := appendNames(nil, d.Entries)
	if err != nil || n > maxNames || len(wireBytes) > 2*namesRecord {
		t.Errorf("the first record has %d names, %d bytes, %v", n, len(wireBytes), err)
	}
}

func TestQuestionsComeAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		reqs := make([]vol.DirRequest, rapid.IntRange(1, 10).Draw(t, "reqs"))
		size := 64
		for i := range reqs {
			reqs[i] = vol.DirRequest{Dir: rapid.Uint64().Draw(t, "dir"), Known: genContext(t)}
			size += questionSize(reqs[i])
		}
		q, err := appendDirs(nil, reqs)
		if err != nil || len(q) > size {
			t.Fatalf("%d bytes, counted as %d: %v", len(q), size, err)
		}
		got, err := parseDirs(q)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(reqs) {
			t.Fatalf("%v came as %v: %v", reqs, got, err)
		}
	})
}

func TestBatchesOfDirectories(t *testing.T) {
	var big merge.Context
	for i := range merge.MaxReplicas {
		big = append(big, merge.Dot{Replica: 1<<60 + merge.ReplicaID(i), N: 1 << 60})
	}
	reqs := slices.Repeat([]vol.DirRequest{{Dir: 1<<64 - 1, Known: big}}, 5)
	if n := batchDirs(reqs); n != 1 {
		t.Errorf("%d of the largest requests in a question", n)
	}
	if q, err := appendDirs(nil, reqs[:1]); err != nil || len(q) > maxQuestion {
		t.Errorf("the largest request takes %d bytes, %v", len(q), err)
	}
	if n := batchDirs(make([]vol.DirRequest, 5000)); n != maxDirs {
		t.Errorf("%d of the smallest requests in a question", n)
	}
}

// Each change of a good record is refused, with a reason.
func TestBadNames(t *testing.T) {
	dot := merge.Dot{Replica: 5, N: 9}
	good := func() wireNames {
		return wireNames{
			Replicas: []uint64{5, 6},
			Contexts: []wireDots{nil, {0, 3, 1, 4}},
			Names: []wireName{{
				Name: "a", Sub: 3, View: wireView{Ctx: 1, Max: 1},
				Entry: wireEntry{
					Ctx:      1,
					Versions: []wireVersion{{Dot: wireDot{N: 9}, Kind: 1, MStamp: wireStamp{Replica: 0, N: 9}}},
					Attrs:    []wireAttr{{Stamp: wireStamp{Replica: 0, N: 9}, Dots: wireDots{0, 9}}},
				},
			}},
		}
	}
	parse := func(w wireNames) (vol.DirState, error) {
		body, err := wire.appendItem(nil, w)
		if err != nil {
			t.Fatal(err)
		}
		var d vol.DirState
		return d, parseNames(body, &d)
	}
	if d, err := parse(good()); err != nil || len(d.Entries) != 0 && d.Entries[0].Versions[0].Dot != dot {
		t.Fatal(err)
	}
	entry := func(w *wireNames) *wireEntry { return &w.Names[0].Entry }
	version := func(w *wireNames) *wireVersion { return &w.Names[0].Entry.Versions[0] }
	attr := func(w *wireNames) *wireAttr { return &w.Names[0].Entry.Attrs[0] }
	for name, change := range map[string]func(w *wireNames){
		"no names":               func(w *wireNames) { w.Names = nil },
		"empty name":             func(w *wireNames) { w.Names[0].Name = "" },
		"dot":                    func(w *wireNames) { w.Names[0].Name = "." },
		"dot dot":                func(w *wireNames) { w.Names[0].Name = ".." },
		"slash":                  func(w *wireNames) { w.Names[0].Name = "../x" },
		"nul":                    func(w *wireNames) { w.Names[0].Name = "a\x00" },
		"long name":              func(w *wireNames) { w.Names[0].Name = "a" + good().Names[0].Name + byteString(255) },
		"same name twice":        func(w *wireNames) { w.Names = append(w.Names, w.Names[0]) },
		"unsorted":               func(w *wireNames) { w.Names = append(w.Names, w.Names[0]); w.Names[1].Name = "A" },
		"context of nothing":     func(w *wireNames) { entry(w).Ctx = 2 },
		"view of nothing":        func(w *wireNames) { w.Names[0].View.Max = 9 },
		"view without a context": func(w *wireNames) { w.Names[0].View.Gone = 2 },
		"replica of nothing":     func(w *wireNames) { version(w).Dot.Replica = 2 },
		"replica zero":           func(w *wireNames) { w.Replicas[0] = 0 },
		"unsorted context":       func(w *wireNames) { w.Contexts[1] = wireDots{1, 4, 0, 3} },
		"replica twice":          func(w *wireNames) { w.Contexts[1] = wireDots{0, 3, 0, 4} },
		"dot zero":               func(w *wireNames) { w.Contexts[1] = wireDots{0, 0} },
		"odd dots":               func(w *wireNames) { w.Contexts[1] = wireDots{0} },
		"version without a dot":  func(w *wireNames) { version(w).Dot = wireDot{} },
		"unknown kind":           func(w *wireNames) { version(w).Kind = 7 },
		"no kind":                func(w *wireNames) { version(w).Kind = 0 },
		"negative size":          func(w *wireNames) { version(w).Size = -1 },
		"huge content":           func(w *wireNames) { version(w).Content = byteString(merge.MaxContent + 1) },
		"directory with content": func(w *wireNames) { version(w).Kind, version(w).Content = 2, "x" },
		"no stamp":               func(w *wireNames) { version(w).MStamp = wireStamp{} },
		"stamp of nothing":       func(w *wireNames) { version(w).MStamp.Replica = 2 },
		"versions share a dot":   func(w *wireNames) { shareDot(entry(w)) },
		"versions out of order":  func(w *wireNames) { swapVersions(entry(w)) },
		"odd mode":               func(w *wireNames) { attr(w).Mode = 0o10000 },
		"attributes twice":       func(w *wireNames) { entry(w).Attrs = append(entry(w).Attrs, *attr(w)) },
		"xattr without name":     func(w *wireNames) { attr(w).Xattrs = []wireXattr{{}} },
		"xattr twice":            func(w *wireNames) { attr(w).Xattrs = []wireXattr{{Name: "u"}, {Name: "u"}} },
		"huge xattr":             func(w *wireNames) { attr(w).Xattrs = []wireXattr{{Name: "u", Value: make([]byte, merge.MaxXattr+1)}} },
	} {
		w := good()
		change(&w)
		if _, err := parse(w); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func shareDot(e *wireEntry) {
	e.Versions = append(e.Versions, e.Versions[0])
}

func swapVersions(e *wireEntry) {
	e.Versions = append(e.Versions, e.Versions[0])
	e.Versions[1].Dot = wireDot{N: 8}
}

func TestBadAnswersOfPull(t *testing.T) {
	head := func(d vol.DirState) []byte { return mustRecord(t)(appendHead(nil, &d)) }
	names := func(s string) []byte {
		b, _, err := appendNames(nil, []vol.NamedEntry{{Name: s}})
		return mustRecord(t)(b, err)
	}
	for name, c := range map[string]struct {
		reqs    int
		records [][]byte
	}{
		"names first":       {1, [][]byte{names("a")}},
		"nothing":           {1, nil},
		"one missing":       {2, [][]byte{head(vol.DirState{Dir: 1})}},
		"one more":          {1, [][]byte{head(vol.DirState{Dir: 1}), head(vol.DirState{Dir: 1})}},
		"another one":       {1, [][]byte{head(vol.DirState{Dir: 2})}},
		"names where same":  {1, [][]byte{head(vol.DirState{Dir: 1, Same: true}), names("a")}},
		"names again":       {1, [][]byte{head(vol.DirState{Dir: 1}), names("b"), names("b")}},
		"names out of turn": {1, [][]byte{head(vol.DirState{Dir: 1}), names("b"), names("a")}},
		"a piece of none":   {1, [][]byte{head(vol.DirState{Dir: 1, To: "b"}), head(vol.DirState{Dir: 1})}},
		"pieces cut":        {1, [][]byte{head(vol.DirState{Dir: 1, To: "b"}), names("b")}},
		"another's piece":   {2, [][]byte{head(vol.DirState{Dir: 1, To: "b"}), names("b"), head(vol.DirState{Dir: 2})}},
		"a piece of same":   {1, [][]byte{head(vol.DirState{Dir: 1, Same: true, To: "b"}), names("b"), head(vol.DirState{Dir: 1})}},
		"same behind":       {1, [][]byte{head(vol.DirState{Dir: 1, To: "b"}), names("b"), head(vol.DirState{Dir: 1, Same: true})}},
		"partial behind":    {1, [][]byte{head(vol.DirState{Dir: 1, To: "b"}), names("b"), head(vol.DirState{Dir: 1, Partial: true})}},
		"a chunk":           {1, [][]byte{head(vol.DirState{Dir: 1}), endRecord(beginRecord(nil, kindChunk), 0)}},
	} {
		in := &incoming{reqs: slices.Repeat([]vol.DirRequest{{Dir: 1}}, c.reqs), at: -1, ctx: context.Background(), large: make(chan struct{}, 1), got: func(int, vol.DirState) error { return nil }}
		var s splitter
		s.feed(slices.Concat(c.records...))
		var err error
		for err == nil {
			k, body, ok, _ := s.next()
			if !ok {
				err = in.end()
				break
			}
			err = in.record(k, body)
		}
		if !errors.Is(err, ErrLied) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func mustRecord(t *testing.T) func([]byte, error) []byte {
	return func(b []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

func BenchmarkNames(b *testing.B) {
	d := vol.DirState{Dir: 7}
	for i := range 10000 {
		dots := []merge.Dot{{Replica: 5 << 50, N: uint64(i + 1)}}
		st := merge.Stamp{Time: 1 << 60, Dot: dots[0]}
		d.Entries = append(d.Entries, vol.NamedEntry{Name: fmt.Sprintf("file%08d", i), Entry: merge.Entry{
			Versions: []merge.Version{{Dot: dots[0], Kind: merge.KindFile, Content: strings.Repeat("x", 80), Size: 4096, MTime: 1 << 60, MStamp: st}},
			Attrs:    []merge.Attr{{Stamp: st, Dots: dots, Mode: 0o644}},
		}})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := send([]vol.DirState{d}); err != nil {
			b.Fatal(err)
		}
	}
}
