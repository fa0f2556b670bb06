package vol

import (
	"bazil/merge"
)

// entry is one name of a directory in memory. Names that are being changed,
// open or on the way to such a one stay in memory; others come and go.
//
// A file that was unlinked while it was in use keeps an entry of its own that
// no directory knows: dir is nil.
type entry struct {
	dir  *dir
	name string
	rec  *record // nil: nothing is stored of the name
	node *inode  // what the name shows, if in memory
	sub  *dir    // the directory at this place, if in memory
	gen  uint64  // the last group that it is part of
	// named is the last group with a change of more than a file's bytes.
	named uint64
	told  uint64 // the last group that has an own change of it for the index
	size  int    // bytes of memory it counts for, about
	used  bool   // since the cache last looked
	prev  *entry // in the cache's list
	next  *entry
}

// dir is a directory's place in memory: it belongs to a name in a directory,
// not to the directory that may be moved. Those above it are in memory too.
type dir struct {
	merge.Dir
	num      uint64
	at       *entry        // its name; the root's is "" in itself
	live     uint64        // names that exist
	dirs     uint64        // names that show a directory
	records  uint64        // names of which something is stored, in memory and in Bolt together
	cached   uint64        // of these, names in memory
	rows     uint64        // names written to its index since that turned
	half     merge.Context // Max when it turned
	children map[string]*entry
	raised   uint64        // the last own change that Max has
	learned  merge.Context // has rows at its name in the index above
	gen      uint64        // the last group that it is part of
	touched  int64         // when names last came or went, since that was put in the entry's record
	change   uint64        // the number of that change
	gone     bool          // the place is no longer remembered
	left     uint64        // how many names left memory
	swept    string        // the loose name that a sweep comes to next; "": the first

	edits  uint64     // goes up when what List returns may have changed
	list   []DirEntry // what List returned when edits was listed; nil: not remembered
	listed uint64
	edited map[string]*entry // what was changed since; nil: too much
}

func newDir(num uint64, r *dirRecord) *dir {
	return &dir{
		Dir: r.Dir, num: num,
		live: r.Live, dirs: r.Dirs, records: r.Records, rows: r.Rows, half: r.Half,
		children: make(map[string]*entry),
	}
}

// parent is the directory above, nil for the root.
func (d *dir) parent() *dir {
	if d.num == rootDir {
		return nil
	}
	return d.at.dir
}

// record is what is to be stored of d.
func (d *dir) record() *dirRecord {
	r := &dirRecord{Dir: d.Dir, Live: d.live, Dirs: d.dirs, Records: d.records, Rows: d.rows, Half: d.half}
	if p := d.parent(); p != nil {
		r.Parent, r.Name = p.num, d.at.name
	}
	return r
}

// view is the view of d for a replica whose last change is own.
func (d *dir) view(own merge.Dot) merge.View {
	if p := d.parent(); p != nil {
		return p.view(own).Sub(d.Dir)
	}
	return merge.RootView(own, d.Dir)
}

// inside says whether d is other or below it.
func (d *dir) inside(other *dir) bool {
	for ; d != nil; d = d.parent() {
		if d == other {
			return true
		}
	}
	return false
}

// keepNamed undoes what is noted in named until the function that it returns
// is called.
func (e *entry) keepNamed() func() {
	named := e.named
	return func() { e.named = named }
}

// path is the way from the root to a name, with slashes.
func (e *entry) path() string {
	if e.dir == nil || e.dir.num == rootDir {
		return e.name
	}
	return e.dir.at.path() + "/" + e.name
}

// inode is the file or directory that a number stands for, in memory.
type inode struct {
	num     uint64
	kind    merge.Kind
	at      *entry // its name, or one of its own once that is gone
	refs    int    // Node.Ref
	writers int    // handles open for writing
	handles int    // all handles
	file    *file  // its bytes, if they are open or not durable
	evicted bool   // another inode may stand for the number now

	// Of a file that is open for writing or has bytes not durable yet:
	seen   []merge.Dot // of the version that its writers have before them
	held   *record     // what the name showed, where a peer's change has come in since
	mark   string      // stands for the coming body in a version; "" for none
	wrote  uint64      // the group in which it was last written
	mtime  int64       // of its last change, while mark is set
	change uint64      // and the number of that
	small  int         // how many of its bytes count as memory of the name's
}

// linked says whether the inode has a name.
func (in *inode) linked() bool { return in.at.dir != nil }

// pinned says whether its name goes on showing it whatever comes in from
// peers: a writer has it open, or what was written is not durable yet.
func (in *inode) pinned() bool { return in.writers > 0 || in.mark != "" }

// rec is the record that tells its attributes.
func (in *inode) rec() *record {
	if in.held != nil {
		return in.held
	}
	return in.at.rec
}

// inUse says whether the inode outlives its name.
func (in *inode) inUse() bool { return in.refs > 0 || in.handles > 0 }

// shows returns what the name shows: its number and kind, 0 for nothing.
func (e *entry) shows() (ino uint64, kind merge.Kind) {
	if e.node != nil {
		return e.node.num, e.node.kind
	}
	if k := e.rec.kind(); k != 0 {
		return e.rec.Ino, k
	}
	return 0, 0
}
