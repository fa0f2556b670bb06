package peer

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"bazil/merge"
	"bazil/store/vol"
)

// The forms of directories on the wire. Each of them is an array of its
// fields in order. Replicas and contexts stand once per record, in tables;
// everything else names them by their place there. Dots are written flat:
// replica, number, replica, number, ...

// wireDirs is the question of pull.
type wireDirs struct {
	_        struct{} `cbor:",toarray"`
	Replicas []uint64
	Dirs     []wireDirRequest
}

type wireDirRequest struct {
	_     struct{} `cbor:",toarray"`
	Dir   uint64
	Known wireDots
}

// wireHead is the body of a 'd' record. A directory that the asker knows is
// its head alone.
type wireHead struct {
	_        struct{} `cbor:",toarray"`
	Replicas []uint64
	Contexts []wireDots
	Dir      uint64
	Flags    headFlags
	View     wireView
	Root     wireEntry // of the root directory; else empty
}

type headFlags uint8

const (
	headSame    headFlags = 1 << iota // there are no names to come
	headPartial                       // names left out have no news
	headMore                          // a piece: another one follows, of what is behind its last name
)

// wireNames is the body of an 'n' record.
type wireNames struct {
	_        struct{} `cbor:",toarray"`
	Replicas []uint64
	Contexts []wireDots
	Names    []wireName
}

type wireName struct {
	_     struct{} `cbor:",toarray"`
	Name  cbor.ByteString
	Entry wireEntry
	Sub   uint64
	View  wireView // all 0 where Sub is 0
	Last  uint64   // place in Contexts
}

type wireEntry struct {
	_        struct{} `cbor:",toarray"`
	Versions []wireVersion
	Ctx      uint64 // place in Contexts
	Attrs    []wireAttr
}

type wireVersion struct {
	_       struct{} `cbor:",toarray"`
	Dot     wireDot
	Kind    uint8
	Content cbor.ByteString
	Size    int64
	MTime   int64
	MStamp  wireStamp
}

type wireAttr struct {
	_      struct{} `cbor:",toarray"`
	Stamp  wireStamp
	Dots   wireDots
	Mode   uint32
	UID    uint32
	GID    uint32
	Xattrs []wireXattr // by name
}

type wireXattr struct {
	_     struct{} `cbor:",toarray"`
	Name  cbor.ByteString
	Value []byte
}

type wireStamp struct {
	_       struct{} `cbor:",toarray"`
	Time    int64
	Replica uint64
	N       uint64
}

// wireDot is a place in Replicas and a number.
type wireDot struct {
	_       struct{} `cbor:",toarray"`
	Replica uint64
	N       uint64
}

// wireDots are as many such pairs.
type wireDots []uint64

// wireView is three places in Contexts.
type wireView struct {
	_    struct{} `cbor:",toarray"`
	Ctx  uint64
	Max  uint64
	Gone uint64
}

// tables gathers a record's replicas and contexts.
type tables struct {
	replicas []uint64
	replica  map[merge.ReplicaID]uint64
	contexts []wireDots
	context  map[string]uint64
	key      []byte
}

func newTables() *tables {
	return &tables{replica: map[merge.ReplicaID]uint64{}, context: map[string]uint64{}}
}

func (t *tables) putReplica(r merge.ReplicaID) uint64 {
	i, ok := t.replica[r]
	if !ok {
		i = uint64(len(t.replicas))
		t.replica[r] = i
		t.replicas = append(t.replicas, uint64(r))
	}
	return i
}

func (t *tables) putDots(dots []merge.Dot) wireDots {
	if len(dots) == 0 {
		return nil
	}
	out := make(wireDots, 0, 2*len(dots))
	for _, d := range dots {
		out = append(out, t.putReplica(d.Replica), d.N)
	}
	return out
}

func (t *tables) putContext(c merge.Context) uint64 {
	t.key = t.key[:0]
	for _, d := range c {
		t.key = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(t.key, uint64(d.Replica)), d.N)
	}
	i, ok := t.context[string(t.key)]
	if !ok {
		i = uint64(len(t.contexts))
		t.context[string(t.key)] = i
		t.contexts = append(t.contexts, t.putDots(c))
	}
	return i
}

func (t *tables) putView(v merge.View) wireView {
	return wireView{Ctx: t.putContext(v.Ctx), Max: t.putContext(v.Max), Gone: t.putContext(v.Gone)}
}

func (t *tables) putStamp(s merge.Stamp) wireStamp {
	return wireStamp{Time: s.Time, Replica: t.putReplica(s.Dot.Replica), N: s.Dot.N}
}

func (t *tables) putEntry(e merge.Entry) wireEntry {
	out := wireEntry{Ctx: t.putContext(e.Ctx)}
	for _, v := range e.Versions {
		out.Versions = append(out.Versions, wireVersion{
			Dot: wireDot{Replica: t.putReplica(v.Dot.Replica), N: v.Dot.N}, Kind: uint8(v.Kind), Content: cbor.ByteString(v.Content),
			Size: v.Size, MTime: v.MTime, MStamp: t.putStamp(v.MStamp),
		})
	}
	for _, a := range e.Attrs {
		out.Attrs = append(out.Attrs, t.putAttr(a))
	}
	return out
}

func (t *tables) putAttr(a merge.Attr) wireAttr {
	out := wireAttr{Stamp: t.putStamp(a.Stamp), Dots: t.putDots(a.Dots), Mode: a.Mode, UID: a.UID, GID: a.GID}
	for _, name := range slices.Sorted(maps.Keys(a.Xattrs)) {
		out.Xattrs = append(out.Xattrs, wireXattr{Name: cbor.ByteString(name), Value: a.Xattrs[name]})
	}
	return out
}

func (t *tables) putName(n *vol.NamedEntry) wireName {
	out := wireName{Name: cbor.ByteString(n.Name), Entry: t.putEntry(n.Entry), Sub: n.Sub, Last: t.putContext(n.Last)}
	if n.Sub != 0 {
		out.View = t.putView(n.SubView)
	}
	return out
}

// appendHead appends the 'd' record of d.
func appendHead(dst []byte, d *vol.DirState) ([]byte, error) {
	t := newTables()
	h := wireHead{Dir: d.Dir, View: t.putView(d.View), Root: t.putEntry(d.Root)}
	if d.Same {
		h.Flags |= headSame
	}
	if d.Partial {
		h.Flags |= headPartial
	}
	if d.To != "" {
		h.Flags |= headMore
	}
	h.Replicas, h.Contexts = t.replicas, t.contexts
	return appendRecord(dst, kindDir, h)
}

// appendNames appends an 'n' record with the first names, one at least, and
// returns how many.
func appendNames(dst []byte, names []vol.NamedEntry) ([]byte, int, error) {
	t := newTables()
	var w wireNames
	size := 0
	for i := range names {
		if i == maxNames || size > namesRecord || i > 0 && size+roughSize(&names[i]) > maxRecord/2 {
			break
		}
		size += roughSize(&names[i])
		w.Names = append(w.Names, t.putName(&names[i]))
	}
	w.Replicas, w.Contexts = t.replicas, t.contexts
	dst, err := appendRecord(dst, kindNames, w)
	if err != nil {
		err = fmt.Errorf("name %q and %d more: %w", names[0].Name, len(w.Names)-1, err)
	}
	return dst, len(w.Names), err
}

// roughSize is about how many bytes n takes on the wire, not too few.
func roughSize(n *vol.NamedEntry) int {
	size := 32 + len(n.Name) + 18*(len(n.Ctx)+len(n.Last)+len(n.SubView.Ctx)+len(n.SubView.Max)+len(n.SubView.Gone))
	for i := range n.Versions {
		size += 82 + len(n.Versions[i].Content)
	}
	for i := range n.Attrs {
		size += 64 + 18*len(n.Attrs[i].Dots)
		for name, value := range n.Attrs[i].Xattrs {
			size += 16 + len(name) + len(value)
		}
	}
	return size
}
