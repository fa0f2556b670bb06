package merge

import (
	"encoding/binary"
	"maps"
	"slices"
)

// entryVersion is the first byte of an encoded Entry.
const entryVersion = 1

// AppendContext appends c as drawn in the package's documentation.
func AppendContext(b []byte, c Context) []byte {
	b = binary.AppendUvarint(b, uint64(len(c)))
	for _, d := range c {
		b = binary.BigEndian.AppendUint64(b, uint64(d.Replica))
		b = binary.AppendUvarint(b, d.N)
	}
	return b
}

// AppendDir appends d as drawn in the package's documentation.
func AppendDir(b []byte, d Dir) []byte {
	for _, c := range []Context{d.Ctx, d.Max, d.Gone, d.Whole} {
		b = AppendContext(b, c)
	}
	return b
}

// AppendEntry appends e, which must be valid, as drawn in the package's
// documentation. Equal entries give equal bytes.
func AppendEntry(b []byte, e Entry) []byte {
	w := encoder{b: append(b, entryVersion), replicas: e.replicas()}
	w.uvarint(uint64(len(w.replicas)))
	for _, r := range w.replicas {
		w.b = binary.BigEndian.AppendUint64(w.b, uint64(r))
	}
	w.dots(e.Ctx)
	w.uvarint(uint64(len(e.Versions)))
	for i := range e.Versions {
		w.version(&e.Versions[i])
	}
	w.uvarint(uint64(len(e.Attrs)))
	for i := range e.Attrs {
		w.attr(&e.Attrs[i])
	}
	return w.b
}

// replicas lists the replicas that e names, sorted.
func (e Entry) replicas() []ReplicaID {
	var space [8]ReplicaID
	out := space[:0]
	add := func(dots ...Dot) {
		for _, d := range dots {
			if !slices.Contains(out, d.Replica) {
				out = append(out, d.Replica)
			}
		}
	}
	add(e.Ctx...)
	for i := range e.Versions {
		add(e.Versions[i].MStamp.Dot)
		add(e.Versions[i].Dots...)
	}
	for i := range e.Attrs {
		add(e.Attrs[i].Stamp.Dot)
		add(e.Attrs[i].Dots...)
	}
	out = slices.Clone(out)
	slices.Sort(out)
	return out
}

type encoder struct {
	b        []byte
	replicas []ReplicaID
}

func (w *encoder) uvarint(n uint64) { w.b = binary.AppendUvarint(w.b, n) }
func (w *encoder) varint(n int64)   { w.b = binary.AppendVarint(w.b, n) }

func (w *encoder) bytes(s string) {
	w.uvarint(uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *encoder) dot(d Dot) {
	i, _ := slices.BinarySearch(w.replicas, d.Replica)
	w.uvarint(uint64(i))
	w.uvarint(d.N)
}

func (w *encoder) dots(dots []Dot) {
	w.uvarint(uint64(len(dots)))
	for _, d := range dots {
		w.dot(d)
	}
}

func (w *encoder) version(v *Version) {
	w.dots(v.Dots)
	w.b = append(w.b, byte(v.Kind))
	w.bytes(v.Content)
	w.uvarint(uint64(v.Size))
	w.varint(v.MTime)
	w.varint(v.MStamp.Time - v.MTime)
	w.dot(v.MStamp.Dot)
}

func (w *encoder) attr(a *Attr) {
	w.dots(a.Dots)
	w.varint(a.Stamp.Time)
	w.dot(a.Stamp.Dot)
	w.uvarint(uint64(a.Mode))
	w.uvarint(uint64(a.UID))
	w.uvarint(uint64(a.GID))
	w.uvarint(uint64(len(a.Xattrs)))
	for _, name := range slices.Sorted(maps.Keys(a.Xattrs)) {
		w.bytes(name)
		w.bytes(string(a.Xattrs[name]))
	}
}
