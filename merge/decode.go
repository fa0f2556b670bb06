package merge

import (
	"encoding/binary"
	"errors"
	"math"
)

// errEncoding says that bytes are not what the functions of encode.go write.
var errEncoding = errors.New("merge: malformed encoding")

// DecodeContext reads what AppendContext wrote, checks it, and returns what
// follows it. It allocates no more than a small multiple of what it reads.
func DecodeContext(b []byte) (Context, []byte, error) {
	r := decoder{b: b}
	c := r.context()
	if r.err == nil {
		r.err = c.Valid()
	}
	if r.err != nil {
		return nil, nil, r.err
	}
	return c, r.b, nil
}

// DecodeDir reads what AppendDir wrote, checks it, and returns what follows.
func DecodeDir(b []byte) (Dir, []byte, error) {
	var d Dir
	for _, c := range []*Context{&d.Ctx, &d.Max, &d.Gone, &d.Whole} {
		var err error
		if *c, b, err = DecodeContext(b); err != nil {
			return Dir{}, nil, err
		}
	}
	return d, b, nil
}

// DecodeEntry reads what AppendEntry wrote, checks it (Entry.Validate), and
// returns what follows it. It allocates no more than a small multiple of what
// it reads and keeps nothing of b.
func DecodeEntry(b []byte) (Entry, []byte, error) {
	r := decoder{b: b}
	if r.byte() != entryVersion {
		r.fail()
	}
	r.table()
	e := Entry{Ctx: r.dots()}
	for range r.upTo(MaxVersions, 7) {
		e.Versions = append(e.Versions, r.version())
	}
	for range r.upTo(MaxAttrs, 9) {
		e.Attrs = append(e.Attrs, r.attr())
	}
	if r.err == nil {
		r.err = e.Validate()
	}
	if r.err != nil {
		return Entry{}, nil, r.err
	}
	return e, r.b, nil
}

// decoder reads from the front of b; after an error it reads zeros.
type decoder struct {
	b        []byte
	replicas []ReplicaID
	err      error
}

func (r *decoder) fail() {
	if r.err == nil {
		r.err = errEncoding
	}
	r.b = nil
}

func (r *decoder) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *decoder) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *decoder) varint() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *decoder) uint32() uint32 {
	n := r.uvarint()
	if n > math.MaxUint32 {
		r.fail()
	}
	return uint32(n)
}

// count reads a number of things that take at least size bytes each.
func (r *decoder) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.fail()
		return 0
	}
	return int(n)
}

// upTo is count for things of which there are at most limit.
func (r *decoder) upTo(limit, size int) int {
	n := r.count(size)
	if n > limit {
		r.fail()
		return 0
	}
	return n
}

func (r *decoder) bytes() string {
	n := r.count(1)
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *decoder) replica() ReplicaID {
	if len(r.b) < 8 {
		r.fail()
		return 0
	}
	id := binary.BigEndian.Uint64(r.b)
	r.b = r.b[8:]
	return ReplicaID(id)
}

func (r *decoder) table() {
	n := r.count(8)
	if n == 0 {
		return
	}
	r.replicas = make([]ReplicaID, n)
	for i := range r.replicas {
		r.replicas[i] = r.replica()
		if i > 0 && r.replicas[i-1] >= r.replicas[i] {
			r.fail()
		}
	}
}

func (r *decoder) context() Context {
	n := r.count(9)
	if n == 0 {
		return nil
	}
	c := make(Context, n)
	for i := range c {
		c[i] = Dot{r.replica(), r.uvarint()}
	}
	return c
}

func (r *decoder) dot() Dot {
	i := r.uvarint()
	if i >= uint64(len(r.replicas)) {
		r.fail()
		return Dot{}
	}
	return Dot{r.replicas[i], r.uvarint()}
}

func (r *decoder) dots() []Dot {
	n := r.count(2)
	if n == 0 {
		return nil
	}
	out := make([]Dot, n)
	for i := range out {
		out[i] = r.dot()
	}
	return out
}

func (r *decoder) version() Version {
	v := Version{Dots: r.dots(), Kind: Kind(r.byte()), Content: r.bytes()}
	size := r.uvarint()
	if size > math.MaxInt64 {
		r.fail()
	}
	v.Size = int64(size)
	v.MTime = r.varint()
	v.MStamp = Stamp{v.MTime + r.varint(), r.dot()}
	return v
}

func (r *decoder) attr() Attr {
	a := Attr{Dots: r.dots(), Stamp: Stamp{r.varint(), r.dot()}}
	a.Mode, a.UID, a.GID = r.uint32(), r.uint32(), r.uint32()
	last := ""
	for i := range r.upTo(MaxXattrs, 2) {
		name := r.bytes()
		if i > 0 && name <= last {
			r.fail()
		}
		if a.Xattrs == nil {
			a.Xattrs = map[string][]byte{}
		}
		a.Xattrs[name], last = []byte(r.bytes()), name
	}
	return a
}
