package merge

import (
	"slices"

	"pgregory.net/rapid"
)

// holder is a replica that has one name only, and what it knows of it.
type holder struct {
	Entry
	known Context
	id    ReplicaID
	n     uint64
}

func (h *holder) next() Dot {
	h.n++
	d := Dot{h.id, h.n}
	h.known = h.known.With(d)
	return d
}

func (h *holder) write(content string, seen []Dot) Dot {
	d := h.next()
	fresh := len(h.Attrs) == 0
	h.Entry = h.Put(Version{Dot: d, Kind: KindFile, Content: content, MStamp: Stamp{int64(h.n), d}}, seen)
	if fresh {
		h.Entry = h.SetAttr(Attr{Stamp: Stamp{int64(h.n), d}, Mode: 0o644})
	}
	return d
}

func (h *holder) mkdir() Dot {
	d := h.next()
	h.Entry = h.Put(Version{Dot: d, Kind: KindDir, MStamp: Stamp{1, d}}, nil).SetAttr(Attr{Stamp: Stamp{1, d}, Mode: 0o755})
	return d
}

func (h *holder) remove() { h.next(); h.Entry = h.Delete(h.Seen()) }

func (h *holder) chmod(mode uint32, clock int64) {
	h.Entry = h.SetAttr(Attr{Stamp: Stamp{clock, h.next()}, Mode: mode})
}

// pull joins what o has and settles.
func (h *holder) pull(o *holder) {
	h.join(o)
	if e, more := h.Settle(); more {
		h.next()
		h.Entry = e
	}
}

func (h *holder) join(o *holder) {
	h.Entry = Join(h.Entry, h.known, o.Entry, o.known)
	h.known, h.Ctx = h.Ctx, nil
}

// joined is the join of copies.
func joined(a, b *holder) *holder {
	out := *a
	out.join(b)
	return &out
}

func (h *holder) equal(o *holder) bool {
	return h.SameVersions(o.Entry) && h.known.Equal(o.known) && slices.EqualFunc(h.Versions, o.Versions, func(a, b Version) bool {
		return a.SameContent(&b) && a.MTime == b.MTime
	})
}

// genHolders draws replicas that have written, deleted, set and exchanged
// one name at random.
func genHolders(t *rapid.T) []*holder {
	hs := make([]*holder, 4)
	for i := range hs {
		hs[i] = &holder{id: ReplicaID(i + 1)}
	}
	any := rapid.SampledFrom(hs)
	for range rapid.IntRange(0, 24).Draw(t, "steps") {
		h := any.Draw(t, "at")
		switch rapid.IntRange(0, 9).Draw(t, "step") {
		case 0, 1:
			h.write(rapid.SampledFrom([]string{"x", "y"}).Draw(t, "content"), h.Seen())
		case 2:
			h.write("x", nil)
		case 3:
			h.remove()
		case 4:
			h.chmod(uint32(rapid.IntRange(0, 7).Draw(t, "mode")), int64(rapid.IntRange(0, 9).Draw(t, "clock")))
		case 5:
			if len(h.Versions) > 0 {
				d := h.Versions[0].Dot
				h.Entry = h.Touch(d, 5, Stamp{3, h.next()})
			}
		case 6:
			h.join(any.Draw(t, "from"))
		default:
			h.pull(any.Draw(t, "from"))
		}
		h.known, h.Ctx = h.known.Join(h.Ctx), nil
	}
	return hs
}

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
		v := Version{Dot: genDot(t), Kind: Kind(rapid.IntRange(1, 6).Draw(t, "kind")), MTime: rapid.Int64().Draw(t, "mtime"), MStamp: genStamp(t)}
		if v.Kind != KindDir {
			v.Content, v.Size = rapid.String().Draw(t, "content"), rapid.Int64Min(0).Draw(t, "size")
		}
		if indexOf(e.Versions, v.Dot) < 0 {
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
