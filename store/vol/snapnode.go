package vol

import (
	"fmt"
	"maps"
	"slices"

	"bazil/merge"
	"bazil/store"
)

// snapEntry is one name in a snapshot.
type snapEntry struct {
	name    string
	kind    merge.Kind
	block   bool
	mode    uint32
	uid     uint32
	gid     uint32
	mtime   int64
	ctime   int64
	btime   int64
	rdev    uint64
	content string        // body of a file, target of a symlink
	tree    store.Pointer // of a directory; zero if it is empty
	xattrs  map[string][]byte
}

// snapChild is a part of a large directory in a snapshot.
type snapChild struct {
	first string // the first name in it
	ptr   store.Pointer
}

// snapNode is one tree chunk: a run of a directory's names, or of the chunks
// that have them.
type snapNode struct {
	level    int // 0: entries
	entries  []snapEntry
	children []snapChild
}

const snapVersion = 1

// snapLevels bounds the depth of one directory's chunks.
const snapLevels = 8

// snapHead begins a tree chunk.
func snapHead(b []byte, level int) []byte { return append(b, snapVersion, byte(level)) }

// appendSnapEntry appends an entry, drawn in the package comment.
func appendSnapEntry(b []byte, x *snapEntry) []byte {
	e := encoder{b: b, base: x.mtime}
	e.string(x.name)
	e.byte(byte(x.kind))
	flags := byte(0)
	if x.block {
		flags |= flagBlock
	}
	e.byte(flags)
	e.uint(uint64(x.mode))
	e.uint(uint64(x.uid))
	e.uint(uint64(x.gid))
	e.fixed(uint64(x.mtime))
	e.time(x.ctime)
	e.time(x.btime)
	e.uint(x.rdev)
	e.string(x.content)
	if x.kind == merge.KindDir {
		e.b = x.tree.Append(e.b)
	}
	e.xattrs(x.xattrs)
	return e.b
}

func (e *encoder) xattrs(xs map[string][]byte) {
	e.uint(uint64(len(xs)))
	for _, name := range slices.Sorted(maps.Keys(xs)) {
		e.string(name)
		e.bytes(xs[name])
	}
}

func (d *decoder) xattrs() map[string][]byte {
	n := d.count(2)
	if n == 0 {
		return nil
	}
	xs := make(map[string][]byte, n)
	for range n {
		name := d.string()
		xs[name] = d.bytes()
	}
	return xs
}

func (d *decoder) pointer() store.Pointer {
	if len(d.b) < store.PointerSize {
		d.fail(errShort)
		return store.Pointer{}
	}
	p, err := store.ParsePointer(d.take(store.PointerSize))
	if err != nil {
		d.fail(err)
	}
	return p
}

func (d *decoder) snapEntry() (x snapEntry) {
	x.name = d.string()
	x.kind = merge.Kind(d.byte())
	x.block = d.byte()&flagBlock != 0
	x.mode, x.uid, x.gid = d.uint32(), d.uint32(), d.uint32()
	x.mtime = int64(d.fixed())
	d.base = x.mtime
	x.ctime, x.btime = d.time(), d.time()
	x.rdev = d.uint()
	x.content = d.string()
	if x.kind == merge.KindDir {
		x.tree = d.pointer()
	}
	x.xattrs = d.xattrs()
	if d.err == nil {
		if err := x.check(); err != nil {
			d.fail(err)
		}
	}
	return x
}

func (x *snapEntry) check() error {
	if err := checkName(x.name); err != nil {
		return err
	}
	if x.mode&^0o7777 != 0 || x.kind < merge.KindFile || x.kind > merge.KindDevice {
		return errMalformed
	}
	if err := checkSetting(&merge.Attr{Xattrs: x.xattrs}); err != nil {
		return err
	}
	v := merge.Version{Kind: x.kind, Content: x.content, Size: int64(len(x.content))}
	if x.kind == merge.KindFile {
		v.Size = Body(x.content).Size()
	}
	return checkVersion(&v)
}

// decodeSnapNode reads a tree chunk; its names are sorted.
func decodeSnapNode(plain []byte) (*snapNode, error) {
	d := decoder{b: plain}
	if v := d.byte(); v != snapVersion && d.err == nil {
		return nil, unknownVersion("tree chunk", v, snapVersion)
	}
	n := &snapNode{level: int(d.byte())}
	for d.err == nil && len(d.b) > 0 {
		if n.level == 0 {
			n.entries = append(n.entries, d.snapEntry())
		} else {
			n.children = append(n.children, snapChild{d.string(), d.pointer()})
		}
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("tree chunk: %w", err)
	}
	if n.level > snapLevels || !n.sorted() {
		return nil, fmt.Errorf("tree chunk: %w", errMalformed)
	}
	return n, nil
}

func (n *snapNode) sorted() bool {
	for i := 1; i < len(n.entries); i++ {
		if n.entries[i-1].name >= n.entries[i].name {
			return false
		}
	}
	for i := 1; i < len(n.children); i++ {
		if n.children[i-1].first >= n.children[i].first {
			return false
		}
	}
	return true
}

// snapRoot is what a snapshot chunk holds: all it takes to read a snapshot,
// together with the sharing key.
type snapRoot struct {
	volume  ID
	created int64
	files   int64
	bytes   int64
	root    snapEntry // the root directory; its name is "."
}

func appendSnapRoot(b []byte, r *snapRoot) []byte {
	e := encoder{b: b}
	e.byte(snapVersion)
	e.b = append(e.b, r.volume[:]...)
	e.fixed(uint64(r.created))
	e.int(r.files)
	e.int(r.bytes)
	x := r.root
	x.name = "root"
	return appendSnapEntry(e.b, &x)
}

func decodeSnapRoot(plain []byte) (*snapRoot, error) {
	d := decoder{b: plain}
	if v := d.byte(); v != snapVersion && d.err == nil {
		return nil, unknownVersion("snapshot chunk", v, snapVersion)
	}
	r := &snapRoot{}
	if len(d.b) < len(r.volume) {
		return nil, fmt.Errorf("snapshot chunk: %w", errShort)
	}
	copy(r.volume[:], d.take(len(r.volume)))
	r.created, r.files, r.bytes = int64(d.fixed()), d.int(), d.int()
	r.root = d.snapEntry()
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("snapshot chunk: %w", err)
	}
	if r.root.kind != merge.KindDir {
		return nil, fmt.Errorf("snapshot chunk: %w", errMalformed)
	}
	return r, nil
}
