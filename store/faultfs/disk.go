package faultfs

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/zeebo/blake3"
)

// Disk is the file system. The fields that are functions must not be changed
// while others use it, but by one who holds Mu.
type Disk struct {
	Mu    sync.Mutex       // guards everything
	Files map[string]*Node // as processes see it
	Dirs  map[string]bool  // directories, of which only Mount needs to know
	Calls int              // made so far

	disk  map[string]*Node // names on disk
	names []nameChange     // not on disk yet

	// After, if set, is called after each call that changes something, with Mu held.
	After func(d *Disk, call string)
	// Fail, if set, returns the error that a call shall have. A write with an
	// error writes a part.
	Fail func(call, path string) error
	// Lie, if set, says that a Sync of path shall do nothing.
	Lie func(path string) bool
	// Room, if not 0, is what all files may have in bytes: a write that would
	// make a file longer and has not all the room for it gives ENOSPC.
	Room int64
}

// Used is how many bytes all files have. Mu is held.
func (d *Disk) Used() (n int64) {
	for _, f := range d.Files {
		n += int64(len(f.Seen))
	}
	return n
}

// full is the error of a write that makes the file n longer.
func (d *Disk) full(path string, n int64) error {
	if d.Room == 0 || n <= 0 || d.Used()+n <= d.Room {
		return nil
	}
	return &os.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}
}

// Node is a file.
type Node struct {
	Seen    []byte   // what processes read
	disk    []byte   // what is on disk for sure
	pending []change // since
	shared  bool     // another node has the same memory
}

// own gives a node memory of its own before it is changed.
func (n *Node) own() {
	if n.shared {
		n.Seen, n.disk, n.shared = slices.Clone(n.Seen), slices.Clone(n.disk), false
	}
}

// change is a write, or with nil data a truncation to off.
type change struct {
	off  int64
	data []byte
}

// nameChange gives name to node, or takes it away if that is nil.
type nameChange struct {
	dir        string
	name, from string // from is the name given up in a rename
	node       *Node
}

const sector = 512

// New returns an empty disk.
func New() *Disk {
	return &Disk{Files: map[string]*Node{}, disk: map[string]*Node{}, Dirs: map[string]bool{".": true}}
}

// NewNode returns a file that is on disk.
func NewNode(content []byte) *Node {
	return &Node{Seen: content, disk: slices.Clone(content)}
}

// Put puts a file on disk.
func (d *Disk) Put(path string, content []byte) {
	n := NewNode(content)
	d.Files[path], d.disk[path] = n, n
}

// call counts a call and says whether it shall fail.
func (d *Disk) call(name, path string) error {
	d.Calls++
	if d.Fail == nil {
		return nil
	}
	return d.Fail(name, path)
}

func (d *Disk) done(call string) {
	if d.After != nil {
		d.After(d, call)
	}
}

// Create makes a file that must not exist.
func (d *Disk) Create(name string) (*File, error) {
	d.Mu.Lock()
	defer d.Mu.Unlock()
	if d.Files[name] != nil {
		return nil, &os.PathError{Op: "create", Path: name, Err: os.ErrExist}
	}
	if err := d.call("create", name); err != nil {
		return nil, err
	}
	n := &Node{}
	d.Files[name] = n
	d.names = append(d.names, nameChange{dir: path.Dir(name), name: name, node: n})
	d.done("create " + name)
	return &File{d, n, name}, nil
}

// Open opens a file that exists.
func (d *Disk) Open(name string) (*File, error) {
	d.Mu.Lock()
	defer d.Mu.Unlock()
	n := d.Files[name]
	if n == nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	}
	return &File{d, n, name}, d.call("open", name)
}

// Remove removes a name. Who has the file open goes on using it.
func (d *Disk) Remove(name string) error {
	d.Mu.Lock()
	defer d.Mu.Unlock()
	if d.Files[name] == nil {
		return &os.PathError{Op: "remove", Path: name, Err: os.ErrNotExist}
	}
	if err := d.call("remove", name); err != nil {
		return err
	}
	delete(d.Files, name)
	d.names = append(d.names, nameChange{dir: path.Dir(name), name: name})
	d.done("remove " + name)
	return nil
}

// Rename gives a file another name, over what may have it.
func (d *Disk) Rename(from, to string) error {
	d.Mu.Lock()
	defer d.Mu.Unlock()
	if err := d.call("rename", to); err != nil {
		return err
	}
	n := d.Files[from]
	if n == nil {
		return &os.PathError{Op: "rename", Path: from, Err: os.ErrNotExist}
	}
	delete(d.Files, from)
	d.Files[to] = n
	d.names = append(d.names, nameChange{dir: path.Dir(to), name: to, from: from, node: n})
	d.done("rename " + to)
	return nil
}

// List returns the names in a directory.
func (d *Disk) List(dir string) ([]string, error) {
	d.Mu.Lock()
	defer d.Mu.Unlock()
	var names []string
	for name := range d.Files {
		if path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names, d.call("list", dir)
}

// SyncDir puts the names in a directory on disk.
func (d *Disk) SyncDir(dir string) error {
	d.Mu.Lock()
	defer d.Mu.Unlock()
	if err := d.call("syncDir", dir); err != nil {
		return err
	}
	if d.Lie == nil || !d.Lie(dir) {
		d.names = slices.DeleteFunc(d.names, func(c nameChange) bool {
			if c.dir == dir {
				c.apply(d.disk)
			}
			return c.dir == dir
		})
	}
	d.done("syncDir " + dir)
	return nil
}

func (c nameChange) apply(names map[string]*Node) {
	if c.from != "" {
		delete(names, c.from)
	}
	if c.node == nil {
		delete(names, c.name)
	} else {
		names[c.name] = c.node
	}
}

// Crash returns a disk as it may be found after the power failed. Mu is held.
func (d *Disk) Crash(r *rand.Rand) *Disk {
	names := maps.Clone(d.disk)
	cut, any := r.IntN(len(d.names)+1), r.IntN(2) == 0
	for i, c := range d.names {
		if any && r.IntN(2) == 0 || !any && i < cut {
			c.apply(names)
		}
	}
	out := New()
	out.Dirs = maps.Clone(d.Dirs)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		out.disk[name] = names[name].crashed(r)
	}
	out.Files = maps.Clone(out.disk)
	return out
}

// Sum is of all names and contents that processes see. Mu is held, or nobody
// else uses the disk.
func (d *Disk) Sum() (sum [32]byte) {
	h := blake3.New()
	for _, name := range slices.Sorted(maps.Keys(d.Files)) {
		fmt.Fprintf(h, "%q %d\n", name, len(d.Files[name].Seen))
		h.Write(d.Files[name].Seen)
	}
	h.Sum(sum[:0])
	return sum
}

// Evict forgets what processes see and the disk has not, but for what may
// still get there: what memory pressure does after a failed flush.
func (d *Disk) Evict() {
	d.Mu.Lock()
	defer d.Mu.Unlock()
	for _, n := range d.Files {
		n.own()
		n.Seen = slices.Clone(n.disk)
		for _, c := range n.pending {
			n.Seen = c.apply(n.Seen)
		}
	}
}

func (d *Disk) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(d.Files)) {
		fmt.Fprintf(&b, "%s: %d bytes\n", name, len(d.Files[name].Seen))
	}
	return b.String()
}

// apply makes the change in b, which may move.
func (c change) apply(b []byte) []byte {
	end := c.off + int64(len(c.data))
	if c.data == nil {
		if c.off < int64(len(b)) {
			return b[:c.off]
		}
		end = c.off
	}
	if n := end - int64(len(b)); n > 0 {
		b = append(b, make([]byte, n)...)
	}
	copy(b[c.off:], c.data)
	return b
}

// crashed returns the node as a crash may leave it.
func (n *Node) crashed(r *rand.Rand) *Node {
	if len(n.pending) > 0 {
		return NewNode(n.settle(r))
	}
	n.shared = true
	return &Node{Seen: n.disk, disk: n.disk, shared: true}
}

// settle returns a content that the disk may have after a crash.
func (n *Node) settle(r *rand.Rand) []byte {
	b := slices.Clone(n.disk)
	keep := settleModes[r.IntN(len(settleModes))](r, len(n.pending))
	for i, c := range n.pending {
		if c.data == nil {
			if keep(i) {
				b = c.apply(b)
			}
			continue
		}
		for off := int64(0); off < int64(len(c.data)); {
			end := min((c.off+off)/sector*sector+sector-c.off, int64(len(c.data)))
			if keep(i) {
				b = change{c.off + off, c.data[off:end]}.apply(b)
			}
			off = end
		}
	}
	return b
}

// settleModes choose which sectors of which changes reach the disk.
var settleModes = []func(r *rand.Rand, n int) func(i int) bool{
	func(r *rand.Rand, n int) func(int) bool { return func(int) bool { return false } },
	func(r *rand.Rand, n int) func(int) bool { return func(int) bool { return true } },
	func(r *rand.Rand, n int) func(int) bool { return func(int) bool { return r.IntN(2) == 0 } },
	func(r *rand.Rand, n int) func(int) bool { return func(int) bool { return r.IntN(8) != 0 } },
	func(r *rand.Rand, n int) func(int) bool { // the first ones
		cut := r.IntN(n + 1)
		return func(i int) bool { return i < cut || i == cut && r.IntN(2) == 0 }
	},
	func(r *rand.Rand, n int) func(int) bool { // the last ones
		cut := r.IntN(n + 1)
		return func(i int) bool { return i > cut || i == cut && r.IntN(2) == 0 }
	},
}

// File is an open file.
type File struct {
	d    *Disk
	n    *Node
	path string
}

// Close does nothing.
func (f *File) Close() error { return nil }

// Size is the length in bytes.
func (f *File) Size() (int64, error) {
	f.d.Mu.Lock()
	defer f.d.Mu.Unlock()
	return int64(len(f.n.Seen)), f.d.call("size", f.path)
}

// ReadAt reads as os.File's does.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	f.d.Mu.Lock()
	defer f.d.Mu.Unlock()
	if err := f.d.call("read", f.path); err != nil {
		return 0, err
	}
	if off >= int64(len(f.n.Seen)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.Seen[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes p, or half of it when it fails.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	f.d.Mu.Lock()
	defer f.d.Mu.Unlock()
	err := f.d.call("write", f.path)
	if err != nil {
		p = p[:len(p)/2]
	} else if err = f.d.full(f.path, off+int64(len(p))-int64(len(f.n.Seen))); err != nil {
		p = nil
	}
	f.change(change{off, append([]byte{}, p...)})
	f.d.done(fmt.Sprintf("write %s %d+%d", f.path, off, len(p)))
	return len(p), err
}

// Truncate sets the size.
func (f *File) Truncate(size int64) error {
	f.d.Mu.Lock()
	defer f.d.Mu.Unlock()
	if err := f.d.call("truncate", f.path); err != nil {
		return err
	}
	f.change(change{off: size})
	f.d.done(fmt.Sprintf("truncate %s %d", f.path, size))
	return nil
}

func (f *File) change(c change) {
	f.n.own()
	f.n.pending = append(f.n.pending, c)
	f.n.Seen = c.apply(f.n.Seen)
}

// Sync puts what was written on disk, or some of it when it fails, and then
// forgets the rest.
func (f *File) Sync() error {
	f.d.Mu.Lock()
	defer f.d.Mu.Unlock()
	if err := f.d.call("sync", f.path); err != nil {
		r := rand.New(rand.NewPCG(uint64(f.d.Calls), 1))
		f.n.disk = f.n.settle(r)
		f.n.pending = nil
		f.d.done("failed sync " + f.path)
		return err
	}
	if f.d.Lie == nil || !f.d.Lie(f.path) {
		f.n.own()
		for _, c := range f.n.pending {
			f.n.disk = c.apply(f.n.disk)
		}
		f.n.pending = nil
	}
	f.d.done("sync " + f.path)
	return nil
}
